"""The relay: order, go-back-N, parking, back-off and its end."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from inotify_bridge.errors import SinkUnavailable
from inotify_bridge.outbox.journal import Position
from inotify_bridge.outbox.relay import PARKED_KIND, Limits
from inotify_bridge.sinks.base import ACCEPTED, Message, Outcome, SinkContext, Verdict
from inotify_bridge.sinks.memory import MemoryBroker, MemorySink
from tests.outbox.recording import Recording, Watcher, relay_threads, soon
from tests.sinks.messages import SOURCE, assert_go_back_n, messages
from tests.waiting import eventually

_numbers = itertools.count()


@pytest.fixture
def recording() -> Iterator[Recording]:
    with Recording() as made:
        yield made
    assert not relay_threads()


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker.named(f"relay-{next(_numbers)}")


@pytest.fixture
def sink(broker: MemoryBroker) -> MemorySink:
    return sink_of(broker)


def sink_of(broker: MemoryBroker, kind: type[MemorySink] = MemorySink) -> MemorySink:
    name = next(name for name, one in MemoryBroker._named.items() if one is broker)
    context = SinkContext("orders", "uploads", SOURCE, "structured", "group", "test")
    return kind(MemorySink.Options(broker=name), context)


def sequences(broker: MemoryBroker) -> list[int]:
    return [message.sequence for message in broker.messages]


def test_quiet_run(recording: Recording, broker: MemoryBroker, sink: MemorySink) -> None:
    """While nothing fails, every message is sent once, in order, and confirmed; the figures say the same."""
    watcher = Watcher()
    relay = recording.relay(sink, watcher=watcher)
    sent = messages(5000)
    for start in range(0, 5000, 500):
        recording.commit(sent[start : start + 500])
    recording.confirmed(5000)
    assert broker.messages == sent
    eventually(lambda: watcher.acked_sequences == list(range(1, 5001)), what="the observer hears of all")
    assert (watcher.sent_messages, watcher.retries, watcher.errors) == (5000, 0, [])
    assert watcher.sent_bytes == sum(len(message.body) for message in sent)
    assert (watcher.ups, watcher.connections) == ([True], 1)
    assert watcher.flights[-1] == 0
    assert max(watcher.flights) > 0
    status = relay.status._replace(since=None)
    assert status == (True, Position(recording.store.epoch, 5000), 0, "", None, None, None)


def test_idle_relay_wakes(recording: Recording, broker: MemoryBroker, sink: MemorySink) -> None:
    """A relay that waits sends what is committed next: each message on its own gets through."""
    recording.relay(sink)
    for sequence in range(1, 51):
        recording.commit(messages(1, sequence))
        assert broker.wait(lambda held, wanted=sequence: len(held) == wanted, 30.0)  # type: ignore[misc]


@pytest.mark.parametrize(
    "limits", [Limits(7, 1024**2, 0.001, 0.01), Limits(2000, 5000, 0.001, 0.01), Limits(1)]
)
def test_batches_are_bounded(
    recording: Recording, broker: MemoryBroker, sink: MemorySink, limits: Limits
) -> None:
    """A batch has no more messages and bytes than the limits say, and nothing is lost at its ends."""
    watcher = Watcher()
    recording.commit(messages(200))
    recording.relay(sink, watcher=watcher, limits=limits)
    recording.confirmed(200)
    assert sequences(broker) == list(range(1, 201))
    assert max(watcher.flights) <= limits.batch_messages
    assert max(watcher.flights) * len(messages(1)[0].body) <= limits.batch_bytes


def test_nack_goes_back(recording: Recording, broker: MemoryBroker, sink: MemorySink) -> None:
    """After a nack everything from it on is sent again, although the broker had taken what came behind."""
    watcher = Watcher()
    broker.nack(4, times=2)
    broker.nack(9, times=1)
    recording.commit(messages(10))
    recording.relay(sink, watcher=watcher)
    recording.confirmed(10)
    assert sequences(broker) == [1, 2, 3, 5, 6, 7, 8, 10, 5, 6, 7, 8, 9, 10, 4, 5, 6, 7, 8, 9, 10]
    assert_go_back_n(sequences(broker), 1, 10)
    assert watcher.errors == ["nacked", "nacked"]
    assert watcher.retries == 14
    eventually(lambda: watcher.acked_sequences == list(range(1, 11)), what="the observer hears of all")


def test_watermark_never_passes_a_hole(recording: Recording, broker: MemoryBroker, sink: MemorySink) -> None:
    """While message 4 is refused, the watermark stands at 3, whatever the broker took behind it."""
    broker.nack(4, times=10**9)
    recording.commit(messages(10))
    relay = recording.relay(sink)
    assert broker.wait(lambda held: [message.sequence for message in held].count(10) >= 3, 30.0)
    recording.confirmed(3)
    assert recording.store.watermark("orders") == Position(recording.store.epoch, 3)
    assert relay.status.position.sequence == 3
    assert "nacked" in relay.status.error
    assert relay.status.error_since


def test_broken_connections(recording: Recording, broker: MemoryBroker, sink: MemorySink) -> None:
    """Whatever was taken and not confirmed when a connection broke is sent again, in order."""
    watcher = Watcher()
    broker.break_after(3, 10, 1, 1, 500, 700)
    for start in range(1, 2001, 100):
        recording.commit(messages(100, start))
    recording.relay(sink, watcher=watcher)
    recording.confirmed(2000)
    got = sequences(broker)
    assert len(got) > 2000, "nothing was repeated: no connection broke"
    assert_go_back_n(got, 1, 2000)
    assert watcher.connections == 7
    assert watcher.ups == [True, False] * 6 + [True]
    eventually(lambda: watcher.acked_sequences == list(range(1, 2001)), what="the observer hears of all")


def test_broker_away_at_start(recording: Recording, broker: MemoryBroker, sink: MemorySink) -> None:
    """A broker that is away is tried again until it comes; meanwhile the status says what is wrong."""
    broker.stop()
    recording.commit(messages(3))
    relay = recording.relay(sink)
    eventually(lambda: relay.status.error)
    status = relay.status
    assert not status.connected
    assert status.error == "the memory broker is stopped"
    assert status.error_since is not None
    assert status.error_since <= time.time()
    broker.start()
    recording.confirmed(3)
    assert relay.status.error == ""
    assert sequences(broker) == [1, 2, 3]


def test_one_line_a_change(
    recording: Recording, broker: MemoryBroker, sink: MemorySink, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage of many attempts is two lines in the log: when it began and when it was over."""
    caplog.set_level(logging.INFO, "inotify_bridge.relay")
    watcher = Watcher()
    broker.stop()
    relay = recording.relay(sink, watcher=watcher)
    eventually(lambda: len(watcher.errors) >= 10)
    broker.start()
    eventually(lambda: relay.status.connected)
    recording.commit(messages(1))
    recording.confirmed(1)
    lines = [(one.levelname, one.getMessage(), one.__dict__["sink"]) for one in caplog.records]
    assert lines == [
        ("WARNING", "sink unavailable: the memory broker is stopped", "orders"),
        ("INFO", "sink connected", "orders"),
    ]


