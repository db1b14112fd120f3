"""The journal is full: nothing waits for ever, whatever fills it."""

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import sys
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inotify_bridge.capture.notifier import Chunk, Inbox
from inotify_bridge.outbox.store import Store
from inotify_bridge.sinks.memory import MemoryBroker
from tests.agent.arrivals import Arrivals
from tests.agent.embedded import Embedded
from tests.agent.trees import Trees
from tests.waiting import eventually

BOUND = 1024**2
"""The smallest that a configuration may have."""

FILES = 2500
"""Their snapshot is larger than the bound."""

FEW = 100
"""So many fit into the smallest queue of the kernel here, however late it is read."""

ROW = 4 * 1024**2

SHORT_READS = """
import sys
from pathlib import Path
from typing import Any
from inotify_bridge.capture.constants import IN_CREATE
from inotify_bridge.capture.inotify import Inotify

def mappings():
    return len(Path("/proc/self/maps").read_text().splitlines())

inotify, kept, before = Inotify(), [], mappings()
inotify.add_watch(sys.argv[1].encode(), IN_CREATE)
for number in range(500):
    Path(sys.argv[1], str(number)).touch()
    kept.append(inotify.read())
assert all(kept)
print(mappings() - before)
"""
"""In a process of its own, whose allocator has learnt nothing yet: mappings for 500 reads of a record."""


def blocked(embedded: Embedded) -> bool:
    """Whether the recorder takes nothing more."""
    return embedded.metric("outbox_blocked") == 1


def all_delivered(embedded: Embedded) -> Arrivals:
    """What has come when everything that happened is confirmed."""
    end = embedded.recorded()
    for relay in embedded.group.relays.values():
        eventually(lambda relay=relay: relay.status.position >= end, within=60.0, what=f"{end}")  # type: ignore[misc]
    return embedded.arrivals()


def test_a_resync_larger_than_the_bound(trees: Trees) -> None:
    """A first snapshot that is larger than the journal may be is recorded and delivered, and ends."""
    trees.files("there-before-the-agent", FILES)
    with Embedded(trees, state={"max_bytes": BOUND}) as embedded:
        embedded.settled()
        embedded.broker.freeze()
        embedded.group.new_epoch(30.0)
        eventually(lambda: blocked(embedded), what="the journal is full in the middle of a snapshot")
        embedded.broker.thaw()
        eventually(lambda: not blocked(embedded) and embedded.metric("consistent") == 1, within=60.0)
        arrivals = all_delivered(embedded)
    assert sum(len(one.body) for one in arrivals.all) > 2 * BOUND
    arrivals.assert_true(trees.root, digests=2)


def test_confirmations_reach_a_blocked_recorder(trees: Trees) -> None:
    """
    While the recorder takes nothing it writes down what is confirmed and prunes; what overflowed meanwhile is
    found by a resync.
    """
    with Embedded(trees, state={"max_bytes": BOUND}) as embedded:
        embedded.broker.freeze()
        trees.files("many", FILES)
        eventually(lambda: blocked(embedded), what="the journal is full")
        before = embedded.group.store.watermark("memory")
        embedded.broker.thaw()
        eventually(lambda: embedded.group.store.watermark("memory") > before, what="the watermark moves")
        eventually(lambda: not blocked(embedded) and embedded.metric("consistent") == 1, within=60.0)
        all_delivered(embedded).assert_true(trees.root)


def test_a_blocked_group_stops(trees: Trees) -> None:
    """A group whose journal is full ends though nothing is taken from it, and keeps what is not delivered."""
    with Embedded(trees, state={"max_bytes": BOUND}) as embedded:
        embedded.broker.freeze()
        trees.files("many", FILES)
        eventually(lambda: blocked(embedded), what="the journal is full")
        left = embedded.agent.stop(2.0)  # one that hangs ends this test by its own time
    assert left["g", "memory"] > 0


