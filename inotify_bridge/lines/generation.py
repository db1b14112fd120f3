"""
One generation of a log: a file, how far it was read, and its descriptor while it is open.

Reading tells nobody anything by itself: what is taken into entries counts when their batch is committed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from typing import Any, Final

from inotify_bridge.lines.marks import (
    HEAD_BYTES,
    NO_MARKS,
    TAIL_BYTES,
    Marks,
    begins,
    bytes_before,
    fits,
    take,
)
from inotify_bridge.lines.splitter import Position, Raw, Splitter

CHUNK: Final = 1 << 17
"""Bytes of one read."""

NEW: Final = Position(0, 1)

MakeSplitter = Callable[[Position], Splitter]


class Replaced(Exception):
    """What was read of the file is no longer in it: it was truncated, and perhaps written again."""


class Generation:
    """
    Used by the recorder's thread.

    Args:
        number: its key in the state.
        log: the name under which it was found: that of its log.
        path: where it is now, as the stream names it; empty where that is not known.
        identity: device and inode.
        position: how far it was read.
        size, mtime: of the file when it was looked at last; mtime in nanoseconds.
    """

    def __init__(
        self,
        number: int,
        log: bytes,
        path: bytes,
        identity: tuple[int, int],
        split: MakeSplitter,
        position: Position = NEW,
        size: int = 0,
        mtime: int = 0,
        marks: Marks = NO_MARKS,
    ) -> None:
        self.number = number
        self.log = log
        self.path = path
        self.identity = identity
        self.size = size
        self.mtime = mtime
        self.fd = -1
        self.seen = False
        """Whether it is known in this life that it is the file that was read."""
        self.finished = False
        """Nothing more is expected of it; it is kept to be known again."""
        self.copied = False
        """It is the copy of a file that was truncated: nobody writes it."""
        self.grown_at = self.opened_at = 0.0
        """Monotonic time at which bytes came that were not read before in this life; and of `open`."""
        self.holds_up_since = 0.0
        """Monotonic time since which younger files wait for its last entry; 0: they do not."""
        self._marks = marks
        self._make_splitter = split
        self._splitter = split(position)
        self._read_to = self._reached = position.offset
        self._before = b""
        self._looked = (size, mtime)

    # -- the state that outlives the process

    @classmethod
    def load(cls, number: int, state: bytes, split: MakeSplitter) -> Generation:
        """What `state` has put down. Raises: ValueError, KeyError, TypeError."""
        found: dict[str, Any] = json.loads(state)
        made = cls(
            number,
            found["log"].encode("latin-1"),
            found["path"].encode("latin-1"),
            (found["device"], found["inode"]),
            split,
            Position(*found["position"]),
            found["size"],
            found["mtime"],
            Marks(*found["marks"]),
        )
        made.finished = found["finished"]
        return made

    def state(self) -> bytes:
        """How far it is read into entries, for the transaction of these."""
        position = self._splitter.position
        if self.fd >= 0 and bytes_before(self.fd, self._read_to).endswith(self._before):
            self._marks = take(self.fd, position.offset, self._marks)  # else it was truncated just now
        return json.dumps(
            {
                "log": self.log.decode("latin-1"),
                "path": self.path.decode("latin-1"),
                "device": self.identity[0],
                "inode": self.identity[1],
                "position": position,
                "size": self.size,
                "mtime": self.mtime,
                "marks": self._marks,
                "finished": self.finished,
            },
            separators=(",", ":"),
        ).encode()

    # -- the descriptor

    def open(self, fd: int, now: float) -> None:
        """Take a descriptor of a file that holds what was read of it; `now` in monotonic seconds."""
        if self.fd >= 0:
            os.close(self.fd)
        if not self.seen:
            self.grown_at = now
        self.fd, self.seen, self.opened_at = fd, True, now
        self._before = bytes_before(fd, self._read_to)
        self.look()
        self.size, self.mtime = self._looked

    def remember(self, fd: int) -> None:
        """Of this file nothing is expected: what it is told by is kept. Raises: OSError."""
        seen = os.fstat(fd)
        self.size, self.mtime, self.finished = seen.st_size, seen.st_mtime_ns, True
        self._marks = take(fd, self.offset)

    def close(self) -> None:
        """Idempotent. What was read and is no entry yet is read again."""
        if self.fd >= 0:
            self.forget()
            with contextlib.suppress(OSError):  # then it is not known again
                self._marks = take(self.fd, self.offset, self._marks)
            os.close(self.fd)
            self.fd = -1

    def forget(self) -> None:
        """Give the memory of what is read and no entry yet; it is read again."""
        if self._splitter.waiting:
            if self.fd >= 0:
                self._before = bytes_before(self.fd, self._splitter.position.offset)
            self._splitter = self._make_splitter(self._splitter.position)
            self._read_to = self._splitter.position.offset

    def fits(self, fd: int) -> bool:
        """Whether another descriptor is of a file that holds what was read of this one. Raises: OSError."""
        if self.fd >= 0 and self._before:  # its marks are those of the last commit
            return bytes_before(fd, self._read_to) == self._before
        return (self.fd < 0 or self.headed) and fits(fd, self.offset, self._marks)

    @property
    def headed(self) -> bool:
        """Whether it is known how it begins; if not, any file fits."""
        return self._marks.head_bytes > 0

    def guard(self) -> bool:
        """
        Nothing of it is read yet: see whether it still begins as it did.

        Returns:
            Whether more is known of its beginning now.
        Raises:
            Replaced: it begins otherwise.
            OSError: it cannot be read.
        """
        if self._read_to:
            return False
        if not fits(self.fd, 0, self._marks):
            raise Replaced
        before, self._marks = self._marks, take(self.fd, 0, self._marks)
        return before != self._marks

    def begins(self, head: bytes) -> bool:
        """Whether these may be its first bytes, at most `HEAD_BYTES`. Raises: OSError."""
        if self.fd < 0:
            return begins(head, self._marks)
        own = os.pread(self.fd, HEAD_BYTES, 0)
        return bool(own) and head.startswith(own)

    def look(self) -> int:
        """The size of the open file now; kept if the next read finds what was read. Raises: OSError."""
        seen = os.fstat(self.fd)
        self._looked = (seen.st_size, seen.st_mtime_ns)
        return seen.st_size

    # -- reading

    @property
    def offset(self) -> int:
        """Of the first byte that is in no entry."""
        return self._splitter.position.offset

    @property
    def read_to(self) -> int:
        """Of the first byte that was not read."""
        return self._read_to

    @property
    def unread(self) -> int:
        """Bytes that are known to be there and are in no entry."""
        return max(0, self.size - self.offset)

    @property
    def waiting(self) -> int:
        """Bytes that were read and are in no entry yet."""
        return self._splitter.waiting

    @property
    def whole(self) -> bool:
        """Whether what waits is whole lines."""
        return self._splitter.whole

    def read(self, limit: int, now: float) -> tuple[int, list[Raw]]:
        """
        Read on, one chunk at the most.

        Args:
            limit: the offset to stop at.
            now: monotonic seconds.

        Returns:
            How many bytes came, and the entries that are complete with them.
        Raises:
            Replaced: what was read before is no longer there.
            OSError: it cannot be read.
        """
        start = self._read_to - len(self._before)
        wanted = len(self._before) + max(0, min(CHUNK, limit - self._read_to))
        data = os.pread(self.fd, wanted, start)
        if not data.startswith(self._before):
            raise Replaced
        self.size, self.mtime = self._looked
        fresh = data[len(self._before) :]
        if not fresh:
            return 0, []
        self._read_to += len(fresh)
        if self._read_to > self._reached:
            self.grown_at, self._reached = now, self._read_to
        self._before = data[-TAIL_BYTES:]
        return len(fresh), self._splitter.feed(fresh)

    def flush(self) -> list[Raw]:
        """What waits is an entry."""
        return self._splitter.flush()

    def restart(self) -> None:
        """It was truncated: begin at its front."""
        self._splitter = self._make_splitter(NEW)
        self._read_to, self._reached, self._before, self._marks = 0, 0, b"", NO_MARKS
        self.size, self.copied = 0, False
