"""What has to be known before a stream that goes on after a start says anything new."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Final

from inotify_bridge.outbox.journal import Position

WAIT_SECONDS: Final = 10.0
"""How long the others wait for a sink that remembers and cannot be reached."""

_log = logging.getLogger("inotify_bridge.relay")


class Comparison:
    """
    Which sinks of a group still have to say what they hold. May be used by any thread.

    A database that was put back with its note agrees with itself. A sink that remembers shows how old it is,
    but only when it is connected; what the sinks beside it are given until then, under numbers that were
    given before, cannot be taken back. So what the journal did not have when it was opened waits for those
    that remember. What it had was published as it stands there, and may go at once.

    Args:
        end: of the journal when it was opened; None: it begins a new epoch, whose numbers nobody was given.
        seconds: that a sink is waited for.
    """

    def __init__(self, end: Position | None = None, seconds: float = WAIT_SECONDS) -> None:
        self._end = end
        self._seconds = seconds
        self._until = 0.0
        self._awaited: set[str] = set()
        self._replacing = 0
        self._over = threading.Event()
        self._lock = threading.Lock()

    def expect(self, sinks: Iterable[str]) -> None:
        """These remember; before the group's relays start. Only the first call counts: later is no start."""
        with self._lock:
            if not self._until:
                self._awaited.update(sinks)
                self._until = time.monotonic() + self._seconds

    def done(self, sink: str) -> None:
        """It was compared, or is no sink of the group any more; one that nobody waits for changes nothing."""
        with self._lock:
            self._awaited.discard(sink)
            if not self._awaited and not self._replacing:
                self._over.set()

    @contextlib.contextmanager
    def replacing(self) -> Iterator[None]:
        """A sink was found to be ahead, and a later epoch is begun: that is waited for without a bound."""
        with self._lock:
            self._replacing += 1
        try:
            yield
        finally:
            with self._lock:
                self._replacing -= 1

    def free(self, epoch: str, first: int, count: int) -> int:
        """How many of `count` messages, the first of which has the sequence `first`, may be sent now."""
        end = self._end
        if end is None or epoch != end.epoch or first + count - 1 <= end.sequence or not self._waits():
            return count
        return max(0, end.sequence - first + 1)

    def wait(self, seconds: float) -> None:
        """Until every sink was compared, or the time is over."""
        self._over.wait(seconds)

    def _waits(self) -> bool:
        with self._lock:
            if self._replacing:
                return True
            if not self._awaited:
                return False
            if time.monotonic() < self._until:
                return True
            _log.warning(
                "what sink %s holds is not known after %g s: the others go on without",
                " and ".join(sorted(self._awaited)),
                self._seconds,
            )
            self._awaited.clear()
            self._over.set()
            return False
