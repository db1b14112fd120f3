"""R5 and R13: what was parked never comes under its old number again, and parking needs no room."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from inotify_bridge.outbox.relay import PARKED_KIND
from inotify_bridge.sinks.base import Message, SinkContext
from inotify_bridge.sinks.memory import MemoryBroker, MemorySink
from tests.agent.embedded import Embedded
from tests.agent.trees import Trees
from tests.outbox.recording import Recording
from tests.sinks.messages import SOURCE, assert_go_back_n, messages
from tests.waiting import eventually

AT_ONCE = 50


class _Once:
    """Holds for the first message that is asked about and fits: a broker that changes its mind."""

    def __init__(self, kind: str = "", sequence: int = 0) -> None:
        self.refused: list[int] = []
        self._kind = kind
        self._sequence = sequence

    def __call__(self, message: Message) -> bool:
        fits = self._kind in ("", message.kind) and self._sequence in (0, message.sequence)
        if self.refused or not fits:
            return False
        self.refused.append(message.sequence)
        return True


def test_what_was_offered_before_is_not_sent_after() -> None:
    """A message that the recorder has offered too, and that the broker would take now, stays parked."""
    broker = MemoryBroker.named("promises-parking")
    sink = MemorySink(
        MemorySink.Options(broker="promises-parking"),
        SinkContext("orders", "uploads", SOURCE, "structured", "group", "test"),
    )
    broker.freeze()
    rule = _Once(sequence=3)
    broker.reject(rule)
    with Recording() as recording:
        sent = messages(4)
        recording.commit(sent[:2])
        recording.commit(sent[2:])
        relay = recording.relay(sink)
        eventually(lambda: relay.status.inflight == 4, what="all of it is with the broker")
        relay.offer(recording.store.epoch, sent[2:])
        broker.thaw()
        recording.confirmed(4)
    assert rule.refused == [3]
    assert [one.kind for one in broker.messages if one.sequence == 3] == [PARKED_KIND]
    assert_go_back_n([one.sequence for one in broker.messages], 1, 4)


def test_what_is_refused_during_a_stop_is_parked(trees: Trees) -> None:
    """A message that its broker refuses when the recorder has ended holds up no drain."""
    with Embedded(trees) as embedded, ThreadPoolExecutor(1) as executor:
        embedded.settled()
        embedded.broker.freeze()
        trees.write("refused")
        end = embedded.group.barrier(30.0)
        stopped = executor.submit(embedded.agent.stop, 60.0)
        eventually(lambda: not embedded.group.recorder.alive, what="the recorder's end")
        embedded.broker.reject(lambda message: message.kind == "file.written")
        embedded.broker.thaw()
        assert stopped.result(90.0) == {}
    kinds = [one.kind for one in embedded.broker.messages if one.sequence >= end.sequence]
    assert kinds[-2:] == [PARKED_KIND, "stream.stopped"]  # what came early comes again


def test_a_full_journal_takes_parked_messages(trees: Trees) -> None:
    """While the journal has no room for anything, what a broker refuses is parked, and the stream goes on."""
    with Embedded(trees, state={"max_bytes": 1024**2}) as embedded:
        embedded.settled()
        embedded.broker.freeze()
        for turn in range(100):
            trees.files(f"turn-{turn}", AT_ONCE)
            if embedded.metric("outbox_blocked"):
                break
        eventually(lambda: embedded.metric("outbox_blocked"), what="the journal is full")
        rule = _Once(kind="file.created")
        embedded.broker.reject(rule)
        embedded.broker.thaw()
        eventually(lambda: not embedded.metric("outbox_blocked"), what="room in the journal")
        arrivals = embedded.settled()
    assert len(rule.refused) == 1
    assert arrivals.kinds().count(PARKED_KIND) == 1
    arrivals.assert_true(trees.root)
