"""
The conformance suite: what every sink must do, run against the real thing.

Use it by a sub-class that brings a harness:

    class TestRabbitmq(SinkConformance):
        @pytest.fixture
        def harness(self, broker):
            harness = RabbitmqHarness(broker)
            yield harness
            harness.close()
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks.base import Message, Outcome, Sink, Verdict
from tests.outbox.recording import Recording, Watcher
from tests.sinks.harness import SinkHarness
from tests.sinks.messages import assert_go_back_n, messages
from tests.waiting import eventually

PROMPT_SECONDS = 60.0
"""Deadline for whatever must end by itself: far below any time-out that would leave a relay hanging."""

MISSING_REASONS = {"not_found", "unroutable", "authorization"}


class Sender(threading.Thread):
    """Publishes one batch from a thread of its own, as a relay does, and keeps what came of it."""

    def __init__(self, sink: Sink, batch: Sequence[Message], repeat: bool = False) -> None:
        super().__init__(name="sender", daemon=True)
        self._sink, self._batch, self._repeat = sink, batch, repeat
        self.outcomes: list[Outcome] = []
        self.error: BaseException | None = None
        self.sent_once = threading.Event()

    def run(self) -> None:
        try:
            self.outcomes.extend(self._sink.publish(self._batch))
            self.sent_once.set()
            while self._repeat:
                self._sink.publish(self._batch)
        except BaseException as error:
            self.error = error

    def finish(self, within: float = PROMPT_SECONDS) -> None:
        """Join it, and fail when it hangs."""
        self.join(within)
        assert not self.is_alive(), f"publish still hangs after {within:g} s"


def publish_all(sink: Sink, batch: Sequence[Message]) -> None:
    """Publish, and fail unless every message is accepted."""
    outcomes = sink.publish(batch)
    assert len(outcomes) == len(batch)
    refused = [outcome for outcome in outcomes if outcome.verdict is not Verdict.ACCEPTED]
    assert not refused, refused[:3]


def accepted_in_the_end(sink: Sink, message: Message) -> None:
    """Publish one message again and again while it is to be retried, and fail unless it is accepted."""
    deadline = time.monotonic() + PROMPT_SECONDS
    while True:
        (outcome,) = sink.publish([message])
        if outcome.verdict is Verdict.ACCEPTED:
            return
        assert outcome.verdict is Verdict.RETRY, outcome
        assert time.monotonic() < deadline, outcome


class SinkConformance:
    """Tests that run with the fixture `harness`, a `SinkHarness`."""

    def test_order_is_kept(self, harness: SinkHarness) -> None:
        """Batches of any length arrive in the order in which they were published, byte for byte."""
        sink = harness.make()
        sink.connect()
        everything = messages(500)
        for start, end in ((0, 1), (1, 11), (11, 111), (111, 500)):
            publish_all(sink, everything[start:end])
        got = harness.consume(500)
        assert [one.sequence for one in got] == [one.sequence for one in everything]
        assert [one.body for one in got] == [one.body for one in everything]

    def test_exactly_once_in_a_quiet_run(self, harness: SinkHarness) -> None:
        """While nothing fails, each message arrives once, also over a second connection of the same sink."""
        sink = harness.make()
        for first in (1, 101):
            sink.connect()
            publish_all(sink, messages(100, first))
            sink.close()
        assert [one.sequence for one in harness.consume(200)] == list(range(1, 201))

    def test_accepted_means_held(self, harness: SinkHarness) -> None:
        """What is accepted can be read by others at once, while the sink is still open."""
        sink = harness.make()
        sink.connect()
        for sequence in range(1, 6):
            publish_all(sink, messages(1, sequence))
            assert [one.sequence for one in harness.consume(sequence)] == [sequence]

    def test_accepted_survives_the_broker(self, harness: SinkHarness) -> None:
        """What is accepted is still there after the broker was stopped and started."""
        harness.need("restart")
        sink = harness.make()
        sink.connect()
        publish_all(sink, messages(100))
        harness.stop_broker()
        sink.close()
        harness.start_broker()
        assert [one.sequence for one in harness.consume(100)] == list(range(1, 101))

    def test_nothing_is_accepted_by_a_frozen_broker(self, harness: SinkHarness) -> None:
        """While the broker answers nothing, nothing is accepted."""
        harness.need("freeze")
        sink = harness.make()
        sink.connect()
        publish_all(sink, messages(1))
        sender = Sender(sink, messages(50, 2))
        with harness.frozen():
            sender.start()
            sender.join(1.0)
            assert not [one for one in sender.outcomes if one.verdict is Verdict.ACCEPTED]
        sender.finish()
        assert sender.error is None or isinstance(sender.error, SinkUnavailable), sender.error
        accepted = [2 + place for place, one in enumerate(sender.outcomes) if one.verdict is Verdict.ACCEPTED]
        assert {one.sequence for one in harness.consume(1 + len(accepted))} >= {1, *accepted}

    def test_missing_target_is_not_accepted(self, harness: SinkHarness) -> None:
        """A missing exchange, topic or directory is reported as such, and nothing is accepted."""
        harness.need("missing_target")
        sink = harness.make(**harness.missing_target)
        raised, outcomes = None, []
        try:
            sink.connect()
            outcomes = list(sink.publish(messages(3)))
        except SinkUnavailable as error:
            raised = error
        if raised is None:
            assert {one.verdict for one in outcomes} == {Verdict.RETRY}
            assert outcomes[0].reason in MISSING_REASONS
        else:
            assert isinstance(raised, SinkMisconfigured)
            assert raised.reason in MISSING_REASONS
            assert raised.hint

    def test_unroutable_is_retried(self, harness: SinkHarness) -> None:
        """A message that no queue would get is neither accepted nor given up."""
        harness.need("unroutable")
        sink = harness.make(**harness.unroutable)
        sink.connect()
        outcomes = sink.publish(messages(3))
        assert {one.verdict for one in outcomes} == {Verdict.RETRY}
        assert outcomes[0].reason == "unroutable"

    def test_too_large_is_rejected_alone(self, harness: SinkHarness) -> None:
        """A message beyond the limit is rejected for good; its neighbours are taken, maybe when repeated."""
        harness.need("too_large")
        sink = harness.make(**harness.limited)
        sink.connect()
        batch = [*messages(2), *messages(1, 3, body_bytes=harness.too_large_bytes), *messages(2, 4)]
        outcomes = sink.publish(batch)
        assert outcomes[2].verdict is Verdict.REJECTED
        assert outcomes[2].reason == "too_large"
        assert outcomes[2].detail
        for message, outcome in zip(batch, outcomes, strict=True):
            if outcome.verdict is Verdict.RETRY:
                accepted_in_the_end(sink, message)
        assert {one.sequence for one in harness.consume(4)} == {1, 2, 4, 5}

    def test_wrong_password(self, harness: SinkHarness) -> None:
        """A refused password is an operator's fault, named as such, and never shown."""
        harness.need("wrong_password")
        assert harness.password
        sink = harness.make(**harness.wrong_password)
        with pytest.raises(SinkMisconfigured) as caught:
            sink.connect()
        assert caught.value.reason == "auth"
        assert caught.value.hint
        shown = f"{caught.value!s} {caught.value!r} {caught.value.__cause__!r} {sink!r}"
        assert harness.password not in shown

    def test_wrong_host(self, harness: SinkHarness) -> None:
        """A broker that cannot be reached is unavailable, with a reason; making a sink opens nothing."""
        harness.need("wrong_host")
        sink = harness.make(**harness.wrong_host)
        with pytest.raises(SinkUnavailable) as caught:
            sink.connect()  # one that hangs ends this test by its own time
        assert caught.value.reason in {"connection", "timeout"}
        assert caught.value.message

    def test_lost_connection_is_unavailable(self, harness: SinkHarness) -> None:
        """Publishing after the broker went away raises SinkUnavailable, and does not hang."""
        harness.need("restart")
        sink = harness.make()
        sink.connect()
        publish_all(sink, messages(10))
        harness.stop_broker()
        try:
            sender = Sender(sink, messages(10, 11))
            sender.start()
            sender.finish()
            assert isinstance(sender.error, SinkUnavailable), (sender.error, sender.outcomes[:3])
        finally:
            harness.start_broker()
        sink.close()
        sink.connect()
        publish_all(sink, messages(10, 11))
        assert {one.sequence for one in harness.consume(20)} == set(range(1, 21))

    def test_close_while_sending(self, harness: SinkHarness) -> None:
        """`close` from another thread ends a `publish`, which raises SinkUnavailable promptly."""
        harness.need("interrupt")
        sink = harness.make()
        sink.connect()
        sender = Sender(sink, messages(200), repeat=True)
        sender.start()
        assert sender.sent_once.wait(PROMPT_SECONDS), sender.error
        sink.close()
        sender.finish()
        assert isinstance(sender.error, SinkUnavailable), sender.error

    def test_close_interrupts_a_frozen_broker(self, harness: SinkHarness) -> None:
        """`close` does not wait for a broker that answers nothing."""
        harness.need("freeze")
        sink = harness.make()
        sink.connect()
        publish_all(sink, messages(1))
        with harness.frozen():
            sender = Sender(sink, messages(50, 2))
            sender.start()
            sender.join(0.5)
            closer = threading.Thread(target=sink.close, name="closer", daemon=True)
            closer.start()
            closer.join(PROMPT_SECONDS)
            assert not closer.is_alive(), "close hangs"
            sender.finish()
            assert isinstance(sender.error, SinkUnavailable), sender.error

    def test_close_is_idempotent(self, harness: SinkHarness) -> None:
        """A sink may be closed before it was connected, and twice; afterwards nothing can be published."""
        sink = harness.make()
        sink.close()
        sink.connect()
        publish_all(sink, messages(1))
        sink.close()
        sink.close()
        with pytest.raises(SinkUnavailable):
            sink.publish(messages(1, 2))

    @pytest.mark.timeout(600)
    def test_broker_restarts_in_the_middle(self, harness: SinkHarness) -> None:
        """With a store and a relay before it, an outage loses nothing, and repeats are go-back-N."""
        harness.need("restart")
        watcher = Watcher()
        with Recording() as recording:
            relay = recording.relay(harness.make(), watcher=watcher)
            for first in range(1, 2001, 50):
                recording.commit(messages(50, first))
            recording.confirmed(100)
            harness.stop_broker()
            for first in range(2001, 3001, 50):
                recording.commit(messages(50, first))
            eventually(lambda: relay.status.error, within=60.0, what="an attempt that fails")
            harness.start_broker()
            for first in range(3001, 4001, 50):
                recording.commit(messages(50, first))
            recording.confirmed(4000, within=120.0)
        assert watcher.errors, "there was no outage"
        assert watcher.connections > 1
        assert watcher.acked_sequences == list(range(1, 4001))
        assert_go_back_n([one.sequence for one in harness.consume(4000)], 1, 4000)

    @pytest.mark.timeout(600)
    def test_loss_is_noticed_while_idle(self, harness: SinkHarness) -> None:
        """With nothing to send, a relay learns that the broker has gone, and comes back when it does."""
        harness.need("restart")
        watcher = Watcher()
        with Recording() as recording:
            relay = recording.relay(harness.make(), watcher=watcher)
            recording.commit(messages(10))
            recording.confirmed(10)
            sent = watcher.sent_messages
            harness.stop_broker()
            try:
                eventually(lambda: not relay.status.connected, within=60.0, what="the relay notices")
            finally:
                harness.start_broker()
            eventually(lambda: relay.status.connected, within=120.0, what="the relay is connected again")
            assert relay.status.error == ""
            assert watcher.sent_messages == sent
            assert watcher.retries == 0
            recording.commit(messages(10, 11))
            recording.confirmed(20)
        assert [one.sequence for one in harness.consume(20)] == list(range(1, 21))

    def test_empty_batch(self, harness: SinkHarness) -> None:
        """An empty batch has no outcomes."""
        sink = harness.make()
        sink.connect()
        assert list(sink.publish([])) == []