def test_rejected_is_parked_and_replaced(
    recording: Recording, broker: MemoryBroker, sink: MemorySink
) -> None:
    """A message that is never to be taken gives its place to a replacement: the numbers stay dense."""
    watcher = Watcher()
    broker.reject(
        lambda message: message.sequence in (3, 7, 8) and message.kind != PARKED_KIND, "too_large", "10 MiB"
    )
    sent = messages(10)
    recording.commit(sent)
    recording.relay(sink, watcher=watcher)
    recording.confirmed(10)
    assert_go_back_n(sequences(broker), 1, 10)
    kinds = {message.sequence: message.kind for message in broker.messages}
    assert [sequence for sequence, kind in kinds.items() if kind == PARKED_KIND] == sorted([3, 7, 8])
    parked = recording.do(lambda store: store.parked())
    assert [one.record for one in parked] == [sent[2].pack(), sent[6].pack(), sent[7].pack()]
    assert {(one.sink, one.reason, one.detail) for one in parked} == {("orders", "too_large", "10 MiB")}
    assert watcher.parked_messages == 3


def test_parked_is_never_sent_again(recording: Recording, broker: MemoryBroker, sink: MemorySink) -> None:
    """After a parked message was replaced, a re-send brings the replacement, also from a relay made later."""
    broker.reject(lambda message: message.sequence == 2 and message.kind != PARKED_KIND)
    recording.commit(messages(3))
    relay = recording.relay(sink)
    recording.confirmed(3)
    relay.stop(soon())
    assert relay.join()
    broker.clear()
    broker.reject(lambda message: False)
    reader = recording.store.reader("orders")
    chunk = reader.read(Position(recording.store.epoch, 0), 10**6, 100)
    reader.close()
    assert chunk is not None
    assert [Message.unpack(record).kind for record in chunk.records][1] == PARKED_KIND


def test_parking_is_of_one_sink(broker: MemoryBroker, sink: MemorySink) -> None:
    """What one sink parked goes to the other one as it is."""
    other = MemoryBroker.named("relay-other")
    broker.reject(lambda message: message.sequence == 2 and message.kind != PARKED_KIND)
    with Recording(sinks=("orders", "other")) as recording:
        recording.commit(messages(3))
        recording.relay(sink)
        recording.relay(sink_of(other), name="other")
        recording.confirmed(3)
        recording.confirmed(3, "other")
        assert other.messages == messages(3)
        other.clear()


