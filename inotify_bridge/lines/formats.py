"""
Formats of log lines that are known by name.

Their expressions cannot go back (possessive quantifiers, Python 3.11), so that they too are linear.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from inotify_bridge.lines.fields import last_such, utc
from inotify_bridge.lines.pattern import Mismatch, Parse

NESTED: Final = 90
"""
Levels of JSON. The event adds some, and whoever reads it may have a limit of his own: MySQL stores 100, and
Python's depends on how deep it stands in calls already. What is deeper would be a line that a sink can never
take, and that everything behind it waits for.
"""


class Format(NamedTuple):
    """
    A format.

    Args:
        fields: their names; None where every line brings its own.
    """

    parse: Parse
    fields: frozenset[str] | None


# Common and combined log format, as Apache and nginx write it by default.
_COMBINED: Final = re.compile(
    r"(?P<remote_addr>\S++) (?P<ident>\S++) (?P<user>[^\[]*+)\[(?P<time>[^\]]++)\] "
    r'"(?P<request>(?:[^"\\]|\\.)*+)" (?P<status>\d{3}) (?P<bytes>\d++|-)'
    r'(?: "(?P<referer>(?:[^"\\]|\\.)*+)" "(?P<user_agent>(?:[^"\\]|\\.)*+)")?+\s*+'
)
_REQUEST: Final = re.compile(r"([A-Z]{1,20}) (\S++) (HTTP/[\d.]++)")

_PRIORITY: Final = r"(?:<(?P<priority>\d{1,3})>)"
_SYSLOG_5424: Final = re.compile(
    _PRIORITY + r"1 (?P<time>\S++) (?P<host>\S++) (?P<program>\S++) (?P<pid>\S++) (?P<message_id>\S++) "
    r'(?P<data>-|(?:\[(?:[^\]"\\]|\\.|"(?:[^"\\]|\\.)*+")*+\])++)(?: (?P<message>.*+))?+',
    re.DOTALL,
)
_SYSLOG_3164: Final = re.compile(
    _PRIORITY + r"?+(?P<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S++) (?P<host>\S++) "
    r"(?:(?P<program>[^\s\[:]++)(?:\[(?P<pid>[^\]]*+)\])?+: ?+)?+(?P<message>.*+)",
    re.DOTALL,
)
# An element is found by its end first: what begins it may stand in it any number of times.
_STRUCTURE: Final = re.compile(r'\[(?:[^\]"\\]|\\.|"(?:[^"\\]|\\.)*+")*+\]', re.DOTALL)
_ELEMENT: Final = re.compile(r'\[([^\s\]]++)((?: [^\s=]++="(?:[^"\\]|\\.)*+")*+)\]')
_PARAMETER: Final = re.compile(r' ([^\s=]++)="((?:[^"\\]|\\.)*+)"')
_SYSLOG_FIELDS: Final = (
    "facility",
    "severity",
    "time",
    "host",
    "program",
    "pid",
    "message_id",
    "data",
    "message",
)
_PAIR: Final = re.compile(r'\s*+([^\s="]++)(?:=(?:"((?:[^"\\]|\\.)*+)"|([^\s"]*+)))?+(?=\s|\Z)')
_MARK: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPE_OR_UNICODE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r"}


_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
_CLOCK: Final = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-]\d\d)(\d\d)", re.ASCII)


def _clock(text: str) -> datetime:
    """``10/Oct/2026:13:55:36 -0700``; strptime(3) takes five times as long. Raises: ValueError."""
    match = _CLOCK.fullmatch(text)
    if match is None:
        raise ValueError(text)
    day, month, year, hour, minute, second, zone_hours, zone_minutes = match.groups()
    return datetime.fromisoformat(
        f"{year}-{_MONTHS.get(month, 0):02d}-{day}T{hour}:{minute}:{second}{zone_hours}:{zone_minutes}"
    )


class _Combined:
    """The fields of a request, with its line taken apart; ``-`` is null."""

    def __init__(self) -> None:
        self._last = ("", "")

    def _time(self, text: str) -> str:
        if text != self._last[0]:
            self._last = (text, utc(_clock(text)))
        return self._last[1]

    def __call__(self, text: str) -> Mapping[str, Any]:
        match = _COMBINED.fullmatch(text)
        if match is None:
            raise Mismatch("is not in combined log format")
        fields: dict[str, Any] = {
            name: None if value in ("-", None) else value for name, value in match.groupdict().items()
        }
        user = match["user"].rstrip(" ")
        fields["user"] = None if user == "-" else user
        try:
            fields["time"] = self._time(match["time"])
        except (ValueError, OverflowError):
            raise Mismatch("field time is no timestamp") from None
        fields["status"] = int(match["status"])
        fields["bytes"] = None if fields["bytes"] is None else int(match["bytes"])
        request = _REQUEST.fullmatch(match["request"])
        fields["method"], fields["path"], fields["protocol"] = request.groups() if request else (None,) * 3
        return fields


def _syslog(text: str) -> Mapping[str, Any]:
    """RFC 5424, RFC 3164, and what rsyslog writes into files: no priority, perhaps an ISO time."""
    match = _SYSLOG_5424.fullmatch(text) or _SYSLOG_3164.fullmatch(text)
    if match is None:
        raise Mismatch("is in neither format of syslog")
    fields: dict[str, Any] = dict.fromkeys(_SYSLOG_FIELDS)
    fields.update({name: value for name, value in match.groupdict().items() if value != "-"})
    priority = fields.pop("priority")
    if priority is not None:
        fields["facility"], fields["severity"] = divmod(int(priority), 8)
    pid = fields["pid"]
    fields["pid"] = int(pid) if pid and pid.isdecimal() and pid.isascii() and len(pid) < 19 else pid
    fields["data"] = _structured(fields["data"]) if fields["data"] else None
    fields["time"] = _syslog_time(fields["time"]) if fields["time"] else None
    return fields


def _syslog_time(text: str) -> str:
    try:
        if text[0].isdigit():
            return utc(datetime.fromisoformat(text))
        return utc(last_such(text, "%b %d %H:%M:%S"))
    except (ValueError, OverflowError):
        raise Mismatch("field time is no timestamp") from None


def _structured(text: str) -> Mapping[str, Any]:
    return {
        element[1]: {key: _ESCAPE.sub(r"\1", value) for key, value in _PARAMETER.findall(element[2])}
        for element in map(_ELEMENT.fullmatch, _STRUCTURE.findall(text))
        if element is not None
    }


def _json(text: str) -> Mapping[str, Any]:
    if _depth(text) > NESTED:
        raise Mismatch("is JSON that is nested too deeply")
    try:
        found = json.loads(text, parse_constant=_no_number)
    except ValueError as error:
        raise Mismatch(f"is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Mismatch("is JSON, but no object")
    return found


def _depth(text: str) -> int:
    """How deeply JSON is nested; of what is none, any number."""
    if text.count("{") + text.count("[") <= NESTED:  # so are nearly all lines
        return 0
    depth = deepest = 0
    for mark in _MARK.findall(text):
        if mark in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "}]":
            depth -= 1
    return deepest


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _logfmt(text: str) -> Mapping[str, Any]:
    fields: dict[str, Any] = {}
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _PAIR.match(text, at)
        if match is None:
            raise Mismatch(f"is no logfmt at character {at}")
        key, quoted, plain = match.groups()
        fields[key] = _unescaped(quoted) if quoted is not None else True if plain is None else plain
        at = match.end()
    return fields


def _unescaped(text: str) -> str:
    return _ESCAPE_OR_UNICODE.sub(_character, text) if "\\" in text else text


def _character(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else _ESCAPED.get(found[2], found[2])


_COMBINED_FIELDS: Final = frozenset((*_COMBINED.groupindex, "method", "path", "protocol"))

NAMES: Final = ("combined", "syslog", "json", "logfmt")
"""What may stand in place of a pattern."""


def ready_made(name: str) -> Format:
    """One of `NAMES`, with a memory of its own."""
    return {
        "combined": lambda: Format(_Combined(), _COMBINED_FIELDS),
        "syslog": lambda: Format(_syslog, frozenset(_SYSLOG_FIELDS)),
        "json": lambda: Format(_json, None),
        "logfmt": lambda: Format(_logfmt, None),
    }[name]()
