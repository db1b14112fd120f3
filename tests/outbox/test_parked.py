"""Parked messages in the store: what is forgotten when, what is counted, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inotify_bridge.outbox.journal import Position
from inotify_bridge.outbox.store import Store

STEP = 100
"""Instructions of SQLite between two looks at how many there were."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "group.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """With two sinks, and batches of 10 messages."""
    made = Store.open(path)
    made.mint_epoch("inotify://test/uploads")
    made.set_sinks(["a", "b"])
    yield made
    made.close()


def record(store: Store, batches: int) -> None:
    """So many batches of 10 messages."""
    for _ in range(batches):
        store.commit([b"message"] * 10, {})


def park(store: Store, sequence: int, sink: str = "a") -> None:
    """Set a message aside: 7 bytes, and 5 in its place."""
    assert store.park(sink, Position(store.epoch, sequence), b"message", b"place", "too_large", "")


def confirm(store: Store, sequence: int) -> None:
    """By both sinks, so that it may go."""
    for sink in ("a", "b"):
        store.acknowledge(sink, Position(store.epoch, sequence))


def instructions(store: Store, act: Callable[[], object]) -> int:
    """How many of SQLite's something takes."""
    looks = 0

    def look() -> int:
        nonlocal looks
        looks += 1
        return 0

    store._connection.set_progress_handler(look, STEP)
    act()
    store._connection.set_progress_handler(None, 0)
    return looks * STEP


def rows(store: Store) -> int:
    """All rows, also of what was dealt with."""
    count: int = store._connection.execute("SELECT count(*) FROM parked").fetchone()[0]
    return count


def test_dealt_with_before_its_batch_goes(store: Store) -> None:
    """What was dealt with keeps its place as long as the journal has its batch; those of gone sinks too."""
    record(store, 4)
    for sink, sequence in (("a", 5), ("b", 5), ("a", 15), ("a", 6)):
        park(store, sequence, sink)
    store.settle_parked([one for one in store.parked() if one.position.sequence != 6])
    assert (rows(store), store.parked_bytes) == (4, 4 * 5 + 7)
    store.set_sinks(["a"])
    store.acknowledge("a", Position(store.epoch, 10))
    assert store.prune()
    assert (rows(store), store.parked_bytes) == (2, 2 * 5 + 7)
    assert [one.position.sequence for one in store.parked()] == [6]


def test_dealt_with_after_its_batch_has_gone(store: Store, path: Path) -> None:
    """It is forgotten at once, whether the journal has anything left or not; and all bytes are counted."""
    record(store, 3)
    for sequence in (5, 15, 25):
        park(store, sequence)
    confirm(store, 10)
    assert store.prune()
    first, second, third = store.parked()
    store.settle_parked([first, second])
    assert (rows(store), store.parked_bytes) == (2, 5 + 12)
    confirm(store, 30)
    assert store.prune()
    assert (rows(store), store.parked_bytes) == (1, 12)
    store.close()
    again = Store.open(path)
    assert again.parked_bytes == 12
    again.settle_parked([third])
    again.settle_parked([third])
    assert (rows(again), again.parked_bytes) == (0, 0)
    again.close()


def test_left_behind_by_an_earlier_release(store: Store, path: Path) -> None:
    """What it forgot to forget goes with the first batch that goes."""
    record(store, 2)
    park(store, 5)
    confirm(store, 10)
    assert store.prune()
    store._connection.execute("UPDATE parked SET record = x''")
    store.close()
    again = Store.open(path)
    confirm(again, 20)
    assert again.prune()
    assert (rows(again), again.parked_bytes) == (0, 0)
    again.close()


def test_many_that_wait() -> None:
    """A batch that goes, and a message that is dealt with, cost no more beside a thousand that wait."""
    store = Store.open(None)
    store.mint_epoch("inotify://test/uploads")
    store.set_sinks(["a", "b"])

    def cost() -> tuple[int, int]:
        record(store, 2)
        end = store.last_sequence
        park(store, end - 15)
        park(store, end - 14)
        confirm(store, end - 10)
        pruned = instructions(store, store.prune)
        last = store.parked()[-1]
        return pruned, instructions(store, lambda: store.settle_parked([last]))

    cost()  # the first time all are looked at
    alone = cost()
    record(store, 100)
    for sequence in range(store.last_sequence - 999, store.last_sequence + 1):
        park(store, sequence)
    confirm(store, store.last_sequence)
    while store.prune():
        pass
    among = cost()
    assert len(store.parked()) > 1000
    store.close()
    assert all(one < other + 1000 for one, other in zip(among, alone, strict=True)), (among, alone)
