"""
Resyncs: the disk compared with what was published, in brackets that the stream shows.

At most one runs in a group. What is asked for meanwhile is one more after it, and repeated ones are spaced,
so that a tree that changes faster than it can be compared does not keep the agent busy with comparing
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from inotify_bridge.capture.model import Model
from inotify_bridge.capture.port import FileSystem
from inotify_bridge.capture.scanner import Scan, Scanner
from inotify_bridge.capture.tree import Directory, Root

Reason: TypeAlias = Literal[
    "start", "overflow", "restart", "state_lost", "root", "audit", "requested", "reload", "internal"
]

# Asked for without a sign that something is missing.
_NO_LOSS = {None, "audit", "requested", "reload"}

_SPACING = 1.0
_SPACING_AT_MOST = 60.0


@dataclass(slots=True)
class _Running:
    number: int
    reason: Reason
    path: bytes
    since: float


class Resyncs:
    """
    The resyncs of a group. Used by the recorder's thread only.

    Args:
        audit_interval: seconds between resyncs that nothing asked for; 0: none.
    """

    def __init__(self, model: Model, scanner: Scanner, port: FileSystem, audit_interval: float) -> None:
        self.scan = Scan("resync", deep=True, audit=True)
        self._model = model
        self._scanner = scanner
        self._port = port
        self._audit_interval = audit_interval
        self._audit_at = port.monotonic() + audit_interval if audit_interval else None
        self._running: _Running | None = None
        self._queued: Reason | None = None
        self._not_before = 0.0
        self._spacing = _SPACING
        self._count = self._completed = self._owed = 0

    @property
    def idle(self) -> bool:
        """Nothing runs or waits."""
        return self._running is None and self._queued is None

    @property
    def running(self) -> bool:
        """One has begun and was not completed."""
        return self._running is not None

    @property
    def sound(self) -> bool:
        """The first is completed, and what runs or waits, if anything, is not there because of a loss."""
        running = self._running.reason if self._running is not None else None
        return self._completed > 0 and {running, self._queued} <= _NO_LOSS

    @property
    def owing(self) -> bool:
        """A loss from before the last `hasten` is not repaired yet."""
        return self._completed < self._owed

    @property
    def deadline(self) -> float | None:
        """Monotonic time at which one is to begin."""
        if self._running is not None:
            return None
        return self._not_before if self._queued is not None else self._audit_at

    def request(self, reason: Reason, tops: Sequence[Directory], path: bytes | None = None) -> None:
        """
        Begin a resync, or have one more of everything after the one that runs.

        Args:
            tops: the directories to compare, with all below them.
            path: what the stream says about its scope; None for everything.
        """
        if self._running is not None or self._port.monotonic() < self._not_before:
            # What was lost is not forgotten for what is only asked for.
            self._queued = reason if self._queued in _NO_LOSS else self._queued
            return
        self._begin(reason, tops, path)

    def include(self, root: Root) -> None:
        """A root that was just found: part of what runs, or of what is to come."""
        if self._running is not None:
            self.scan.add((root,))

    def _begin(self, reason: Reason, tops: Sequence[Directory], path: bytes | None) -> None:
        self._queued = None
        self._count += 1
        self._running = _Running(self._count, reason, path or b"", self._port.monotonic())
        self._model.notice("resync_started", path or b"", resync_id=str(self._count), reason=reason)
        self.scan.entries = 0
        self.scan.add(top for top in tops if not (isinstance(top, Root) and top.lost))

    def complete(self, now: float, entries: Callable[[], int]) -> None:
        """Close the bracket if nothing of the scan is left. Its notice is the last item of its batch."""
        running = self._running
        if running is None or not self._scanner.finished(self.scan):
            return
        self._running, self._completed = None, running.number
        self._model.silent = False
        self._model.seen("resync")
        self._model.notice(
            "resync_completed",
            running.path,
            resync_id=str(running.number),
            reason=running.reason,
            entries=entries(),
            duration_seconds=round(now - running.since, 6),
        )
        if self._audit_interval:
            self._audit_at = now + self._audit_interval
        self._space(now)

    def hasten(self) -> None:
        """What repairs a loss begins without waiting for its turn; see `owing`."""
        if self._queued not in _NO_LOSS:
            self._owed, self._not_before = self._count + 1, 0.0
        elif not self.sound:
            self._owed = self._count

    def hurry(self) -> None:
        """What waits begins at once: there is no time left to space it."""
        self._not_before = 0.0
        self._spacing = 0.0

    def _space(self, now: float) -> None:
        if self._queued is None:
            self._spacing = _SPACING
            return
        self._not_before = now if self.owing else now + self._spacing
        self._spacing = min(self._spacing * 2, _SPACING_AT_MOST)

    def tick(self, now: float, roots: Sequence[Root]) -> None:
        """Begin what waits, or the audit when it is due."""
        if self._running is not None:
            return
        if self._queued is not None and now >= self._not_before:
            self._begin(self._queued, roots, None)
        elif self._queued is None and self._audit_at is not None and now >= self._audit_at:
            self._begin("audit", roots, None)