def test_rejected_replacement_waits(recording: Recording, broker: MemoryBroker, sink: MemorySink) -> None:
    """A replacement that is rejected too is not parked again: the stream waits, and goes on when it can."""
    broker.reject(lambda message: message.sequence == 2, "authorization", "no rights")
    recording.commit(messages(3))
    relay = recording.relay(sink)
    eventually(lambda: relay.status.error == "no rights")
    assert len(recording.do(lambda store: store.parked())) == 1
    assert relay.status.position.sequence == 1
    broker.reject(lambda message: False)
    recording.confirmed(3)
    assert_go_back_n(sequences(broker), 1, 3)


class Grudging(MemorySink):
    """Refuses everything over its first connection, however often it is asked."""

    connections = 0

    def connect(self) -> None:
        """Count, and connect."""
        super().connect()
        self.connections += 1

    def publish(self, batch: Sequence[Message]) -> list[Outcome]:
        """Refuse for now, or hand over."""
        if self.connections == 1:
            return [Outcome(Verdict.RETRY, "nacked", "over this connection never")] * len(batch)
        return super().publish(batch)


def test_a_refusal_that_lasts_as_long_as_its_connection(recording: Recording, broker: MemoryBroker) -> None:
    """Who refuses for long is connected to anew: the refusal may be of the connection alone."""
    recording.commit(messages(3))
    recording.relay(sink_of(broker, Grudging))
    recording.confirmed(3)
    assert_go_back_n(sequences(broker), 1, 3)


def test_old_epoch_first(recording: Recording, broker: MemoryBroker, sink: MemorySink) -> None:
    """What an old epoch left in the journal is delivered before the new one begins."""
    recording.commit(messages(5))
    recording.do(lambda store: store.mint_epoch(SOURCE))
    recording.commit(messages(3))
    recording.relay(sink)
    recording.confirmed(3)
    assert sequences(broker) == [1, 2, 3, 4, 5, 1, 2, 3]


def test_stop_drains(recording: Recording, broker: MemoryBroker, sink: MemorySink) -> None:
    """A relay that is told to stop delivers what was committed before, closes its sink and ends."""
    recording.commit(messages(5000))
    relay = recording.relay(sink, limits=Limits(batch_messages=10))
    relay.stop(soon(60.0))
    assert relay.join()
    assert sequences(broker) == list(range(1, 5001))
    with pytest.raises(SinkUnavailable):
        sink.publish(messages(1))


def test_stop_interrupts_back_off(recording: Recording, broker: MemoryBroker, sink: MemorySink) -> None:
    """A relay that waits an hour before its next attempt tries at once when it is told to stop."""
    broker.stop()
    recording.commit(messages(3))
    watcher = Watcher()
    relay = recording.relay(sink, watcher=watcher, limits=Limits(first_pause=3600.0, longest_pause=3600.0))
    eventually(lambda: watcher.errors)
    broker.start()
    relay.stop(soon())
    assert relay.join()
    assert sequences(broker) == [1, 2, 3]


def test_stop_gives_up_at_the_deadline(recording: Recording, broker: MemoryBroker, sink: MemorySink) -> None:
    """A drain that cannot succeed ends at its deadline, and what is left stays in the outbox."""
    broker.stop()
    recording.commit(messages(3))
    relay = recording.relay(sink)
    relay.stop(soon(0.2))
    assert relay.join()
    assert recording.store.watermark("orders").sequence == 0
    assert recording.store.live_bytes > 0


def test_deadline_interrupts_a_hanging_publish(
    recording: Recording, broker: MemoryBroker, sink: MemorySink
) -> None:
    """A broker that answers nothing does not keep a relay beyond its deadline."""
    broker.freeze()
    recording.commit(messages(3))
    relay = recording.relay(sink)
    eventually(lambda: relay.status.inflight == 3)
    relay.stop(soon(0.1))
    assert relay.join()
    assert not relay.alive
    assert not recording.failures


def test_abort_interrupts_everything(recording: Recording, broker: MemoryBroker, sink: MemorySink) -> None:
    """`abort` ends a relay that waits, and one that drains."""
    relay = recording.relay(sink)
    eventually(lambda: relay.status.connected)
    relay.abort()
    assert relay.join()
    broker.freeze()
    recording.commit(messages(3))
    draining = recording.relay(sink_of(broker))
    eventually(lambda: draining.status.inflight == 3)
    draining.stop(soon(3600.0))
    draining.abort()
    assert draining.join()
    assert not recording.failures


