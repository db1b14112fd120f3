"""
The notifier: the thread that only reads bytes, so that the kernel's queue never fills.

Everything else happens elsewhere. It stops reading only where more bytes wait for the recorder than it may
hold: then the kernel's queue overflows, which is loud, and repaired.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from inotify_bridge.capture.inotify import Inotify

GATHER = 0.005
"""
Seconds between reads of little: a batch, a commit and a publish cost the same for one event and for many.
"""

_LITTLE = 1 << 14
"""Bytes: a read of more is followed by the next at once, for the kernel's queue is filling."""

_OBJECTS = 192
"""Bytes that a read takes in memory beside its data: most of all where records come one by one."""

TURN_SECONDS = 10.0
"""The loop turns at least this often, so that a thread that hangs can be told from one with nothing to do."""


class Chunk(NamedTuple):
    """
    What one read gave.

    Args:
        read_at: monotonic seconds.
        wall: Unix nanoseconds.
    """

    data: bytes
    read_at: float
    wall: int

    @property
    def cost(self) -> int:
        """Bytes that it takes in memory."""
        return len(self.data) + _OBJECTS


class MountsChanged:
    """The kernel says that the mount table changed."""


class Barrier:
    """Everything whose system call had returned before this was asked for stands before it in the queue."""

    def __init__(self) -> None:
        self.passed = threading.Event()


Entry: TypeAlias = Chunk | MountsChanged | Barrier | Callable[[], None]


def _nobody() -> None:
    """Before there is a notifier."""


class Inbox:
    """
    What waits for the recorder: reads, bounded in the bytes that they take, and calls from other threads.

    Args:
        max_bytes: of reads; the notifier pauses at it.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._entries: deque[Entry] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition(threading.Lock())
        self.space: Callable[[], None] = _nobody  # set by the notifier: called when there is room again
        self._paused = False

    def put(self, entry: Entry) -> bool:
        """Append an entry, on the notifier's thread. Returns whether there is room for more reads."""
        with self._changed:
            self._entries.append(entry)
            if isinstance(entry, Chunk):
                self.bytes += entry.cost
            self._paused = self.bytes >= self.max_bytes
            self._changed.notify()
            return not self._paused

    def call(self, act: Callable[[], None]) -> None:
        """Have the recorder call something, soon and also while it takes no reads. From any thread."""
        with self._changed:
            self._calls.append(act)
            self._changed.notify()

    def take(self, max_bytes: int, timeout: float | None, reads: bool) -> list[Entry]:
        """
        What there is, at least one entry unless the time runs out; calls first.

        Args:
            max_bytes: of reads, one more than that at the most.
            timeout: seconds to wait for the first entry; None: as long as it takes.
            reads: False takes calls alone.
        """
        with self._changed:
            if not self._calls and not (reads and self._entries) and timeout != 0.0:
                self._changed.wait(timeout)
            taken: list[Entry] = list(self._calls)
            self._calls.clear()
            size = cost = 0
            while reads and self._entries and size < max_bytes:
                entry = self._entries.popleft()
                if isinstance(entry, Chunk):
                    size, cost = size + len(entry.data), cost + entry.cost
                taken.append(entry)
            self.bytes -= cost
            resume = self._paused and self.bytes < self.max_bytes
            if resume:
                self._paused = False
        if resume:
            self.space()
        return taken

    def waiting(self) -> bool:
        """Whether reads wait."""
        return bool(self._entries)


class Notifier:
    """
    Reads one inotify instance on a thread of its own.

    Args:
        inotify: closed by the group, after `stop`.
        inbox: where the reads go.
        name: of the thread.
        failed: called on the notifier's thread with what killed it.
    """

    def __init__(
        self, inotify: Inotify, inbox: Inbox, name: str, failed: Callable[[BaseException], None]
    ) -> None:
        self.turned_at = time.monotonic()
        self.reads = 0
        self.read_bytes = 0
        self._inotify = inotify
        self._inbox = inbox
        self._failed = failed
        self._stopping = False
        self._gather_until = 0.0
        self._reading = False
        self._barriers: deque[Barrier] = deque()
        self._ending = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._mounts = _open_mounts()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        inbox.space = self._poke

    @property
    def thread(self) -> threading.Thread:
        """For its CPU clock."""
        return self._thread

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def caught_up(self) -> bool:
        """
        Whether every record that the kernel holds now has been put into the inbox. From any thread.

        The order counts: what is no longer in the kernel's queue is being read, or it is in the inbox. After
        `stop` nothing more is to come.
        """
        return self._stopping or (not self._inotify.pending() and not self._reading)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def barrier(self) -> Barrier:
        """Ask for a barrier; it passes when the recorder has come to it. From any thread."""
        barrier = Barrier()
        self._barriers.append(barrier)
        self._poke()
        return barrier

    def stop(self, timeout: float) -> bool:
        """
        End the thread. Idempotent, also before `start`. Returns False where it did not end in time
        (seconds).
        """
        self._stopping = True
        self._poke()
        if self._thread.is_alive():
            self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        with self._ending:
            if self._wake >= 0:
                os.close(self._wake)
                self._wake = -1
        if self._mounts >= 0:
            os.close(self._mounts)
            self._mounts = -1
        return True

    def _poke(self) -> None:
        with self._ending:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException as error:  # whatever it was: a dead watcher must not look alive
            self._failed(error)

    def _loop(self) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if self._mounts >= 0:
            poll.register(self._mounts, select.POLLPRI | select.POLLERR)  # proc(5), /proc/pid/mounts
        poll.register(self._inotify.fd, select.POLLIN)
        room = True
        while not self._stopping:
            self._gather()
            ready = dict(poll.poll(TURN_SECONDS * 1000))
            self.turned_at = time.monotonic()
            if self._inotify.fd in ready:
                room = self._read()
            if self._mounts in ready:
                self._reread_mounts()
            if self._wake in ready:
                os.eventfd_read(self._wake)
                self._serve_barriers()
                room = self._inbox.bytes < self._inbox.max_bytes
            # Where there is no room the instance is left out of the poll until the recorder has taken some.
            poll.register(self._inotify.fd, select.POLLIN if room else 0)
        self._serve_barriers()  # one that was asked for just before `stop`

    def _read(self) -> bool:
        self._reading = True
        data = self._inotify.read()
        if not data:
            self._reading = False
            return True
        now = time.monotonic()
        self.reads += 1
        self.read_bytes += len(data)
        self._gather_until = now + GATHER if len(data) < _LITTLE else 0.0
        room = self._inbox.put(Chunk(data, now, time.time_ns()))
        self._reading = False
        return room

    def _gather(self) -> None:
        """After a read of little, let a few more events come before the next one."""
        left = self._gather_until - time.monotonic()
        if left > 0.0 and not self._stopping and not self._barriers:
            time.sleep(left)

    def _serve_barriers(self) -> None:
        while self._barriers:
            barrier = self._barriers.popleft()
            owed = self._inotify.pending()
            before = self.read_bytes
            while self.read_bytes - before < owed and self._inotify.pending():
                self._read()
            self._inbox.put(barrier)

    def _reread_mounts(self) -> None:
        """Polling tells of a change once, and again only after the table was read."""
        os.lseek(self._mounts, 0, os.SEEK_SET)
        while os.read(self._mounts, 1 << 16):
            pass
        self._inbox.put(MountsChanged())


def _open_mounts() -> int:
    try:
        return os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1  # no /proc: roots are checked by time alone
