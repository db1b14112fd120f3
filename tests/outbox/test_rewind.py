"""Messages sent again: what is kept for it, and what a relay acknowledges meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from inotify_bridge.outbox.journal import Position
from inotify_bridge.sinks.base import ACCEPTED, Message, Outcome
from tests.outbox.recording import Recording
from tests.sinks.messages import assert_go_back_n, messages
from tests.waiting import eventually


class Slow:
    """A sink that takes what it gets when it is told to; keeps the numbers."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.entered = threading.Event()
        self.go_on = threading.Event()

    def connect(self) -> None:
        self.go_on.set()

    def publish(self, batch: Sequence[Message]) -> list[Outcome]:
        self.entered.set()
        assert self.go_on.wait(30.0)
        self.numbers += [message.sequence for message in batch]
        return [ACCEPTED] * len(batch)

    def close(self) -> None:
        self.go_on.set()


def test_a_rewound_sink_keeps_its_messages(tmp_path: Path) -> None:
    """What a sink confirmed before it was rewound is kept until it confirms it again."""
    with Recording(tmp_path / "group.db") as recording:
        store = recording.store
        epoch = store.epoch
        for first in (1, 11, 21):
            recording.commit(messages(10, first, epoch))
        store.acknowledge("orders", Position(epoch, 30))
        store.rewind("orders", Position(epoch, 15))
        assert store.slowest() == Position(epoch, 15)
        assert store.prune() > 0
        assert store.oldest() == 11
        assert store.prune() == 0
        store.rewind("orders", Position(epoch, 20))
        assert store.watermark("orders") == Position(epoch, 15)
        store.acknowledge("orders", Position(epoch, 30))
        store.prune()
        assert store.oldest() == 31


def test_a_rewind_during_a_publish() -> None:
    """
    A relay that is told to go back while a batch is with its sink does not acknowledge that batch: it sends
    again from the place it was told, in order.
    """
    sink = Slow()
    with Recording() as recording:
        epoch = recording.store.epoch
        relay = recording.relay(sink)
        recording.commit(messages(10, 1, epoch))
        recording.confirmed(10)
        sink.entered.clear()
        sink.go_on.clear()
        recording.commit(messages(10, 11, epoch))
        assert sink.entered.wait(30.0)
        assert not relay.rewind(Position(epoch, 15), lambda: None), "this is to be sent anyway"
        assert relay.rewind(Position(epoch, 4), lambda: None)
        recording.do(lambda store: store.rewind("orders", Position(epoch, 4)))
        assert recording.do(lambda store: store.slowest()) == Position(epoch, 4)
        sink.go_on.set()
        eventually(lambda: len(sink.numbers) >= 36, what="all of it comes again")
        recording.confirmed(20)
    assert sink.numbers == [*range(1, 21), *range(5, 21)]
    assert_go_back_n(sink.numbers, 1, 20)