class _Broken:
    """A sink with a programming error."""

    def __init__(self, outcomes: int = -1) -> None:
        self.closed = threading.Event()
        self._outcomes = outcomes

    def connect(self) -> None:
        pass

    def publish(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        if self._outcomes < 0:
            raise ZeroDivisionError("a bug")
        return [ACCEPTED] * self._outcomes

    def close(self) -> None:
        self.closed.set()


class _Sorting(_Broken):
    """A sink that holds every third message apart, and once refuses the last of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self._refuses = True

    def publish(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        refuses, self._refuses = self._refuses, False
        apart = Outcome(Verdict.ACCEPTED, detail="it does not fit")
        outcomes = [ACCEPTED if message.sequence % 3 else apart for message in batch]
        return [*outcomes[:-1], Outcome(Verdict.RETRY, "nacked")] if refuses else outcomes


def test_what_is_held_apart_is_counted(recording: Recording) -> None:
    """A message that a sink holds apart from the others is confirmed as they are, and counted once."""
    watcher = Watcher()
    recording.commit(messages(9))
    recording.relay(_Sorting(), watcher=watcher)
    recording.confirmed(9)
    eventually(lambda: watcher.aside_messages == 3, what="the observer hears of three")
    assert (watcher.errors, watcher.parked_messages) == (["nacked"], 0)


@pytest.mark.parametrize("outcomes", [-1, 2, 4])
def test_a_bug_of_a_sink_is_retried(recording: Recording, outcomes: int) -> None:
    """A bug of a sink is told, closes the sink, and is tried again: a relay does not end by it."""
    sink = _Broken(outcomes)
    watcher = Watcher()
    recording.commit(messages(3))
    relay = recording.relay(sink, watcher=watcher)
    eventually(lambda: watcher.connections >= 3, what="three attempts")
    assert relay.alive
    assert not recording.failures
    assert sink.closed.is_set()
    assert "unexpected" in relay.status.error
    assert set(watcher.errors) == {"other"}


def test_random_failures(recording: Recording, broker: MemoryBroker, sink: MemorySink) -> None:
    """Nacks, broken connections and rejections at once: nothing is missing and every repeat is go-back-N."""
    for sequence in range(1, 3000, 37):
        broker.nack(sequence, times=1 + sequence % 3)
    broker.reject(lambda message: message.sequence % 411 == 0 and message.kind != PARKED_KIND)
    broker.break_after(*range(1, 2000, 97))
    relay = recording.relay(sink, limits=Limits(100, 1024**2, 0.001, 0.005))
    for start in range(1, 3001, 300):
        recording.commit(messages(300, start))
    recording.confirmed(3000)
    assert relay.alive
    assert_go_back_n(sequences(broker), 1, 3000)
    assert len(recording.do(lambda store: store.parked())) == 3000 // 411


def test_since_when_it_is_connected(recording: Recording, broker: MemoryBroker, sink: MemorySink) -> None:
    """The status says since when a sink is connected, or is not any more; nothing before the first time."""
    broker.stop()
    relay = recording.relay(sink)
    recording.commit(messages(1))
    eventually(lambda: relay.status.error)
    moments = [relay.status.since or 0.0]
    broker.start()
    recording.confirmed(1)
    moments.append(relay.status.since or 0.0)
    broker.stop()
    recording.commit(messages(1, 2))
    eventually(lambda: not relay.status.connected)
    moments.append(relay.status.since or 0.0)
    broker.start()
    recording.confirmed(2)
    moments.append(relay.status.since or 0.0)
    assert moments[0] == 0.0
    assert moments == sorted(set(moments))


def test_words_for_a_connection_that_is_lost(
    recording: Recording, broker: MemoryBroker, sink: MemorySink, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker that goes away while it is sent to is called unavailable, not one that takes no messages."""
    recording.commit(messages(1))
    relay = recording.relay(sink)
    recording.confirmed(1)
    broker.stop()
    recording.commit(messages(1, first=2))
    eventually(lambda: relay.status.error)
    broker.start()
    recording.confirmed(2)
    told = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert told
    assert all(text.startswith("sink unavailable: ") for text in told)


class Deaf:
    """A sink that takes the first close for one before its connection, and hangs in it until the next."""

    def __init__(self) -> None:
        self.connecting = threading.Event()
        self.closed = threading.Event()
        self.lost = 0

    def connect(self) -> None:
        self.closed.clear()
        self.connecting.set()
        assert self.closed.wait(60.0)
        self.closed.clear()
        self.lost += 1
        assert self.closed.wait(60.0)
        raise SinkUnavailable("closed")

    def publish(self, batch: Sequence[Message]) -> list[Outcome]:
        raise AssertionError

    def close(self) -> None:
        self.closed.set()


def test_a_close_that_is_lost() -> None:
    """An abort that meets a sink just before it begins to connect ends it all the same."""
    sink = Deaf()
    with Recording() as recording:
        relay = recording.relay(sink)
        assert sink.connecting.wait(30.0)
        relay.stop(0.0)
        assert relay.join(30.0)
    assert sink.lost == 1
