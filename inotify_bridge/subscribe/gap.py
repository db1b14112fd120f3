"""The consumer rule: which events to apply, so that nothing is applied twice, early, or after a loss."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from inotify_bridge.events.event import STREAM_KINDS
from inotify_bridge.subscribe.event import Event

_STARTED: Final = STREAM_KINDS["started"]
_PROBE: Final = STREAM_KINDS["probe"]


class Decision(enum.Enum):
    """What to do with one event."""

    APPLY = "apply"  # it is the next one
    DROP = "drop"  # it was applied before, belongs to an epoch that is over, or is a probe
    WAIT = "wait"  # something before it is missing: do not apply it, it will be sent again
    INVALID = "invalid"  # something was lost for good: apply nothing, ask the sender for a snapshot


class Position(NamedTuple):
    """How far a source has been applied. Epoch "" and sequence 0: not at all."""

    epoch: str = ""
    sequence: int = 0


class Gap(NamedTuple):
    """
    A hole in what was received.

    Args:
        applied: the last event before it.
        received: the highest behind it, of the same epoch or a later one.
    """

    applied: Position
    received: Position


class _Stream:
    """
    One source.

    Args:
        position: the last event that was applied.
    """

    __slots__ = ("highest", "position", "since", "valid")

    def __init__(self, position: Position) -> None:
        self.position = position
        self.highest = position  # of what came too early; above `position` while there is a hole
        self.since = 0.0
        self.valid = True


class GapDetector:
    """
    Decides for every received event by its source, epoch and sequence.

    The sender delivers at least once and in order, and after a failure goes back and sends everything again:
    a consumer may see 1 2 3 2 3 4, or 1 3 2 3. A hole that is not filled within the deadline counts as a
    loss. Belongs to one thread.

    Args:
        deadline: seconds a hole may stay open; it starts anew with every event that is applied.
        clock: monotonic seconds.
        positions: where a former run stood, by source, as `positions` gave it.
    """

    def __init__(
        self,
        deadline: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        positions: Mapping[str, Position] | None = None,
    ) -> None:
        self._deadline = deadline
        self._clock = clock
        self._streams = {source: _Stream(Position(*at)) for source, at in (positions or {}).items()}

    def offer(self, event: Event) -> Decision:
        """Decide about one received event. After `APPLY` it counts as applied."""
        if event.original_kind == _PROBE:  # of `test-sink`: an epoch of one message, no part of a stream
            return Decision.DROP
        stream = self._streams.get(event.source)
        if stream is None:
            stream = self._streams[event.source] = _Stream(Position())
        self._expire(stream)
        here = Position(event.epoch, event.sequence)
        if here <= stream.position:  # a lower epoch is lower, whatever its sequence
            return Decision.DROP
        if here.epoch > stream.position.epoch:
            if here.sequence == 1 and event.original_kind == _STARTED:
                stream.valid = True
                return self._apply(stream, here)
        elif here.sequence == stream.position.sequence + 1 and stream.valid:
            return self._apply(stream, here)
        return self._wait(stream, here)

    def invalid(self) -> frozenset[str]:
        """
        The sources of which nothing is applied until their next epoch.

        To be asked also when nothing is received: a hole may stay open because nothing comes any more.
        """
        for stream in self._streams.values():
            self._expire(stream)
        return frozenset(source for source, stream in self._streams.items() if not stream.valid)

    def finish(self) -> frozenset[str]:
        """
        Nothing more is to come: the end of a file, or of a consumer's run.

        A hole that is open now is not going to be filled, whatever the deadline: it counts as a loss.

        Returns:
            The sources of which not everything was applied; `gaps` says what is missing.
        """
        for stream in self._streams.values():
            if stream.highest > stream.position:
                stream.valid = False
        return self.invalid()

    def gaps(self) -> dict[str, Gap]:
        """The holes that are open, by source."""
        return {
            source: Gap(stream.position, stream.highest)
            for source, stream in self._streams.items()
            if stream.highest > stream.position
        }

    def invalidate(self, source: str) -> None:
        """Apply nothing more of a source until its next epoch: its replica was found to be wrong."""
        self._streams.setdefault(source, _Stream(Position())).valid = False

    def positions(self) -> dict[str, Position]:
        """How far each source has been applied: to be stored in one transaction with what was applied."""
        return {source: stream.position for source, stream in self._streams.items()}

    def _apply(self, stream: _Stream, here: Position) -> Decision:
        stream.position = here
        stream.highest = max(stream.highest, here)
        stream.since = self._clock()
        return Decision.APPLY

    def _wait(self, stream: _Stream, here: Position) -> Decision:
        if not stream.valid:
            return Decision.INVALID
        if stream.highest == stream.position:
            stream.since = self._clock()
        stream.highest = max(stream.highest, here)
        return Decision.WAIT

    def _expire(self, stream: _Stream) -> None:
        if stream.highest > stream.position and self._clock() - stream.since >= self._deadline:
            stream.valid = False
