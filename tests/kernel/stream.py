"""A stream that was read: parsed, replayed, compared."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.fold import Entry, Fold, Node, differences, disk

Event = dict[str, Any]


class Stream:
    """
    Events in the order of the stream.

    Args:
        events: parsed CloudEvents.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self.events = list(events)

    @classmethod
    def parse(cls, lines: bytes) -> Stream:
        """Of JSON lines; a torn last line is left out."""
        return cls(json.loads(line) for line in lines.splitlines(keepends=True) if line.endswith(b"\n"))

    def replay(self) -> dict[bytes, Entry]:
        """
        What a consumer holds at the end.

        Raises:
            tests.fold.Unfoldable: the stream says what cannot be.
            AssertionError: the digest of a resync is not the one of what was told until then.
        """
        fold = Fold(strict=True)
        roots: dict[bytes, Node] = {}
        for event in self.events:
            fold.event(event)
            if ".stream.started." in event["type"]:
                # Names of roots stand before every path and are no entries themselves, but those of files.
                named = event["data"]["roots"].items()
                roots = {
                    name.encode(): Node(Entry("dir"), {})
                    for name, path in named
                    if name and not os.path.isfile(path)
                }
                fold.top |= roots
            told = event["data"].get("digest")
            if told is not None:
                assert told == digest(_without(fold.entries(), roots)), f"digest of {event['id']}"
        return _without(fold.entries(), roots)

    def differences(self, root: Path | bytes) -> list[str]:
        """Where the replay differs from the disk."""
        return differences(self.replay(), disk(bytes(root)))

    def told(self, below: str = "", origin: str | None = None) -> list[str]:
        """
        File and directory events as ``file.moved b from a``.

        Args:
            below: of paths that begin with this, which is cut off.
            origin: only those of this origin.
        """
        return [
            line
            for event in self.events
            if origin is None or event["data"].get("origin") == origin
            if (line := _line(event, below))
        ]

    def notices(self, kind: str) -> list[Event]:
        """Data of all events ``stream.<kind>``."""
        return [event["data"] for event in self.events if event["type"].endswith(f".stream.{kind}.v1")]

    def until(self, kind: str) -> Stream:
        """What stands before the first ``stream.<kind>``."""
        return Stream(self.events[: self._first(kind)])

    def after(self, kind: str) -> Stream:
        """What stands after the first ``stream.<kind>``."""
        return Stream(self.events[self._first(kind) + 1 :])

    def _first(self, kind: str) -> int:
        return next(
            at for at, event in enumerate(self.events) if event["type"].endswith(f".stream.{kind}.v1")
        )

    def resyncs(self) -> Counter[str]:
        """How many resyncs were completed, by reason."""
        return Counter(data["reason"] for data in self.notices("resync_completed"))

    def moves(self) -> set[str]:
        """Every move that was told, as ``b from a``."""
        return {line.split(" ", 1)[1] for line in self.told() if ".moved " in line}

    def paths(self, kind: str) -> set[str]:
        """Paths of all events of a kind, such as ``written``."""
        lines = (line.split(" ", 1) for line in self.told())
        return {path for type, path in lines if type.endswith("." + kind)}


def _without(entries: dict[bytes, Entry], roots: dict[bytes, Node]) -> dict[bytes, Entry]:
    return {path: entry for path, entry in entries.items() if path not in roots}


def digest(entries: dict[bytes, Entry]) -> str:
    """What `data.digest` must be for these entries."""
    total = 0
    for path, entry in entries.items():
        hashed = hashlib.blake2b(path + b"\0" + entry.type.encode(), digest_size=16).digest()
        total += int.from_bytes(hashed, "big")
    return f"{total % 2**128:032x}"


def _line(event: Event, below: str) -> str:
    family, kind = event["type"].split(".")[-3:-1]
    if family == "stream":
        return ""
    path = event["data"]["file"]["path"]
    source = event["data"].get("move", {}).get("from")
    if not path.startswith(below):
        return ""
    moved = f" from {source.removeprefix(below)}" if source is not None else ""
    return f"{family}.{kind} {path.removeprefix(below)}{moved}"
