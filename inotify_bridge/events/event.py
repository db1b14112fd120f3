"""
The catalogue of events: their kinds, and the full names under which they are published.

A kind is what routing keys, metrics and filters see, for example ``file.written``. The type that a consumer
reads is ``{type_prefix}.{kind}.v1``. The families differ in what ``data`` holds: ``file.*`` and
``directory.*`` describe one entry of the tree, ``stream.*`` what the stream says about itself, and ``log.*``
what followed log files hold.
"""

from __future__ import annotations

import stat
from typing import Final, NamedTuple

from inotify_bridge.capture.change import Change, Item

FILE_KINDS: Final[dict[str, str]] = {
    kind: f"file.{kind}"
    for kind in ("created", "written", "modified", "attributes_changed", "moved", "deleted", "ready")
}
"""`Change.kind` to the event kind, for everything that is no directory."""

DIRECTORY_KINDS: Final[dict[str, str]] = {
    kind: f"directory.{kind}" for kind in ("created", "moved", "deleted", "attributes_changed")
}
"""`Change.kind` to the event kind, for directories."""

STREAM_KINDS: Final[dict[str, str]] = {
    kind: f"stream.{kind}"
    for kind in (
        "started",
        "stopped",
        "resync_started",
        "resync_completed",
        "coverage_degraded",
        "coverage_restored",
        "root_lost",
        "root_restored",
        "event_parked",
        "heartbeat",
        "probe",
    )
}
"""`Notice.kind` to the event kind."""

LOG_KINDS: Final[dict[str, str]] = {kind: f"log.{kind}" for kind in ("entry", "rejected", "truncated")}
"""`LogItem.kind` to the event kind."""

KINDS: Final = frozenset(
    (*FILE_KINDS.values(), *DIRECTORY_KINDS.values(), *STREAM_KINDS.values(), *LOG_KINDS.values())
)
"""Every event kind there is."""

PARKED: Final = STREAM_KINDS["event_parked"]

SCOPED: Final = frozenset(("resync_started", "resync_completed"))
"""`Notice.kind` of those whose path is published as ``data.scope``, empty for the whole group where there is
none; for all others it is ``data.path``."""

SCHEMAS: Final[dict[str, str]] = {
    "file": "urn:inotify-bridge:schema:file:1",
    "directory": "urn:inotify-bridge:schema:file:1",
    "stream": "urn:inotify-bridge:schema:stream:1",
    "log": "urn:inotify-bridge:schema:log:1",
}
"""Family of a kind to the ``dataschema`` of its events."""


class LogItem(NamedTuple):
    """
    Something found in a followed log file: an event ``log.<kind>``.

    Args:
        kind: ``entry``, ``rejected`` or ``truncated``.
        path: raw bytes of the log file, relative like `Change.path`.
        time: wall clock of the read, Unix nanoseconds.
        data: the event's ``data``, a JSON object as text, Unicode without lone surrogates.
    """

    kind: str
    path: bytes
    time: int
    data: str


def kind_of(item: Item) -> str:
    """
    The event kind of a change or a notice.

    Raises:
        KeyError: there is no such event, for example a directory that was ``written``.
    """
    if not isinstance(item, Change):
        return STREAM_KINDS[item.kind]
    return (DIRECTORY_KINDS if item.type == stat.S_IFDIR else FILE_KINDS)[item.kind]


def type_of(prefix: str, kind: str) -> str:
    """The CloudEvents ``type`` of a kind."""
    return f"{prefix}.{kind}.v1"


def split_type(type: str) -> tuple[str, str]:
    """
    The inverse of `type_of`: (prefix, kind). A kind that this release does not know is no error.

    Raises:
        ValueError: the type has not three parts after its prefix, or is of another version than v1.
    """
    parts = type.rsplit(".", 3)
    if len(parts) != 4 or parts[3] != "v1":
        raise ValueError(f"not an event type of version 1: {type!r}")
    return parts[0], f"{parts[1]}.{parts[2]}"
