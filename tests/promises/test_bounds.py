"""R13: what waits in memory, and what waits on disk, is bounded."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from inotify_bridge.capture.constants import IN_CREATE
from inotify_bridge.capture.inotify import Inotify
from inotify_bridge.capture.notifier import Inbox, Notifier
from inotify_bridge.sinks.base import SinkContext
from inotify_bridge.sinks.memory import MemoryBroker, MemorySink
from tests.agent.embedded import Embedded
from tests.agent.trees import Trees
from tests.outbox.recording import Recording
from tests.sinks.messages import SOURCE, messages
from tests.waiting import eventually

BOUND = 64 * 1024
AT_ONCE = 50
NAME_BYTES = 200
RECORD_BYTES = 16 + 208
OFFER = 100
BODY_BYTES = 2_000
KEPT_BYTES = 16 * 1024**2


def test_reading_pauses_at_the_bound(tmp_path: Path) -> None:
    """While nobody takes what was read, no more is read than the bound and one read; then it goes on."""
    inotify, inbox, failures = Inotify(), Inbox(BOUND), list[BaseException]()
    notifier = Notifier(inotify, inbox, "notifier-bound", failures.append)
    inotify.add_watch(bytes(tmp_path), IN_CREATE)
    notifier.start()
    try:
        for turn in range(3 * BOUND // (AT_ONCE * RECORD_BYTES)):
            for number in range(AT_ONCE):
                (tmp_path / f"{turn:04d}-{number:04d}".ljust(NAME_BYTES, "x")).touch()
            eventually(lambda: inbox.bytes >= BOUND or notifier.caught_up(), what="the notifier to read")
        assert inotify.pending() > 0, "the kernel holds the rest"
        assert BOUND <= inbox.bytes < BOUND + AT_ONCE * RECORD_BYTES
        while inotify.pending():
            inbox.take(1, timeout=1.0, reads=True)
        assert failures == []
    finally:
        assert notifier.stop(30.0)
        inotify.close()


def test_the_journal_stays_at_its_bound(trees: Trees) -> None:
    """While the broker takes nothing, the journal grows to its bound and a batch; then nothing is missing."""
    bound, turns = 1024**2, 40
    with Embedded(trees, state={"max_bytes": bound}) as embedded:
        epoch = embedded.settled().all[-1].position[0]
        store, largest = embedded.group.store, 0
        embedded.broker.freeze()
        for turn in range(turns):
            before, told = store.live_bytes, store.last_sequence
            trees.files(f"turn-{turn}", AT_ONCE)
            eventually(
                # All of it: then no batch is larger than what a turn adds.
                lambda: embedded.metric("outbox_blocked") or store.last_sequence >= told + 2 * AT_ONCE,  # noqa: B023
                what="the files in the journal, or no room there",
            )
            largest = max(largest, store.live_bytes - before)
        assert embedded.metric("outbox_blocked") == 1, "the journal came to its bound"
        assert bound <= store.live_bytes < bound + 2 * largest
        embedded.broker.thaw()
        eventually(lambda: not embedded.metric("outbox_blocked"), what="room in the journal")
        arrivals = embedded.settled()
    assert {one.position[0] for one in arrivals.all} == {epoch}
    arrivals.assert_true(trees.root)


def test_a_relay_that_waits_keeps_few_messages() -> None:
    """Messages that are offered while a broker takes nothing are in the journal, and not in memory too."""
    broker = MemoryBroker.named("bounds-offers")
    broker.freeze()
    sink = MemorySink(
        MemorySink.Options(broker="bounds-offers"),
        SinkContext("orders", "uploads", SOURCE, "structured", "group", "test"),
    )
    with Recording() as recording:
        relay = recording.relay(sink)
        recording.commit(messages(1))
        eventually(lambda: relay.status.inflight, what="a message with the broker")
        tracemalloc.start()
        try:
            for first in range(2, 3 * KEPT_BYTES // BODY_BYTES, OFFER):
                relay.offer(recording.store.epoch, messages(OFFER, first, body_bytes=BODY_BYTES))
            kept = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert kept < KEPT_BYTES, "more is kept than a third of what was offered"