def test_a_bound_holds_while_nothing_is_taken(
    trees: Trees, tmp_path: Path, exclusive: Callable[[int], None]
) -> None:
    """
    What neither the journal nor the agent's queue has room for overflows in the kernel and takes no disk; one
    resync in brackets tells it afterwards.
    """
    exclusive(1024)
    state, queue, turns = tmp_path / "state", 64 * 1024, itertools.count()
    bounds: dict[str, Any] = {
        "state": {"dir": os.fspath(state), "max_bytes": BOUND},
        "capture": {"queue_max_bytes": queue},
    }
    with Embedded(trees, **bounds) as embedded:

        def both_full() -> bool:
            return blocked(embedded) and embedded.metric("capture_queue_bytes") >= queue

        def full_with_more() -> bool:
            trees.files(f"some-{next(turns)}", FEW)
            eventually(lambda: both_full() or embedded.metric("kernel_queue_bytes") == 0, what="it is read")
            return both_full()

        embedded.broker.freeze()
        eventually(full_with_more, within=90.0, what="journal and queue are full")
        full = sum(file.stat().st_size for file in state.iterdir())
        trees.files("many", 2 * FILES)
        assert sum(file.stat().st_size for file in state.iterdir()) == full < 2 * BOUND + ROW
        embedded.broker.thaw()
        eventually(lambda: embedded.metric("kernel_queue_overflows_total") == 1, within=60.0)
        eventually(lambda: not blocked(embedded) and embedded.metric("consistent") == 1, within=60.0)
        arrivals = all_delivered(embedded)
    brackets = [one.kind for one in arrivals.fresh if one.event["data"].get("reason") == "overflow"]
    assert brackets == ["stream.resync_started", "stream.resync_completed"]
    arrivals.assert_true(trees.root, digests=2)


def test_what_waits_takes_what_it_counts() -> None:
    """Reads of one record each take no more memory than the bound of the inbox allows, objects included."""
    inbox = Inbox(BOUND)
    tracemalloc.start()
    try:
        while inbox.put(Chunk(bytes(32), time.monotonic(), time.time_ns())):
            pass
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert BOUND / 2 < taken < BOUND * 1.1
    waiting = inbox.take(BOUND, 0.0, reads=True)
    assert inbox.bytes == 0
    assert len(waiting) > BOUND / 400


def test_a_short_read_keeps_no_page(trees: Trees) -> None:
    """Each short read that waits takes the bytes that came, not pages of its own."""
    program = [sys.executable, "-c", SHORT_READS, os.fspath(trees.root)]
    done = subprocess.run(program, check=True, capture_output=True, text=True, timeout=60)
    assert int(done.stdout) < 50


