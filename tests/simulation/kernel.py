"""The kernel's side of one inotify instance: watches, the bounded queue, merging, overflow, and read(2)."""

from __future__ import annotations

import errno
import os
import struct
from collections import deque
from typing import TYPE_CHECKING

from inotify_bridge.capture.constants import IN_IGNORED, IN_Q_OVERFLOW

if TYPE_CHECKING:
    from tests.simulation.tree import Inode

_EVENT = struct.Struct("iIII")
_OVERFLOW = (-1, IN_Q_OVERFLOW, 0, b"")


class Watch:
    """A watch: its number, never used again, and what it asks for."""

    __slots__ = ("mask", "wd")

    def __init__(self, wd: int, mask: int) -> None:
        self.wd = wd
        self.mask = mask


class Inotify:
    """
    One instance.

    Args:
        queue_max: events it holds (fs.inotify.max_queued_events).
        limit: watches it may have (fs.inotify.max_user_watches).
    """

    def __init__(self, queue_max: int = 16384, limit: int = 1 << 30) -> None:
        self.queue_max = queue_max
        self.limit = limit
        self.overflows = 0
        self.queued = 0
        self.splitting = False
        self._watches: dict[int, Inode] = {}
        self._next = 1
        self._queue: deque[tuple[int, int, int, bytes]] = deque()
        self._overflow_queued = False
        self._at_once = 0
        self._late: list[tuple[Inode, int, bytes, int]] = []

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def watches(self) -> int:
        """How many there are."""
        return len(self._watches)

    # -- watches ---------------------------------------------------------------------------------------

    def add(self, inode: Inode, mask: int) -> int:
        """inotify_add_watch(2): the same inode keeps its number, and gets the new mask.

        Raises: OSError, ENOSPC at the limit.
        """
        if inode.watch is not None:
            inode.watch.mask = mask
            return inode.watch.wd
        if len(self._watches) >= self.limit:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        inode.watch = Watch(self._next, mask)
        self._watches[self._next] = inode
        self._next += 1
        return inode.watch.wd

    def remove(self, wd: int) -> None:
        """inotify_rm_watch(2); IN_IGNORED follows. Raises: OSError, EINVAL for an unknown number."""
        inode = self._watches.get(wd)
        if inode is None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self.forget(inode)

    def forget(self, inode: Inode) -> None:
        """The inode's watch ends, if it has one."""
        if self._late:
            self.flush()
        watch = inode.watch
        if watch is not None:
            inode.watch = None
            del self._watches[watch.wd]
            self._put(watch.wd, IN_IGNORED, b"", 0)

    def shut(self) -> None:
        """close(2) of the instance: all watches go, nothing is told."""
        for inode in self._watches.values():
            inode.watch = None
        self._watches.clear()
        self._queue.clear()
        self._late.clear()
        self.splitting = self._overflow_queued = False

    # -- events ----------------------------------------------------------------------------------------

    def split(self, at_once: int) -> None:
        """
        From here only `at_once` events are queued now, later ones with `flush`.

        A system call changes the tree first and queues its events after that, with other work in between.
        """
        self.splitting = True
        self._at_once = at_once

    def flush(self) -> None:
        """What `split` kept back is queued, to those who watch now."""
        self.splitting = False
        late, self._late = self._late, []
        for inode, mask, name, cookie in late:
            self.event(inode, mask, name, cookie)

    def event(self, inode: Inode, mask: int, name: bytes, cookie: int) -> None:
        """Something happened to an inode: queue it if its watch asks for it."""
        if self.splitting:
            if self._at_once <= 0:
                self._late.append((inode, mask, name, cookie))
                return
            self._at_once -= 1
        watch = inode.watch
        if watch is not None and mask & watch.mask:
            self._put(watch.wd, mask, name, cookie)

    def _put(self, wd: int, mask: int, name: bytes, cookie: int) -> None:
        queue = self._queue
        if len(queue) >= self.queue_max:
            if not self._overflow_queued:
                self._overflow_queued = True
                self.overflows += 1
                queue.append(_OVERFLOW)
            return
        if queue:
            last = queue[-1]
            # The kernel compares all but the cookie, and merges only with the last event in the queue.
            if last[1] == mask and last[0] == wd and last[3] == name and mask != IN_IGNORED:
                return
        self.queued += 1
        queue.append((wd, mask, cookie, name))

    # -- read ------------------------------------------------------------------------------------------

    def read(self, size: int) -> bytes:
        """read(2) of a non-blocking descriptor: whole records, up to `size` bytes.

        Raises: OSError; EAGAIN where nothing is queued, EINVAL where the first record does not fit.
        """
        if not self._queue:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        records: list[bytes] = []
        while self._queue:
            record = pack(*self._queue[0])
            size -= len(record)
            if size < 0:
                break
            if self._queue.popleft() is _OVERFLOW:
                self._overflow_queued = False
            records.append(record)
        if not records:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return b"".join(records)


def pack(wd: int, mask: int, cookie: int, name: bytes) -> bytes:
    """A struct inotify_event; the name is padded with NULs to a multiple of the size of the struct."""
    if not name:
        return _EVENT.pack(wd, mask, cookie, 0)
    length = len(name) // 16 * 16 + 16
    return _EVENT.pack(wd, mask, cookie, length) + name.ljust(length, b"\0")


def unpack(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """(wd, mask, cookie, name) of every record in what read(2) gave."""
    found, at = [], 0
    while at < len(data):
        wd, mask, cookie, length = _EVENT.unpack_from(data, at)
        at += 16 + length
        found.append((wd, mask, cookie, data[at - length : at].rstrip(b"\0")))
    return found
