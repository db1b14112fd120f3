"""
The follower: what the capture hints at, which log's turn it is, and how much of it is read now.

    hints ─► dirty logs ─► search (which file is which) ─► read, the oldest generation first ─► entries

Everything happens on the recorder's thread, in steps between its batches.
"""

from __future__ import annotations

import heapq
import math
import os
import time
from collections import OrderedDict
from collections.abc import Mapping

from inotify_bridge.capture.change import Kind, Origin, Stat
from inotify_bridge.capture.following import Places
from inotify_bridge.lines.generation import CHUNK, NEW, Generation, Replaced
from inotify_bridge.lines.options import Options
from inotify_bridge.lines.register import Register
from inotify_bridge.lines.report import Found, Report
from inotify_bridge.lines.search import OPEN_OF_ONE, Changed, Search
from inotify_bridge.lines.splitter import Position

_STEP_BYTES = 1 << 20
_STEP_SECONDS = 0.05
_STEP_WEIGHT = 3 << 20
"""A step ends at the first of them: bytes read, time, bytes of events."""

_OPEN_AT_MOST = 128
_KEEP_BYTES = 16 << 20
"""Of what was read and is in no entry yet, all files together; beyond it is read again."""

_POLL = 1.0
"""Seconds between looks at files that left their names: nobody tells of them."""

_RETRY = 10.0
_WRITE_SECONDS = 0.5


