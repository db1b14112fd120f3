"""
The relay: carries a group's journal to one sink, in order, and never past what the sink has confirmed.

It alone retries, backs off, counts and times. After any failure sending resumes at the lowest unconfirmed
sequence and repeats all after it (go-back-N): a consumer may see ``1 2 3 2 3 4``, never ``1 3 2``.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from inotify_bridge.errors import SinkGone, SinkUnavailable, StoreError
from inotify_bridge.outbox.journal import Position, Reader
from inotify_bridge.outbox.relay_ports import Guards, Recorder, RelayObserver
from inotify_bridge.outbox.trouble import Trouble
from inotify_bridge.sinks.base import ACCEPTED, Message, Newest, Outcome, Remembering, Sink, Verdict, Vigilant

PARKED_KIND: Final = "stream.event_parked"
"""Kind of the message that takes the place of a parked one; it is never parked itself."""

_REFUSED: Final = "sink does not take messages"
_CHECK_SECONDS: Final = 1.0
_HELD_SECONDS: Final = 0.1
_CLOSE_AGAIN: Final = 0.5
_OFFERS: Final = 16
_OFFERED_MESSAGES: Final = 500

_log = logging.getLogger("inotify_bridge.relay")


class RelayStatus(NamedTuple):
    """
    What a relay is doing, for people.

    Args:
        connected: whether the sink is connected.
        position: up to and with which everything is confirmed.
        inflight: messages with the sink now.
        error: what keeps messages from being delivered, or empty.
        error_since: Unix seconds, or None.
        asked_at: since when the sink connects or publishes, in seconds of `time.monotonic`; None: neither.
        since: when it was connected, or ceased to be, in Unix seconds; None: it has not been connected yet.
    """

    connected: bool
    position: Position
    inflight: int
    error: str
    error_since: float | None
    asked_at: float | None = None
    since: float | None = None


class Limits(NamedTuple):
    """
    How much goes in one `publish`, and how long to wait after a failure.

    Args:
        batch_messages, batch_bytes: a batch ends at the first of both; one message always goes.
        first_pause, longest_pause: seconds; doubled at each failure, and shortened at random by up to a half,
            so that the relays of many agents do not come back at one moment.
    """

    batch_messages: int = 8000
    batch_bytes: int = 4 * 1024**2
    first_pause: float = 0.1
    longest_pause: float = 30.0


class Relay:
    """
    One thread for one (group, sink).

    `start`, `wake`, `stop`, `abort` and `join` may come from any thread. The sink is connected, used and
    closed by the relay's thread; only `abort` closes it from another one, to interrupt it.
    """

    def __init__(
        self,
        name: str,
        group: str,
        sink: Sink,
        open_reader: Callable[[str], Reader],
        position: Position,
        recorder: Recorder,
        observer: RelayObserver,
        failed: Callable[[Exception], None],
        limits: Limits = Limits(),  # noqa: B008  it is immutable
        guards: Guards = Guards(),  # noqa: B008
    ) -> None:
        """
        Args:
            name: of the sink.
            group: of the watch group.
            open_reader: `Store.reader`.
            position: where the sink stands: `Store.watermark`.
            failed: called on the relay's thread when it ends by an error that is nobody's verdict: a relay
                must not look alive when it is not.
        """
        self._name = name
        self._sink = sink
        self._open_reader = open_reader
        self._recorder = recorder
        self._observer = observer
        self._failed = failed
        self._limits = limits
        self._guards = guards
        self._fields = {"watch_group": group, "sink": name}

        self._thread = threading.Thread(target=self._run, name=f"relay-{group}-{name}", daemon=True)
        self._news = threading.Event()
        self._offered: deque[tuple[str, list[Message]]] = deque()
        self._stopping = threading.Event()
        self._aborted = threading.Event()
        self._deadline = float("inf")

        self._rewound: Position | None = None
        self._position_lock = threading.Lock()
        self._status = RelayStatus(False, position, 0, "", None)
        self._drained = False
        self._hurried = False
        self._gone = False
        self._pause = limits.first_pause
        self._trouble = Trouble(_log, self._fields)
        self._was_connected = False
        self._compared = False

    # From any thread

    @property
    def status(self) -> RelayStatus:
        """A consistent picture of this moment."""
        return self._status

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin. Once only."""
        self._thread.start()

    def wake(self) -> None:
        """The recorder has committed something."""
        self._news.set()

    def offer(self, epoch: str, messages: list[Message]) -> None:
        """
        The recorder has committed these: a relay that keeps up takes them from here and need not read them.

        Few are kept. What is not, is in the journal; so is what takes the place of a parked message.
        """
        if len(messages) <= _OFFERED_MESSAGES and len(self._offered) < _OFFERS:
            self._offered.append((epoch, messages))
        self._news.set()

    def rewind(self, position: Position, note: Callable[[], None]) -> bool:
        """
        Send everything after a position again. From then on nothing is acknowledged but what is sent again.

        Args:
            note: takes back what was acknowledged; called before anything is sent again.
        Returns:
            False where it has not been confirmed yet: it is going to be sent anyway.
        """
        with self._position_lock:
            if position >= self._status.position:
                return False
            self._rewound = min(position, self._rewound or position)
            note()
        self._news.set()
        return True

    def skip(self, position: Position) -> None:
        """Send nothing that stands before a position any more."""
        with self._position_lock:
            self._rewound = position
        self._news.set()

    def stop(self, deadline: float) -> None:
        """
        Deliver what the journal holds now, then close the sink and end; a sink that has gone for good is not
        waited for. Returns at once; `join` waits.

        Args:
            deadline: in seconds of `time.monotonic`; what is not confirmed by then stays in the outbox.
        """
        self._deadline = deadline
        self._stopping.set()
        self._news.set()

    def abort(self) -> None:
        """End now: interrupt a `publish` and every wait. What is not confirmed will be sent again."""
        self._aborted.set()
        self.stop(0.0)
        self._sink.close()

    def join(self, grace: float = 5.0) -> bool:
        """
        Wait for the end that `stop` or `abort` asked for; abort when the deadline passes.

        Args:
            grace: seconds for the sink to give way after that.
        Returns:
            Whether the thread has ended.
        """
        if self._thread.ident is None:
            return True
        self._thread.join(max(0.0, min(self._deadline - time.monotonic(), threading.TIMEOUT_MAX)))
        if self._thread.is_alive():
            late = time.monotonic() + grace
            while self._thread.is_alive() and time.monotonic() < late:
                self.abort()  # more than once: a sink that just connects may take a close for an old one
                self._thread.join(min(grace, _CLOSE_AGAIN))
        return not self._thread.is_alive()

    # On the relay's thread

    def _run(self) -> None:
        try:
            reader = self._open_reader(self._name)
            try:
                while not self._over():
                    self._session(reader)
            finally:
                reader.close()
        except Exception as error:
            if not isinstance(error, StoreError):
                _log.exception("relay ended by an unexpected error", extra=self._fields)
            self._set(error=f"{type(error).__name__}: {error}", error_since=time.time())
            self._failed(error)
        finally:
            self._disconnect()

    def _session(self, reader: Reader) -> None:
        """From connecting to the loss of the connection, or to the end."""
        try:
            self._connect()
            if not self._compared:
                self._compare(reader)
            while not self._over():
                self._turn(reader)
        except SinkUnavailable as error:
            self._gone = isinstance(error, SinkGone)
            self._lost(error.reason, str(error), "sink unavailable")
        except StoreError as error:
            self._journal_failed(error)
        except Exception as error:
            # A bug in a sink: no reason to carry nothing any more.
            if self._trouble.reason != "other":
                _log.exception("unexpected error of the sink", extra=self._fields)
            self._lost("other", f"unexpected {type(error).__name__}: {error}", _REFUSED)

    def _compare(self, reader: Reader) -> None:
        """Whether the sink holds what the journal does not: then the database is older than the stream."""
        if self._guards.end is not None and isinstance(self._sink, Remembering):
            newest = self._sink.newest()
            if newest is not None and not _known(newest, reader, self._guards.end()):
                self._guards.comparison.ahead(self._name)
                self._guards.ahead(newest.epoch)
        self._compared = True
        self._guards.comparison.done(self._name)

    def _journal_failed(self, error: StoreError) -> None:
        """The journal cannot be read now. Raises the error where that will not change."""
        if error.reason in ("corrupt", "replaced"):
            raise error
        self._lost("other", str(error), "the journal cannot be read")

    def _lost(self, reason: str, detail: str, what: str) -> None:
        connecting = not self._status.connected
        self._disconnect()
        if not self._aborted.is_set():
            self._troubled(reason, detail, connecting, what)
            self._back_off()

    def _connect(self) -> None:
        self._set(asked_at=time.monotonic())
        self._sink.connect()
        self._observer.connects()
        self._observer.connected(True)
        connected = {"connected": True, "asked_at": None, "since": time.time()}
        if self._trouble.connecting or not self._was_connected:
            self._clear(**connected)  # in one picture: what is connected has no trouble with connecting
            _log.info("sink connected", extra=self._fields)
            self._pause = self._limits.first_pause
        else:
            self._set(**connected)
        self._was_connected = True

    def _disconnect(self) -> None:
        self._sink.close()
        if self._status.connected:
            self._observer.connected(False)
            self._set(since=time.time())
        self._set(connected=False, asked_at=None)

    def _turn(self, reader: Reader) -> None:
        """Send one batch, or wait for one."""
        # Both before the look: what is committed after it wakes us again, and is not left behind by a stop.
        self._news.clear()
        stopping = self._stopping.is_set()
        self._go_back()
        epoch, batch = self._at_hand() or self._read(reader)
        free = self._guards.comparison.free(epoch, batch[0].sequence, len(batch)) if batch else 0
        if free:
            self._deliver(epoch, batch[:free])
        elif batch:  # read again then: the epoch may be another one
            self._guards.comparison.wait(_HELD_SECONDS)
        elif stopping:
            self._drained = True
        else:
            self._idle()

    def _idle(self) -> None:
        """Wait for news. A sink that can tell is asked meanwhile whether it still has its connection."""
        if not isinstance(self._sink, Vigilant):
            self._news.wait()
            return
        while not self._news.wait(_CHECK_SECONDS):
            try:
                self._sink.check()
            except SinkUnavailable:
                self._disconnect()  # no message has failed: to connect is what has to be done again
                raise

    def _go_back(self) -> None:
        with self._position_lock:
            rewound, self._rewound = self._rewound, None
            if rewound is not None:
                self._offered.clear()
                self._set(position=rewound)

    def _read(self, reader: Reader) -> tuple[str, list[Message]]:
        chunk = reader.read(self._status.position, self._limits.batch_bytes, self._limits.batch_messages)
        if chunk is None:
            return "", []
        return chunk.epoch, [Message.unpack(record) for record in chunk.records]

    def _at_hand(self) -> tuple[str, list[Message]] | None:
        """What comes next, where it was offered; nothing where the journal has to be read."""
        epoch, sequence = self._status.position
        batch: list[Message] = []
        while self._offered and len(batch) < self._limits.batch_messages:
            offered_epoch, messages = self._offered[0]
            if (offered_epoch, messages[0].sequence) == (epoch, sequence + 1):
                batch += messages
                sequence = messages[-1].sequence
            elif (offered_epoch, messages[-1].sequence) > (epoch, sequence):
                break  # something before it was not offered
            self._offered.popleft()
        return (epoch, batch) if batch else None

    def _deliver(self, epoch: str, batch: list[Message]) -> None:
        self._guards.check()
        self._observer.sent(len(batch), sum(len(message.body) for message in batch))
        started = time.monotonic()
        outcomes = self._publish(batch)
        accepted = _accepted(outcomes)
        if aside := accepted - list(outcomes[:accepted]).count(ACCEPTED):
            self._observer.set_aside(aside)
        if accepted:
            self._confirm(
                Position(epoch, batch[accepted - 1].sequence), batch[:accepted], time.monotonic() - started
            )
        if accepted < len(batch):
            self._observer.retried(len(batch) - accepted)
            self._refused(epoch, batch[accepted:], outcomes[accepted:])

    def _publish(self, batch: list[Message]) -> Sequence[Outcome]:
        self._fly(len(batch))
        try:
            outcomes = self._sink.publish(batch)
        except SinkUnavailable:
            self._observer.retried(len(batch))
            raise
        finally:
            self._fly(0)
        if len(outcomes) != len(batch):
            raise RuntimeError(f"sink '{self._name}' gave {len(outcomes)} outcomes for {len(batch)} messages")
        return outcomes

    def _confirm(self, position: Position, messages: list[Message], seconds: float) -> None:
        with self._position_lock:
            if self._rewound is None:
                self._set(position=position)
                self._recorder.acknowledge(self._name, position)
        self._observer.acked(messages, seconds)
        self._pause = self._limits.first_pause
        if self._trouble.reason:
            _log.info("sink takes messages again", extra=self._fields)
            self._clear()

    def _refused(self, epoch: str, batch: list[Message], outcomes: Sequence[Outcome]) -> None:
        """The first of these was not accepted: park what never will be, and send all of it again."""
        # A replacement that is rejected too has no other that would do better: it waits for an operator.
        rejected = [
            (message, outcome)
            for message, outcome in zip(batch, outcomes, strict=True)
            if outcome.verdict is Verdict.REJECTED and message.kind != PARKED_KIND
        ]
        for message, outcome in rejected:
            self._park(Position(epoch, message.sequence), message, outcome)
        if not rejected or rejected[0][0] is not batch[0]:
            self._troubled(outcomes[0].reason or "other", outcomes[0].detail, False, _REFUSED)
            lasting = self._pause >= self._limits.longest_pause
            self._back_off()
            if lasting and not self._over():
                # A broker may hold to a refusal for as long as the connection that met it lives: RabbitMQ
                # does, where the policy that limited a quorum queue is cleared.
                self._disconnect()
                self._connect()

    def _park(self, position: Position, message: Message, outcome: Outcome) -> None:
        self._offered.clear()  # the journal has what takes its place, these have the message itself
        self._recorder.park(self._name, position, message, outcome)
        self._observer.error(outcome.reason)
        self._observer.parked(1)
        _log.warning(
            "message parked: %s",
            outcome.detail,
            extra={**self._fields, "sequence": message.sequence, "reason": outcome.reason},
        )

    def _troubled(self, reason: str, detail: str, connecting: bool, what: str) -> None:
        self._observer.error(reason)
        self._trouble.met(reason, detail, connecting, what)
        self._set(error=detail or reason, error_since=self._trouble.since)

    def _clear(self, **changes: Any) -> None:
        self._trouble.over()
        self._set(error="", error_since=None, **changes)

    def _back_off(self) -> None:
        """Wait before the next attempt. `stop` cuts the wait short, once; `abort` always does."""
        pause = self._pause * random.uniform(0.5, 1.0)
        self._pause = min(self._pause * 2, self._limits.longest_pause)
        if self._hurried:
            self._aborted.wait(max(0.0, min(pause, self._deadline - time.monotonic())))
        elif self._stopping.wait(pause):  # also where the stop came between the failure and this wait
            self._hurried = True
            self._pause = self._limits.first_pause

    def _over(self) -> bool:
        hopeless = self._gone or time.monotonic() >= self._deadline
        return self._drained or self._aborted.is_set() or (self._stopping.is_set() and hopeless)

    def _fly(self, count: int) -> None:
        self._observer.inflight(count)
        self._set(inflight=count, asked_at=time.monotonic() if count else None)

    def _set(self, **changes: Any) -> None:
        self._status = self._status._replace(**changes)


def _known(newest: Newest, reader: Reader, end: Position) -> bool:
    """Whether the journal has, or had, what a sink holds last."""
    if (newest.epoch, newest.sequence) > end:
        return False
    if newest.epoch != end.epoch or newest.body is None:
        return True
    # Numbers may have been given again since: the journal then has another message at that place.
    chunk = reader.read(Position(newest.epoch, newest.sequence - 1), 1, 1)
    if chunk is None or (chunk.epoch, chunk.first) != (newest.epoch, newest.sequence):
        return True
    return Message.unpack(chunk.records[0]).body == newest.body


def _accepted(outcomes: Sequence[Outcome]) -> int:
    """How many are accepted before the first that is not."""
    refused = (place for place, outcome in enumerate(outcomes) if outcome.verdict is not Verdict.ACCEPTED)
    return next(refused, len(outcomes))
