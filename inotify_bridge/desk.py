"""
The desk: what is asked of a running group from outside, served by its recorder between two batches.

A relay parks a message here; an operator lists the parked ones, has the present state of their paths
published, drops them, or has messages sent again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from functools import partial
from typing import TypeAlias, TypeVar

from inotify_bridge.books import Books
from inotify_bridge.capture.notifier import Inbox
from inotify_bridge.capture.reconciler import Reconciler
from inotify_bridge.errors import BridgeError, ConfigError, SinkUnavailable, StoreError, UnavailableError
from inotify_bridge.events.parking import about
from inotify_bridge.events.parking import parked as place_of
from inotify_bridge.metrics import GroupMetrics, RelayMetrics
from inotify_bridge.outbox.journal import Position
from inotify_bridge.outbox.parked import Parked
from inotify_bridge.outbox.relay import PARKED_KIND
from inotify_bridge.outbox.store import BEYOND_RETRY
from inotify_bridge.sinks.base import Message, Outcome

T = TypeVar("T")

Rewind: TypeAlias = Callable[[Position, Callable[[], None]], bool]
"""See `outbox.relay.Relay.rewind`."""

ANSWER_SECONDS = 30.0
"""How long anybody waits for the recorder."""

_GLANCE = 0.1
"""Seconds between looks whether it still runs."""


class Desk:
    """
    One recorder's desk. Every method may come from any thread, and is carried out by the recorder's.

    All of them raise UnavailableError where the recorder has ended or does not answer in `ANSWER_SECONDS`
    (what was asked for may still happen then), and StoreError where the store fails.

    Args:
        recorder: the recorder's thread.
        record: closes the batch in hand and commits it; whether it is committed. On the recorder's thread.
    """

    def __init__(
        self,
        group: str,
        recorder: threading.Thread,
        inbox: Inbox,
        reconciler: Reconciler,
        books: Books,
        record: Callable[[], bool],
        metrics: GroupMetrics,
        sinks: Mapping[str, RelayMetrics],
    ) -> None:
        self.parked_count: Counter[str] = Counter()
        self._unattended = False
        self._recording = False
        self._acting = threading.Lock()
        self._group = group
        self._recorder = recorder
        self._inbox = inbox
        self._reconciler = reconciler
        self._books = books
        self._store = books.store
        self._record = record
        self._metrics = metrics
        self._sinks = sinks

    def count(self) -> None:
        """Set the figures of what is parked. On the recorder's thread."""
        self.parked_count = Counter(self._store.parked_counts())
        for name, sink in self._sinks.items():
            sink.parked_now(self.parked_count[name])

    def leave_unattended(self) -> None:
        """The recorder has ended for good: from now on relays park on their own threads, one at a time."""
        self._unattended = True

    # -- for a relay

    def park(self, sink: str, position: Position, message: Message, outcome: Outcome) -> None:
        """See `outbox.relay.Recorder`."""
        body = place_of(message.body, sink, f"{outcome.reason or 'other'}: {outcome.detail}")
        replacement = message._replace(kind=PARKED_KIND, body=body)

        def act() -> None:
            if not self._store.takes_parked():
                raise UnavailableError(
                    f"{self._store.parked_bytes} bytes of parked messages wait already, as many as "
                    "state.max_bytes allows",
                    "end what the sink refuses them for, then `inotify-bridge parked retry` or `parked drop`",
                )
            if self._store.park(
                sink, position, message.pack(), replacement.pack(), outcome.reason, outcome.detail
            ):
                self._metrics.count_events({PARKED_KIND: 1})
                self.parked_count[sink] += 1
                self._sinks[sink].parked_now(self.parked_count[sink])

        try:
            self._act_unattended(act) if self._unattended else self._ask(act)
        except BridgeError as error:
            raise SinkUnavailable(
                f"a refused message cannot be parked: {error.message}", error.hint
            ) from error

    # -- for an operator

    def parked(self) -> list[Parked]:
        """What is parked, in the order of the stream."""
        return self._ask(self._store.parked)

    def retry(self, sink: str | None, position: Position | None) -> int:
        """
        Publish the present state of the paths that parked messages are about, under new sequences.

        Nothing is published of a path that is gone, because the stream has said so, and a message about the
        stream itself has no state: it stays.

        Args:
            sink: of the parked messages; None: of all.
            position: of the parked message; None: of all.

        Returns:
            How many messages are parked no more.
        Raises:
            UnavailableError: the journal is full, or the recorder ends.
        """

        def act() -> int:
            if self._books.blocked:
                raise UnavailableError(
                    f"group {self._group}: the journal is full",
                    "try again when the slowest sink takes messages",
                )
            told = [one for one in self._matching(sink, position) if self._tell_again(one)]
            if told and not self._recorded():
                raise UnavailableError(f"group {self._group}: the recorder ends, nothing was published")
            return self._settle(told)

        return self._ask(act)

    def drop(self, sink: str | None, position: Position | None) -> int:
        """
        Forget parked messages; their places in the stream stay.

        The arguments and the answer are those of `retry`.
        """

        def act() -> int:
            dropped = self._matching(sink, position)
            count = self._settle(dropped)
            for one in dropped:
                if one.sink in self._sinks:
                    self._sinks[one.sink].dropped(1)
            return count

        return self._ask(act)

    def replay(self, sequence: int, rewind: Mapping[str, Rewind]) -> Position:
        """
        Have messages of the present epoch sent again.

        Args:
            sequence: of the first one.
            rewind: `Relay.rewind` of every sink that is meant.

        Returns:
            The position of the first message that is sent again.
        Raises:
            ConfigError: there is no such message, or it is not kept any more.
        """

        def act() -> Position:
            end = self._store.end
            if not 1 <= sequence <= end.sequence:
                raise ConfigError(
                    f"group {self._group}: there is no message {sequence}",
                    f"epoch {end.epoch} has 1 to {end.sequence}",
                )
            oldest = self._store.oldest()
            if sequence < oldest:
                raise ConfigError(
                    f"group {self._group}: message {sequence} is not kept any more, the oldest is {oldest}",
                    "state.retain says for how long; resync --snapshot begins a new epoch with everything",
                )
            before = Position(end.epoch, sequence - 1)
            for sink, again in rewind.items():
                again(before, partial(self._books.rewind, sink, before))
            return Position(end.epoch, sequence)

        return self._ask(act)

    # -- on the recorder's thread

    def _matching(self, sink: str | None, position: Position | None) -> list[Parked]:
        return [
            one
            for one in self._store.parked()
            if sink in (None, one.sink) and position in (None, one.position)
        ]

    def _tell_again(self, one: Parked) -> bool:
        told = [self._reconciler.tell_again(path) for path in about(Message.unpack(one.record).body).paths]
        return bool(told) and all(told)

    def _recorded(self) -> bool:
        """The batch in hand is closed: where it cannot be recorded the recorder must not go on after it."""
        self._recording = True
        recorded = self._record()
        self._recording = False
        return recorded

    def _settle(self, settled: list[Parked]) -> int:
        self._store.settle_parked(settled)
        self.count()
        return len(settled)

    def _act_unattended(self, act: Callable[[], None]) -> None:
        with self._acting:
            act()

    def _ask(self, act: Callable[[], T]) -> T:
        """Have the recorder do something, and wait for its answer."""
        answer: Future[T] = Future()

        def serve() -> None:
            try:
                answer.set_result(act())
            except BaseException as error:
                answer.set_exception(error)
                beyond = isinstance(error, StoreError) and error.reason in BEYOND_RETRY
                if beyond or self._recording or not isinstance(error, BridgeError):
                    raise

        if not self._recorder.is_alive():
            raise self._nobody()
        self._inbox.call(serve)
        self._wait_for(answer)
        return answer.result()

    def _wait_for(self, answer: Future[T]) -> None:
        """A recorder that has ended meanwhile answers no more."""
        end = time.monotonic() + ANSWER_SECONDS
        while True:
            alive = self._recorder.is_alive()
            wait([answer], _GLANCE if alive else 0.0)
            if answer.done():
                return
            if not alive:
                raise self._nobody()
            if time.monotonic() >= end:
                raise UnavailableError(
                    f"group {self._group}: the recorder did not answer in {ANSWER_SECONDS:g} s",
                    self._books.standstill or "see its log and status",
                )

    def _nobody(self) -> UnavailableError:
        return UnavailableError(f"group {self._group}: the recorder has ended or is being restarted")