class Follower:
    """
    Implements `capture.following.Follower`.

    Args:
        places: the files of the tree; the capture tells this follower from now on.
        states: as committed, see `outbox.followed`.
        group: for the log.
    """

    def __init__(self, places: Places, options: Options, states: Mapping[int, bytes], group: str) -> None:
        self._places = places
        self._options = options
        self._register = Register(states, options.splitter)
        self._report = Report(options.extractor, group)
        self._search = Search(places, self._register, self._report, self._start_of, self._mark)
        self._dirty: OrderedDict[bytes, None] = OrderedDict()
        self._recalled: dict[bytes, set[Generation]] = {}
        self._open: OrderedDict[Generation, None] = OrderedDict()
        self._holding: OrderedDict[Generation, int] = OrderedDict()
        self._due: dict[bytes, float] = {}
        self._timers: list[tuple[float, bytes]] = []
        self._compared = False
        self._written_at = 0.0
        self._met: set[bytes] = set()
        self._present: dict[bytes, Stat] = {}
        self._born: set[bytes] = set()
        places.tell(self)

    # -- hints

    def content(self, path: bytes, kind: Kind, origin: Origin, seen: Stat | None) -> None:
        """See `capture.following.Follower`."""
        if not self._register.begun and not self._compared:
            if origin == "kernel" and kind == "created":
                self._born.add(path)
            elif origin == "resync" and seen is not None:
                self._present.setdefault(path, seen)
        if origin == "kernel" and kind not in self._options.kinds:
            return
        generation = self._register.by_path.get(path)
        if generation is None:
            if self._options.admits(path):
                self._mark(path)
            return
        self._mark(generation.log)
        if generation.path != generation.log:
            self._recall_soon(generation)
            if self._options.admits(path):
                self._mark(path)

    def moved(self, source: bytes, path: bytes) -> None:
        """See `capture.following.Follower`."""
        self.gone(path)
        for generation in [*self._register.below(source), self._register.by_path.get(source)]:
            if generation is not None:
                self._register.place(generation, path + generation.path[len(source) :])
                self._mark(generation.log)
        if self._options.admits(path):
            self._mark(path)

    def gone(self, path: bytes) -> None:
        """See `capture.following.Follower`."""
        generation = self._register.by_path.get(path)
        if generation is None:
            return
        self._register.place(generation, b"")
        if generation.finished:
            self._register.drop(generation)
        else:
            self._mark(generation.log)

    def _mark(self, log: bytes) -> None:
        self._dirty[log] = None

    def _recall_soon(self, generation: Generation) -> None:
        self._recalled.setdefault(generation.log, set()).add(generation)
        self._mark(generation.log)

    def compared(self) -> None:
        """
        The tree is what the disk shows: every log in it is looked at. Nothing is read before the first time.
        """
        first = not self._compared
        self._compared = True
        for generation in self._register:
            if not generation.finished:
                self._mark(generation.log)
            elif first:
                self._recall_soon(generation)
        for path in self._places.files():
            if path not in self._register.by_path and self._options.admits(path):
                self._mark(path)
        if not self._register.begun:
            self._met = set(self._dirty) - self._born

    # -- steps

    @property
    def busy(self) -> bool:
        """Whether a step has something to do at once: also where there is no log, the first notes that."""
        return self._compared and bool(self._dirty or not self._register.begun)

    @property
    def begun(self) -> bool:
        """Whether it is written down what was there at the first start: all other files are new."""
        return self._register.noted

    @property
    def deadline(self) -> float | None:
        """Monotonic time at which a step has something to do; in the past: at once."""
        if not self._compared:
            return None
        if self.busy:
            return time.monotonic()
        times = [self._timers[0][0]] if self._timers else []
        if self._register.changed:
            times.append(self._written_at + _WRITE_SECONDS)
        return min(times, default=None)

    @property
    def files(self) -> int:
        """How many files are followed. From any thread."""
        return len(self._register)

    @property
    def lag(self) -> int:
        """Bytes that are known to be there and are in no entry. From any thread, about right."""
        return sum(generation.unread for generation in self._register if not generation.finished)

    @property
    def unreadable(self) -> int:
        """How many logs cannot be read now. From any thread."""
        return self._report.unreadable_logs

    def step(self) -> Found:
        """
        Read on, for a bounded time.

        Returns:
            What belongs into one transaction; nothing may be asked again before it is committed.
        """
        if self._compared:
            now = time.monotonic()
            self._ring(now)
            while self._dirty:
                log, _ = self._dirty.popitem(last=False)
                self._turn(log, now)
                if self._full(now) or len(self._open) >= 2 * _OPEN_AT_MOST:
                    break
            if not self._register.begun and not self._met & self._dirty.keys():
                self._register.begin()
        found = self._report.take(self._states())
        self._close_some()
        self._places.close()
        return found

    def _states(self) -> dict[int, bytes | None]:
        """
        What is to be written. Progress without an entry costs nothing when it is lost in a crash, so it is
        written from time to time: a line of ten gigabytes is passed over without ten thousand commits.
        """
        now = time.monotonic()
        if not self._report.items and now - self._written_at < _WRITE_SECONDS:
            return {}
        self._written_at = now
        return self._register.changes(time.time_ns())

    def close(self) -> None:
        """Close every file."""
        for generation in self._register:
            generation.close()

    def _full(self, began: float) -> bool:
        report = self._report
        return (
            report.bytes_read >= _STEP_BYTES
            or report.weight >= _STEP_WEIGHT
            or time.monotonic() - began >= _STEP_SECONDS
        )

    def _turn(self, log: bytes, now: float) -> None:
        """One log: what is not finished within the step comes again."""
        try:
            self._recall(log)
            self._search.settle(log)
            if not self._read(log, now):
                self._mark(log)
            self._met.discard(log)
            self._report.readable(log)
        except Changed:
            self._mark(log)
        except OSError as error:
            self._report.unreadable(log, error)
            self._ring_at(log, now + _RETRY)

    def _recall(self, log: bytes) -> None:
        recalled = self._recalled.get(log, set())
        while recalled:
            generation = next(iter(recalled))
            self._search.recall(generation)
            recalled.discard(generation)
        self._recalled.pop(log, None)

    def _read(self, log: bytes, now: float) -> bool:
        """Read the generations of a log in their order; whether there is no more to read now."""
        chain = list(self._register.chains.get(log, ()))
        if not all(self._guarded(generation) for generation in chain if generation.fd >= 0):
            return False
        # The youngest is measured first: what a writer put there came after what it put into the elder ones.
        limits = [generation.look() if generation.fd >= 0 else 0 for generation in reversed(chain)]
        limits.reverse()
        rested = chain
        crowded = sum(generation.fd >= 0 for generation in chain) >= OPEN_OF_ONE
        for place, (generation, limit) in enumerate(zip(chain, limits, strict=True)):
            if generation.fd < 0:
                if crowded and generation.unread:
                    return not self._make_room(chain[:place], now)
                continue
            if not self._read_one(generation, limit, now):
                return False
            if generation.copied and generation.waiting:
                self._report.entries(generation, generation.flush())
                self._register.touch(generation)
            younger = zip(chain[place + 1 :], limits[place + 1 :], strict=True)
            if any(limit > one.read_to for one, limit in younger) and self._holds_up(generation, now):
                rested = chain[: place + 1]
                break
        for generation in rested:
            if generation.fd >= 0:
                self._rest(generation, generation is chain[-1] and generation.path == log, now)
        return True

    def _make_room(self, elder: list[Generation], now: float) -> bool:
        """
        Of a file that has a name the capture tells when it grows: where others wait to be opened it is not
        kept open for that. Whether one is closed.
        """
        made = False
        for generation in elder:
            if generation.fd >= 0 and generation.path and not generation.waiting:
                self._finish(generation)
                self._let_go(generation)
                made = True
            elif generation.fd >= 0:
                self._rest(generation, False, now)
        return made

    def _holds_up(self, generation: Generation, now: float) -> bool:
        """
        Whether younger files wait: lines of its last entry may still come, and that comes before theirs.

        A file that goes on growing, for not every writer has left it, holds them up no longer than an entry
        may take; nor one that had been quiet for so long before it was read.
        """
        wait = self._options.join_after
        if not generation.whole:
            return False
        if max(now - generation.grown_at, time.time() - generation.mtime / 1e9) >= wait:
            self._report.entries(generation, generation.flush())
            self._register.touch(generation)
            return False
        if not generation.holds_up_since:
            generation.holds_up_since = now
        return now - generation.holds_up_since < wait

    def _guarded(self, generation: Generation) -> bool:
        """Whether a file that waits for its turn is still the one that it was."""
        try:
            if generation.guard():
                self._register.touch(generation)
        except Replaced:
            self._search.replaced(generation)
            self._register.touch(generation)
            return False
        return True

    def _read_one(self, generation: Generation, limit: int, now: float) -> bool:
        self._used(generation)
        while True:
            try:
                size, raws = generation.read(limit, now)
            except Replaced:
                self._search.replaced(generation)
                self._register.touch(generation)
                return False
            if size:
                self._report.read(size)
                self._report.entries(generation, raws)
                self._register.touch(generation)
            if generation.read_to >= limit or not size:
                self._hold(generation)
                return True
            if self._full(now):
                self._hold(generation)
                return False

    # -- what waits

    def _rest(self, generation: Generation, current: bool, now: float) -> None:
        """It is read to its end: how long to wait for more, for its last entry and for the file."""
        linger, came = self._options.linger, max(generation.grown_at, generation.opened_at)
        if not current and now - came >= linger:
            self._finish(generation)
            return
        due, wait = came + linger, self._wait(generation)
        if wait and now - generation.grown_at >= wait:
            self._report.entries(generation, generation.flush())
            self._register.touch(generation)
        elif wait:
            due = min(due, generation.grown_at + wait)
        if not current:
            due = min(due, now + _POLL)
        elif now - came >= linger and not self._wait(generation):
            self._let_go(generation)  # an open file would keep its file system from being unmounted
            return
        self._ring_at(generation.log, due)

    def _wait(self, generation: Generation) -> float:
        """How long what was read of it and is no entry waits for more; 0: nothing is, or for ever."""
        options = self._options
        if not generation.waiting:
            return 0.0
        return options.join_after if generation.whole else options.flush_after

    def _finish(self, generation: Generation) -> None:
        """Nothing more is expected. Where it still has a name it is kept, to be known again."""
        self._report.entries(generation, generation.flush())
        self._register.touch(generation)
        if generation.path and self._places.holds(generation.path):
            generation.finished = True
            self._register.leave(generation)
        else:
            self._register.drop(generation)

    def _ring_at(self, log: bytes, due: float) -> None:
        if due < self._due.get(log, math.inf):
            self._due[log] = due
            heapq.heappush(self._timers, (due, log))

    def _ring(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            due, log = heapq.heappop(self._timers)
            if self._due.get(log) == due:
                del self._due[log]
                self._mark(log)

    # -- bounds

    def _used(self, generation: Generation) -> None:
        self._open[generation] = None
        self._open.move_to_end(generation)

    def _hold(self, generation: Generation) -> None:
        """Bound the memory of what was read and is in no entry yet."""
        self._holding.pop(generation, None)
        if generation.waiting > CHUNK // 32:
            self._holding[generation] = generation.waiting
            while sum(self._holding.values()) > _KEEP_BYTES and len(self._holding) > 1:
                self._holding.popitem(last=False)[0].forget()

    def _close_some(self) -> None:
        """After the states are taken: files that are done with, and the longest unused above the bound."""
        for generation in [one for one in self._open if one.finished or one.fd < 0]:
            self._let_go(generation)
        for generation in list(self._open)[: max(0, len(self._open) - _OPEN_AT_MOST)]:
            if generation.path and generation.read_to >= generation.size:
                self._expect_nothing(generation)
                self._let_go(generation)
            elif not generation.path:
                # Too many without a name: this one has lingered enough.
                generation.grown_at = generation.opened_at = -math.inf
                self._mark(generation.log)

    def _expect_nothing(self, generation: Generation) -> None:
        """The timer that would close it is not needed: it would open it once more, for ever."""
        log = generation.log
        if (
            generation.path == log
            and not generation.waiting
            and self._register.chains.get(log) == [generation]
        ):
            self._due.pop(log, None)

    def _let_go(self, generation: Generation) -> None:
        generation.close()
        self._open.pop(generation, None)
        self._holding.pop(generation, None)

    def _start_of(self, log: bytes, seen: os.stat_result) -> Position | None:
        """See `Search`: the size as it was when the first comparison came to the file, if it is the same."""
        if log not in self._met:
            return None
        if self._options.start_at == "beginning":
            return NEW
        listed = self._present.get(log)
        same = listed is not None and (listed.device, listed.inode) == (seen.st_dev, seen.st_ino)
        size = listed.size if listed is not None and same and listed.size <= seen.st_size else seen.st_size
        return Position(size, None if size else 1)
