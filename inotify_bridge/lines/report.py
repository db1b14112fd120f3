"""What a step has found: the events, and what belongs into their transaction."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import NamedTuple

from inotify_bridge.events.event import LogItem
from inotify_bridge.events.names import encode
from inotify_bridge.lines.extract import Extractor
from inotify_bridge.lines.generation import Generation
from inotify_bridge.lines.splitter import Raw

_log = logging.getLogger("inotify_bridge.lines")


class Found(NamedTuple):
    """
    What belongs into one transaction.

    Args:
        items: events, in the order of the stream.
        states: how far files were read, see `outbox.followed.States`.
        bytes_read, bytes_lost: for the figures.
    """

    items: list[LogItem]
    states: dict[int, bytes | None]
    bytes_read: int = 0
    bytes_lost: int = 0


NOTHING_FOUND = Found([], {})


class Report:
    """
    Collects what a step finds. Used by the recorder's thread.

    Args:
        group: for the log.
    """

    def __init__(self, extractor: Extractor, group: str) -> None:
        self.items: list[LogItem] = []
        self.bytes_read = 0
        self.bytes_lost = 0
        self.weight = 0
        """Bytes of the events' data, about."""
        self._extractor = extractor
        self._fields = {"watch_group": group}
        self._unreadable: dict[bytes, str] = {}

    @property
    def unreadable_logs(self) -> int:
        """How many cannot be read now. From any thread."""
        return len(self._unreadable)

    def entries(self, generation: Generation, raws: Iterable[Raw]) -> None:
        """These entries were read."""
        now = time.time_ns()
        for raw in raws:
            item = self._extractor.item(raw, generation.log, now)
            self.items.append(item)
            self.weight += len(item.data)

    def read(self, size: int) -> None:
        """So many bytes were read."""
        self.bytes_read += size

    def lost(self, log: bytes, offset: int, size: int, reason: str) -> None:
        """From an offset on `size` bytes of a file, at least, cannot be read any more."""
        item = self._extractor.truncated(log, time.time_ns(), offset, size, reason)
        self.items.append(item)
        self.weight += len(item.data)
        self.bytes_lost += size
        if size:
            name = encode(log)
            _log.warning("%d bytes of %s are lost: %s", size, name, reason, extra=self._fields)

    def unreadable(self, log: bytes, error: OSError) -> None:
        """A log cannot be read now; told once for each error."""
        why = error.strerror or str(error)
        if self._unreadable.get(log) != why:
            self._unreadable[log] = why
            _log.warning("%s cannot be read: %s; it is tried again", encode(log), why, extra=self._fields)

    def readable(self, log: bytes) -> None:
        """It can."""
        if self._unreadable.pop(log, ""):
            _log.info("%s can be read again", encode(log), extra=self._fields)

    def take(self, states: dict[int, bytes | None]) -> Found:
        """All of it, and begin anew."""
        found = Found(self.items, states, self.bytes_read, self.bytes_lost)
        self.items, self.bytes_read, self.bytes_lost, self.weight = [], 0, 0, 0
        return found