def test_retained_messages_make_way(trees: Trees, tmp_path: Path) -> None:
    """Messages that are only kept for a replay go first: they never fill the journal."""
    state = {"dir": os.fspath(tmp_path / "state"), "max_bytes": BOUND, "retain": "1h"}
    with Embedded(trees, state=state) as embedded:
        for turn in range(4):
            trees.files(f"turn-{turn}", FILES // 2)
            all_delivered(embedded)
            assert embedded.group.store.live_bytes < BOUND + ROW
        eventually(lambda: not blocked(embedded), what="what is retained goes")
        arrivals = embedded.arrivals()
    assert sum(len(one.body) for one in arrivals.all) > 3 * BOUND
    arrivals.assert_true(trees.root)


@contextmanager
def two_sinks(trees: Trees) -> Iterator[tuple[Embedded, MemoryBroker]]:
    """A group with a second sink, whose broker is the second value."""
    name = uuid.uuid4().hex
    sinks = [{"name": one, "type": "memory", "broker": f"{name}-{one}"} for one in ("memory", "other")]
    group = {"name": "g", "paths": [os.fspath(trees.root)], "sinks": ["memory", "other"]}
    embedded = Embedded(trees, sinks=sinks, watch_groups=[group], state={"max_bytes": BOUND})
    embedded.broker = MemoryBroker.named(f"{name}-memory")
    with embedded:
        yield embedded, MemoryBroker.named(f"{name}-other")


def told(caplog: pytest.LogCaptureFixture, what: str) -> list[str]:
    """The lines of the log in which that stands."""
    return [text for one in list(caplog.records) if what in (text := one.getMessage())]


def test_a_dead_sink_beside_a_healthy_one(trees: Trees, caplog: pytest.LogCaptureFixture) -> None:
    """
    A dead sink stops its neighbour only when the journal is full, with one line that names it and says what
    to do; when it comes back both get everything.
    """
    caplog.set_level(logging.INFO, "inotify_bridge.group")
    with two_sinks(trees) as (embedded, other):
        all_delivered(embedded)  # so that no batch is half taken when it dies
        other.stop()
        trees.files("some", 100)
        all_of = embedded.group.barrier(30.0)
        eventually(lambda: embedded.group.relays["memory"].status.position >= all_of, what="the healthy one")
        trees.files("many", FILES)
        eventually(lambda: blocked(embedded), what="the journal is full")
        eventually(lambda: embedded.group.lag("memory") == 0, what="the healthy one has all that is recorded")
        assert embedded.group.lag("other") > 0
        (full,) = eventually(lambda: told(caplog, "the journal is full"), what="it is said")
        other.start()
        eventually(lambda: not blocked(embedded) and embedded.metric("consistent") == 1, within=90.0)
        arrivals = all_delivered(embedded)
        numbers = [message.sequence for message in other.messages]
    arrivals.assert_true(trees.root)
    assert numbers == [one.position[1] for one in arrivals.all]
    assert "waits for sink other," in full
    assert "raise state.max_bytes" in full


def test_a_batch_larger_than_the_bound(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is recorded whole where there is any room, however much larger than the bound it is."""
    sizes: list[int] = []
    commit = Store.commit

    def counted(self: Store, records: list[bytes], *rest: Any) -> None:
        sizes.append(sum(map(len, records)))
        commit(self, records, *rest)

    monkeypatch.setattr(Store, "commit", counted)
    with Embedded(trees, state={"max_bytes": BOUND}) as embedded:
        embedded.settled()
        embedded.group.store.max_bytes = BOUND // 16
        embedded.broker.freeze()
        trees.files("some", FILES // 5)
        eventually(lambda: blocked(embedded), what="the journal is full")
        trees.files("many", FILES)  # one batch, when there is room
        embedded.broker.thaw()
        arrivals = all_delivered(embedded)
    assert max(sizes) > BOUND // 16, f"no batch was so large: {max(sizes)}"
    arrivals.assert_true(trees.root)


def test_parked_messages_have_a_bound(trees: Trees) -> None:
    """
    What a broker refuses is parked up to the bound of the journal; then it waits as what is not confirmed
    does, says so, and goes on when the broker takes it or an operator has dealt with the parked.
    """
    with Embedded(trees, state={"max_bytes": BOUND}) as embedded:
        embedded.broker.reject(lambda message: message.kind == "file.written")
        trees.files("many", FILES)
        relay, known = embedded.group.relays["memory"], "parked messages wait already"
        # It is gone for a moment while those before the bound are confirmed.
        said = eventually(
            lambda: error if known in (error := relay.status.error) else "", within=90.0, what="the bound"
        )
        store = embedded.group.store
        assert BOUND <= store.parked_bytes < BOUND + 64 * 1024
        assert "inotify-bridge parked" in said
        assert embedded.get("/livez")[0] == 200
        embedded.broker.reject(lambda _: False)
        assert embedded.group.drop_parked(None, None) > 0
        eventually(lambda: not relay.status.error and embedded.metric("consistent") == 1, within=60.0)
        arrivals = all_delivered(embedded)
    assert "stream.event_parked" in arrivals.kinds()
    arrivals.assert_dense()


def test_what_is_full_again_at_once_is_told_once(trees: Trees, caplog: pytest.LogCaptureFixture) -> None:
    """A journal at its bound, whose sink is slow, goes back and forth in silence."""
    caplog.set_level(logging.INFO, "inotify_bridge.group")
    with Embedded(trees, state={"max_bytes": BOUND}) as embedded:
        begun = time.monotonic()
        for turn in range(8):
            embedded.broker.freeze()
            trees.files(f"turn-{turn}", FILES // 2)
            eventually(lambda: blocked(embedded), what="the journal is full")
            embedded.broker.thaw()
            eventually(lambda: not blocked(embedded), what="it has room again")
        all_delivered(embedded)
    seconds = time.monotonic() - begun
    full, room = told(caplog, "the journal is full"), told(caplog, "has room again")
    assert 1 <= len(room) <= len(full) <= 1 + seconds / 10
