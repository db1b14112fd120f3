"""Values of fields: text to numbers and to times in UTC, remembering what was read last."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from inotify_bridge.lines.pattern import Mismatch, Parse

Kind: TypeAlias = Literal["int", "float", "timestamp"]
Convert: TypeAlias = Callable[[Any], Any]

_YEAR: Final = frozenset("YyGcxD")
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


def _int(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(value)
    return int(value)


def _float(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):  # JSON has none
        raise ValueError(value)
    return number


_NUMBERS: Final[dict[str, Convert]] = {"int": _int, "float": _float}


class Timestamp:
    """
    Text to RFC 3339 in UTC with six digits. Without a zone it is local time; without a year the last that
    fits.

    Args:
        time_format: see `converted`.
    """

    def __init__(self, time_format: str | None) -> None:
        self._format = time_format
        self._last: tuple[Any, str] | None = None
        self._yearless = time_format not in (None, "unix") and not _directives(time_format or "") & _YEAR

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
            return datetime.fromtimestamp(float(value), UTC)
        if self._format is None:
            return datetime.fromisoformat(value)
        if self._yearless:
            return last_such(value, self._format or "")
        return datetime.strptime(value, self._format)


def _directives(time_format: str) -> set[str]:
    """The letters of a format of strptime(3)."""
    return set(re.findall("%(.)", time_format.replace("%%", "")))


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
            found = datetime.strptime(f"{year} {text}", f"%Y {time_format}").astimezone()
        except ValueError:  # the 29th of February
            continue
        if found <= now + _TOMORROW:
            return found
    raise ValueError(text)


def utc(moment: datetime) -> str:
    """RFC 3339 with six digits and a Z. Raises: ValueError, OverflowError, out of the years 1 to 9999."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
