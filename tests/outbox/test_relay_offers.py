"""What the recorder hands to a relay beside the journal, and the moment between a look and a stop."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator

import pytest

from inotify_bridge.outbox.journal import Chunk, Position, Reader
from inotify_bridge.outbox.relay import Relay
from inotify_bridge.sinks.base import SinkContext
from inotify_bridge.sinks.memory import MemoryBroker, MemorySink
from tests.outbox.recording import QUICK, Recording, Watcher
from tests.sinks.messages import SOURCE, assert_go_back_n, messages

_numbers = itertools.count()


@pytest.fixture
def recording() -> Iterator[Recording]:
    with Recording() as made:
        yield made


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker.named(f"offers-{next(_numbers)}")


def sink_of(broker: MemoryBroker, name: str) -> MemorySink:
    context = SinkContext("orders", "uploads", SOURCE, "structured", "group", "test")
    return MemorySink(MemorySink.Options(broker=name), context)


@pytest.fixture
def sink(broker: MemoryBroker) -> MemorySink:
    return sink_of(broker, next(name for name, one in MemoryBroker._named.items() if one is broker))


def sequences(broker: MemoryBroker) -> list[int]:
    return [message.sequence for message in broker.messages]


def test_offered_messages_come_in_order_whatever_was_not_offered(
    recording: Recording, broker: MemoryBroker, sink: MemorySink
) -> None:
    """Offers, gaps between offers and offers that come late all give the same stream, each message once."""
    relay = recording.relay(sink)
    chance = random.Random(7)
    late: list[tuple[str, int, int]] = []
    sent = messages(3000)
    at = 0
    while at < len(sent):
        end = min(len(sent), at + chance.randrange(1, 40))
        recording.commit(sent[at:end])
        if chance.random() < 0.6:
            relay.offer(recording.store.epoch, sent[at:end])
        else:
            late.append((recording.store.epoch, at, end))
        if late and chance.random() < 0.2:
            epoch, begin, stop = late.pop()
            relay.offer(epoch, sent[begin:stop])
        at = end
    recording.confirmed(3000)
    assert broker.messages == sent


def test_after_a_nack_offers_do_not_jump_ahead(
    recording: Recording, broker: MemoryBroker, sink: MemorySink
) -> None:
    """A message that was not taken comes again before everything offered after it."""
    watcher = Watcher()
    relay = recording.relay(sink, watcher=watcher)
    sent = messages(400)
    for start in range(0, 400, 20):
        broker.nack(start + 5)
        recording.commit(sent[start : start + 20])
        relay.offer(recording.store.epoch, sent[start : start + 20])
    recording.confirmed(400)
    assert watcher.retries > 0
    assert_go_back_n(sequences(broker), 1, 400)


class _Late:
    """A reader that finds the journal empty, and before it says so the last messages are committed and a stop
    is asked for."""

    def __init__(self, inner: Reader, recording: Recording, relays: list[Relay]) -> None:
        self._inner, self._recording, self._relays = inner, recording, relays
        self.happened = False

    def read(self, after: Position, max_bytes: int, max_count: int) -> Chunk | None:
        chunk = self._inner.read(after, max_bytes, max_count)
        if chunk is None and not self.happened and after.sequence == 10:
            self.happened = True
            self._recording.commit(messages(20)[10:])
            self._relays[0].stop(time.monotonic() + 30.0)
        return chunk

    def close(self) -> None:
        self._inner.close()


def test_nothing_committed_before_a_stop_is_left_behind(
    recording: Recording, broker: MemoryBroker, sink: MemorySink
) -> None:
    """What is committed between a relay's look at the journal and the stop is delivered before it ends."""
    relays: list[Relay] = []
    readers: list[_Late] = []

    def open_reader(name: str) -> Reader:
        readers.append(_Late(recording.store.reader(name), recording, relays))
        return readers[-1]  # type: ignore[return-value]

    recording.commit(messages(10))
    relay = Relay(
        "orders",
        "uploads",
        sink,
        open_reader,
        Position(recording.store.epoch, 0),
        recording,
        Watcher(),
        recording.failures.append,
        QUICK,
    )
    relays.append(relay)
    relay.start()
    recording.confirmed(20)
    assert relay.join(30.0)
    assert readers[0].happened
    assert sequences(broker) == list(range(1, 21))
