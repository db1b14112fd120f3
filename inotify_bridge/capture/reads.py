"""
What was read from the kernel and is turned into changes as far as the batch in hand has room.

A read of a megabyte may name ten thousand files below a path of hundreds of kilobytes: what one batch cannot
hold waits for the next as the few bytes that it still is.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from inotify_bridge.capture.constants import IN_Q_OVERFLOW
from inotify_bridge.capture.hints import Hints
from inotify_bridge.capture.inotify import Record, records
from inotify_bridge.capture.model import Model
from inotify_bridge.capture.renames import Renames

_OVERLOOKED_BITS = 0xFFFF


class _Read(NamedTuple):
    """The records of one read that were not taken yet, and when it was (see `Reads.add`)."""

    records: Iterator[Record]
    read_at: float
    wall: int


class Reads:
    """
    The reads of a group. Used by the recorder's thread only.

    Args:
        overflowed: called where the kernel says that it lost records.
        left_bytes: of a batch's room that is left to scans, so that records alone never keep them waiting.
    """

    def __init__(
        self,
        model: Model,
        hints: Hints,
        renames: Renames,
        overflowed: Callable[[], None],
        left_bytes: int,
    ) -> None:
        self.counts: Counter[int] = Counter()
        self._model = model
        self._hints = hints
        self._renames = renames
        self._overflowed = overflowed
        self._left_bytes = left_bytes
        self._waiting: deque[_Read] = deque()

    def __bool__(self) -> bool:
        """Whether there are records that were not taken."""
        return bool(self._waiting)

    def add(self, data: bytes, read_at: float, wall: int) -> None:
        """
        Take the bytes of one read.

        Args:
            read_at: monotonic seconds of the read.
            wall: its Unix time in nanoseconds.
        """
        self._waiting.append(_Read(iter(records(data)), read_at, wall))
        if not self._model.pending:
            self.go_on()

    def go_on(self) -> None:
        """Turn records into changes, as long as there are any and there is room."""
        model = self._model
        while self._waiting and model.room > self._left_bytes:
            read = self._waiting[0]
            model.told(read.wall)
            self._hints.read_at = read.read_at
            if self._take(read.records):
                self._waiting.popleft()
                if len(self._renames):
                    self._hints.release(read.read_at)

    def _take(self, waiting: Iterator[Record]) -> bool:
        """Whether all of one read was taken."""
        model, left = self._model, self._left_bytes
        by_wd, counts, take = model.tree.by_wd, self.counts, self._hints.take
        for wd, mask, cookie, name in waiting:
            counts[mask & _OVERLOOKED_BITS] += 1
            node = by_wd.get(wd)
            if node is not None:
                take(node, mask, cookie, name)
                if model.room <= left:
                    return False
            elif mask & IN_Q_OVERFLOW:
                self._overflowed()
        return True
