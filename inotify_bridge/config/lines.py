"""The section `lines` of a watch group: which files are logs, and what an entry is."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from inotify_bridge.capture.filters import Filters
from inotify_bridge.config.section import Pattern, Section
from inotify_bridge.errors import ConfigError
from inotify_bridge.lines.extract import Extractor
from inotify_bridge.lines.fields import Kind, converted, wrong_time_format
from inotify_bridge.lines.formats import NAMES, Format, ready_made
from inotify_bridge.lines.options import Options
from inotify_bridge.lines.pattern import own, starts
from inotify_bridge.units import Bytes, Seconds


def _format(pattern: str) -> Format:
    """Raises: ConfigError."""
    return ready_made(pattern) if pattern in NAMES else Format(*own(pattern))


def _refused(error: ConfigError) -> PydanticCustomError:
    return PydanticCustomError(
        "line_pattern", "{reason}", {"reason": error.message, "suggestion": error.hint}
    )


def _extracts(value: str) -> str:
    try:
        _format(value)
    except ConfigError as error:
        raise _refused(error) from None
    return value


def _begins(value: str) -> str:
    try:
        starts(value)
    except ConfigError as error:
        raise _refused(error) from None
    return value


def _encoding(value: str) -> str:
    try:
        whole = codecs.lookup(value).encode("\n")[0] == b"\n"
        b"\xff\n".decode(value, "replace")
    except (LookupError, UnicodeError, TypeError):
        whole = False
    if not whole:
        raise PydanticCustomError(
            "encoding",
            "is no encoding of text in which a newline is one byte",
            {"suggestion": "utf-8, latin-1, cp1252, euc-jp …"},
        )
    return value


class Multiline(Section):
    """Entries of several lines."""

    start: Annotated[str, AfterValidator(_begins)]
    """Regular expression (RE2) that is found in the first line of an entry, and in no other."""
    flush_after: Annotated[Seconds, Field(gt=0)] = 5.0
    """An entry is complete when no more lines came for so long."""


class Lines(Section):
    """How log files are followed."""

    on: Annotated[frozenset[Literal["written", "modified"]], Field(min_length=1)] = frozenset(
        ("written", "modified")
    )
    """When a file is read: `modified`: at every write; `written`: when a writer closes it."""
    start_at: Literal["beginning", "end"] = "end"
    """Where files are read from that are there at the first start; others: from their beginning."""
    files: Annotated[tuple[Pattern, ...], Field(min_length=1)] = ("*.log",)
    """gitignore patterns of the group's logs. Rotated files are followed without standing here."""
    pattern: Annotated[str, AfterValidator(_extracts)] | None = None
    """`combined`, `syslog`, `json`, `logfmt`, or a regular expression (RE2) for the whole entry, with named
    groups."""
    fields: Mapping[str, Kind] = {}
    """Fields to convert: `int`, `float` or `timestamp`; all others stay text."""
    time_format: str | None = None
    """How a `timestamp` is written: as for strptime(3), or `unix` for seconds; none: ISO 8601."""
    multiline: Multiline | None = None
    """Entries of several lines; none: every line is one."""
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    """Of the text."""
    max_line_bytes: Annotated[Bytes, Field(ge=64, le=1024**2)] = 256 * 1024
    """A longer entry is cut there."""
    flush_after: Seconds = 0.0
    """A last line without its end is an entry when nothing came for so long; 0: it waits."""

    @field_validator("fields")
    @classmethod
    def _named(cls, value: Mapping[str, Kind]) -> Mapping[str, Kind]:
        if not all(value):
            raise ValueError("has a name that is empty")
        return value

    @field_validator("time_format")
    @classmethod
    def _reads_times(cls, value: str | None) -> str | None:
        wrong = None if value in (None, "unix") else wrong_time_format(value or "")
        if wrong is not None:
            raise ValueError(wrong)
        return value

    @model_validator(mode="after")
    def _fields_are_found(self) -> Self:
        known = None if self.pattern is None else _format(self.pattern).fields
        unknown = sorted(set(self.fields) - known) if known is not None else []
        if self.pattern is None and self.fields:
            raise ValueError("fields has no effect without a pattern that extracts them")
        if unknown:
            raise ValueError(
                f"fields names {', '.join(unknown)}: the pattern extracts {', '.join(sorted(known or ()))}"
            )
        if self.time_format is not None and "timestamp" not in self.fields.values():
            raise ValueError("time_format has no effect without a field that is a timestamp")
        return self

    def extracted(self) -> frozenset[str] | None:
        """The names of the fields that entries have; None: every line brings its own."""
        return frozenset() if self.pattern is None else _format(self.pattern).fields

    def named_groups(self) -> frozenset[str]:
        """The fields that somebody has named on purpose: those of a pattern of one's own."""
        return frozenset() if self.pattern in NAMES else self.extracted() or frozenset()

    def options(self) -> Options:
        """The same for those who follow."""
        parse = None if self.pattern is None else _format(self.pattern).parse
        if parse is not None and self.fields:
            parse = converted(parse, self.fields, self.time_format)
        return Options(
            kinds=frozenset(("created", *self.on)) if "modified" in self.on else frozenset(self.on),
            files=Filters(include=self.files),
            start_at=self.start_at,
            max_bytes=self.max_line_bytes,
            starts=None if self.multiline is None else starts(self.multiline.start),
            flush_after=self.flush_after,
            join_after=0.0 if self.multiline is None else self.multiline.flush_after,
            extractor=Extractor(self.encoding, parse),
        )
