"""A received message to an `Event`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from inotify_bridge.events import names
from inotify_bridge.events.event import PARKED, split_type

Headers: TypeAlias = Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]]
"""As the drivers give them: a mapping (pika), or pairs of name and bytes (kafka-python, confluent-kafka)."""

_PREFIXES: Final = ("ce_", "ce-")  # Kafka, RabbitMQ
_EPOCH: Final = datetime(1970, 1, 1)
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One entry of the tree, as an event describes it.

    Args:
        type: ``file``, ``dir``, ``symlink``, ``fifo``, ``socket``, ``char_device`` or ``block_device``.
        size: bytes. This and all that follow are None where the path was already gone.
        mode: permission bits with setuid, setgid and sticky.
        owner, group: numeric ids, as text.
        inode, device: identity on the machine of the source, as text.
        modified: Unix nanoseconds (at most what RFC 3339 can say: the years 1 to 9999).
        target: of a symbolic link, raw bytes.
    """

    type: str
    size: int | None = None
    mode: int | None = None
    owner: str | None = None
    group: str | None = None
    inode: str | None = None
    device: str | None = None
    modified: int | None = None
    target: bytes | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """
    One event, read.

    Args:
        id: unique within the source: what to deduplicate by.
        type: the full CloudEvents type.
        kind: the type without prefix and version, for example ``file.written``.
        original_kind: what to fold by: `kind`, but for ``stream.event_parked`` that of the message in whose
            place it stands.
        source: the stream; epochs and sequences are counted for each source of its own.
        epoch: the life of the sender's index; epochs are compared as strings.
        sequence: number within the epoch, dense from 1.
        time: RFC 3339, UTC.
        watch_group: name of the watch group.
        path: raw bytes of the entry's path, for ``log.*`` of the log file, for ``stream.*`` of the place
            that it is about; None where there is none.
        from_path: for ``moved``, the path before.
        entry: of ``file.*`` and ``directory.*``, what stands at `path`.
        origin: how the sender knows: ``kernel``, ``scan``, ``resync``, ``poll``; empty for others.
        data: the whole ``data``, decoded from JSON.
    """

    id: str
    type: str
    kind: str
    original_kind: str
    source: str
    epoch: str
    sequence: int
    time: str
    watch_group: str
    path: bytes | None
    from_path: bytes | None
    entry: Entry | None
    origin: str
    data: Mapping[str, Any]


def parse(body: bytes | str, headers: Headers | None = None) -> Event:
    """
    Read one message, in structured or in binary content mode.

    Args:
        body: the message's value or payload.
        headers: of the message, if it may be in binary mode: recognised by a header that begins with ``ce_``
            (Kafka) or ``ce-`` (RabbitMQ). All others are ignored.

    Raises:
        ValueError: this is no event of inotify-bridge, or one of a version that this release does not read.
    """
    try:
        document = json.loads(body)
        attributes = _attributes(headers) if headers else {}
        if attributes:
            attributes["data"] = document
        return _event(attributes or document)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not an event of inotify-bridge: {type(error).__name__}: {error}") from error


def _attributes(headers: Headers) -> dict[str, Any]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name[:3].lower() in _PREFIXES:
            found[name[3:].lower()] = value.decode() if isinstance(value, bytes) else value
    return found


def _event(document: Mapping[str, Any]) -> Event:
    if document["specversion"] != "1.0":
        raise ValueError(f"CloudEvents version {document['specversion']!r}, expected '1.0'")
    data = document["data"]
    kind = split_type(document["type"])[1]
    epoch, _, number = document["sequence"].rpartition("-")
    if not (epoch and number.isdecimal() and int(number) > 0):
        raise ValueError(f"not a sequence: {document['sequence']!r}")
    file = data.get("file")
    return Event(
        id=document["id"],
        type=document["type"],
        kind=kind,
        original_kind=split_type(data["type"])[1] if kind == PARKED else kind,
        source=document["source"],
        epoch=epoch,
        sequence=int(number),
        time=document["time"],
        watch_group=document["watchgroup"],
        path=_place(data) if file is None else _raw(file, "path"),
        from_path=_raw(data["move"], "from") if "move" in data else None,
        entry=None if file is None else _entry(file),
        origin=data.get("origin", ""),
        data=data,
    )


def _place(data: Mapping[str, Any]) -> bytes | None:
    if "log" in data:
        return _raw(data["log"]["file"], "path")
    place = _raw(data, "path")
    return _raw(data, "scope") if place is None else place


def _raw(holder: Mapping[str, Any], key: str) -> bytes | None:
    if f"{key}_b64" in holder:
        return base64.b64decode(holder[f"{key}_b64"], validate=True)
    return names.decode(holder[key]) if key in holder else None


def _entry(file: Mapping[str, Any]) -> Entry:
    if "size" not in file:
        return Entry(type=file["type"])
    return Entry(
        type=file["type"],
        size=file["size"],
        mode=int(file["mode"], 8),
        owner=file["owner"]["id"],
        group=file["group"]["id"],
        inode=file["inode"],
        device=file["device"],
        modified=_nanoseconds(file["modified"]),
        target=_raw(file, "target"),
    )


def _nanoseconds(text: str) -> int:
    """RFC 3339 with nine digits to Unix nanoseconds; datetime alone would cut them to six."""
    seconds, _, digits = text.removesuffix("Z").partition(".")
    second = (datetime.fromisoformat(seconds) - _EPOCH) // _SECOND
    return second * 1_000_000_000 + int(digits.ljust(9, "0"))
