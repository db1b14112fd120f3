"""Values of fields: text to numbers and to times in UTC, remembering what was read last."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, Literal, TypeAlias

from inotify_bridge.lines.pattern import Mismatch, Parse
from inotify_bridge.numerals import real, whole

Kind: TypeAlias = Literal["int", "float", "timestamp"]
Convert: TypeAlias = Callable[[Any], Any]

_YEAR: Final = frozenset("YyGcx")
_DATES: Final = ("c", "x", "j", "md", "bd", "Bd", "Ua", "UA", "Uw", "Wa", "WA", "Ww", "Vu", "Va", "VA", "Vw")
"""Directives of which one or two tell the day of a year."""
# What strptime(3) knows and Python does not, though these are no more than others together.
_SHORT: Final = {"F": "%Y-%m-%d", "T": "%H:%M:%S", "R": "%H:%M", "D": "%m/%d/%y", "e": "%d", "h": "%b"}
_DIRECTIVE: Final = re.compile("%(.)", re.DOTALL)
_TOMORROW: Final = timedelta(days=1)


def converted(parse: Parse, kinds: Mapping[str, Kind], time_format: str | None) -> Parse:
    """
    What `parse` finds, with these fields converted. A field that is absent or null stays so.

    Args:
        time_format: of ``timestamp``: None for ISO 8601, ``unix`` for seconds, else for strptime(3).
    """
    converts: dict[str, Convert] = {
        name: Timestamp(time_format) if kind == "timestamp" else _NUMBERS[kind]
        for name, kind in kinds.items()
    }

    def parse_and_convert(text: str) -> Mapping[str, Any]:
        fields = dict(parse(text))
        for name, convert in converts.items():
            value = fields.get(name)
            if value is None:
                continue
            try:
                fields[name] = convert(value)
            except (ValueError, TypeError, OverflowError):
                raise Mismatch(f"field {name} is no {kinds[name]}") from None
        return fields

    return parse_and_convert


_NUMBERS: Final[dict[str, Convert]] = {"int": whole, "float": real}


class Timestamp:
    """
    Text to RFC 3339 in UTC with six digits. Without a zone it is local time; without a year the last that
    fits.

    Args:
        time_format: see `converted`.
    """

    def __init__(self, time_format: str | None) -> None:
        self._format = time_format if time_format in (None, "unix") else _in_full(time_format or "")
        self._last: tuple[Any, str] | None = None
        self._yearless = time_format not in (None, "unix") and not _directives(self._format or "") & _YEAR

    def __call__(self, value: Any) -> str:
        """Raises: ValueError, OverflowError, TypeError."""
        if self._last is not None and self._last[0] == value:
            return self._last[1]
        text = utc(self._read(value))
        if not self._yearless:  # what year it is may change
            self._last = (value, text)
        return text

    def _read(self, value: Any) -> datetime:
        if self._format == "unix":
            return datetime.fromtimestamp(real(value), UTC)
        if self._format is None:
            return datetime.fromisoformat(value)
        return last_such(value, self._format) if self._yearless else _parsed(value, self._format)


def _directives(time_format: str) -> set[str]:
    """The letters of a format of strptime(3)."""
    return set(_DIRECTIVE.findall(time_format.replace("%%", "")))


def _in_full(time_format: str) -> str:
    """The same format in directives that Python knows."""
    return _DIRECTIVE.sub(lambda found: _SHORT.get(found[1], found[0]), time_format)


def _parsed(text: str, time_format: str) -> datetime:
    """
    As strptime(3) reads it. datetime drops the name of a zone: UTC, or one of the two of the local zone.

    Raises: ValueError, TypeError.
    """
    found = datetime.strptime(text, time_format)
    if found.tzinfo is not None or "%Z" not in time_format:
        return found
    named = time.strptime(text, time_format)
    if named.tm_zone is None:
        return found
    if named.tm_zone.upper() in ("UTC", "GMT"):
        return found.replace(tzinfo=UTC)
    west = time.altzone if named.tm_isdst == 1 else time.timezone
    return found.replace(tzinfo=timezone(timedelta(seconds=-west)))


def wrong_time_format(time_format: str) -> str | None:
    """Why no text, or none with a date, is read by a format; None: it may stand."""
    try:
        datetime.strptime("", _in_full(time_format))
    except ValueError as error:
        if not str(error).startswith("time data"):
            return f"is no format of times: {error}"
    letters = _directives(_in_full(time_format))
    if any(letters.issuperset(date) for date in _DATES):
        return None
    return "names no day, and a time without a date is no timestamp"


def last_such(text: str, time_format: str) -> datetime:
    """
    A time whose text has no year: of this year, or of the last where that would be in the future.

    Args:
        time_format: for strptime(3), without a year.
    Raises: ValueError, TypeError.
    """
    now = datetime.now().astimezone()
    for year in (now.year, now.year - 1, now.year - 2, now.year - 3, now.year - 4):
        try:
            found = _parsed(f"{year} {text}", f"%Y {time_format}").astimezone()
        except ValueError:  # the 29th of February
            continue
        if found <= now + _TOMORROW:
            return found
    raise ValueError(text)


def utc(moment: datetime) -> str:
    """RFC 3339 with six digits and a Z. Raises: ValueError, OverflowError, out of the years 1 to 9999."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
