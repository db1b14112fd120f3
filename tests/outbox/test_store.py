"""The store: one transaction, epochs, watermarks, pruning, parking, and what survives."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inotify_bridge.capture.index import Row
from inotify_bridge.errors import ConfigError, StoreError
from inotify_bridge.outbox import journal
from inotify_bridge.outbox.journal import Position
from inotify_bridge.outbox.store import Store

ROW = Row(0o100000, 0, None)
SOURCE = "inotify://test/uploads"


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store.open(None)
    made.mint_epoch(SOURCE)
    yield made
    made.close()


def read_all(
    store: Store, after: Position, max_bytes: int = 10**6, max_count: int = 1000
) -> list[tuple[Position, bytes]]:
    """Everything after a position, chunk by chunk, each record with the position after it."""
    reader = store.reader("orders")
    try:
        found: list[tuple[Position, bytes]] = []
        while chunk := reader.read(after, max_bytes, max_count):
            found += [
                (Position(chunk.epoch, chunk.first + place), record)
                for place, record in enumerate(chunk.records)
            ]
            after = chunk.last
        return found
    finally:
        reader.close()


@settings(max_examples=100, deadline=None)
@given(
    epochs=st.lists(st.lists(st.lists(st.binary(max_size=60), max_size=8), max_size=5), max_size=3),
    max_bytes=st.integers(1, 200),
    max_count=st.integers(1, 12),
    start=st.integers(0, 30),
)
def test_journal_gives_back_what_it_took(
    epochs: list[list[list[bytes]]], max_bytes: int, max_count: int, start: int
) -> None:
    """Whatever was committed in whatever epochs: every record comes back, in order, from anywhere."""
    store = Store.open(None)
    try:
        expected: list[tuple[Position, bytes]] = []
        for batches in epochs:
            epoch = store.mint_epoch(SOURCE)
            for batch in batches:
                expected += [
                    (Position(epoch, store.last_sequence + 1 + place), record)
                    for place, record in enumerate(batch)
                ]
                store.commit(batch, {})
        assert read_all(store, Position("", 0), max_bytes, max_count) == expected
        after = expected[min(start, len(expected) - 1)][0] if expected else store.end
        assert read_all(store, after, max_bytes, max_count) == [one for one in expected if one[0] > after]
        assert store.live_bytes == sum(len(record) for _, record in expected)
    finally:
        store.close()


def test_chunks_are_bounded(store: Store) -> None:
    """A chunk ends at its bounds, gathers small batches, and holds one record at least."""
    for number in range(10):
        store.commit([b"%d" % number * 10], {})
    store.commit([b"x" * 1000], {})
    reader = store.reader("orders")
    after = Position(store.epoch, 0)
    chunk = reader.read(after, 35, 100)
    assert chunk is not None
    assert (chunk.first, len(chunk.records)) == (1, 3)
    chunk = reader.read(after, 10**6, 7)
    assert chunk is not None
    assert len(chunk.records) == 7
    chunk = reader.read(Position(store.epoch, 10), 1, 100)
    assert chunk is not None
    assert [len(record) for record in chunk.records] == [1000]
    assert reader.read(store.end, 10**6, 100) is None
    reader.close()


def test_messages_and_index_are_one_step(store: Store) -> None:
    """When a commit fails, neither its messages nor its rows are there, and it can be repeated."""
    store.commit([b"one"], {(1, b"a"): ROW})
    blocker = sqlite3.connect(store.path, timeout=0, isolation_level=None)
    store._connection.execute("PRAGMA busy_timeout = 0")
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        store.commit([b"two", b"three"], {(1, b"b"): ROW})
    blocker.execute("ROLLBACK")
    blocker.close()
    with pytest.raises(TypeError):
        store.commit([b"two", "no bytes"], {(1, b"b"): ROW})  # type: ignore[list-item]
    assert (store.last_sequence, store.live_bytes, store.row(1, b"b")) == (1, 3, None)
    store.commit([b"two", b"three"], {(1, b"b"): ROW})
    assert [record for _, record in read_all(store, Position("", 0))] == [b"one", b"two", b"three"]
    assert (store.last_sequence, store.live_bytes, store.row(1, b"b")) == (3, 11, ROW)


def test_nothing_is_read_before_its_commit(store: Store) -> None:
    """A reader sees a batch when its transaction is through, not before."""
    reader = store.reader("orders")
    with store._transaction():
        store._journal.append(store.epoch, 1, [b"early"])
        assert reader.read(Position("", 0), 100, 100) is None
    assert reader.read(Position("", 0), 100, 100) is not None
    reader.close()


def test_epochs_grow(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch is 20 hex digits and greater than the one before, also when the clock is set back."""
    epochs = [store.epoch, store.mint_epoch(SOURCE)]
    monkeypatch.setattr(time, "time_ns", lambda: 10**15)
    epochs += [store.mint_epoch(SOURCE) for _ in range(20)]
    assert epochs == sorted(set(epochs))
    assert all(len(epoch) == 20 and int(epoch, 16) >= 0 for epoch in epochs)
    assert int(epochs[0][:12], 16) == pytest.approx(time.time() * 1000, abs=3_600_000)


def test_sequences_are_dense_in_an_epoch(store: Store) -> None:
    """Numbers begin at 1 in each epoch, and a commit without messages takes none."""
    store.commit([b"a", b"b"], {})
    store.commit([], {(1, b"x"): ROW})
    store.commit([b"c"], {})
    assert store.last_sequence == 3
    store.mint_epoch("inotify://test/other")
    assert (store.last_sequence, store.source) == (0, "inotify://test/other")
    store.commit([b"d"], {})
    assert [(position.sequence, record) for position, record in read_all(store, Position("", 0))] == [
        (1, b"a"),
        (2, b"b"),
        (3, b"c"),
        (1, b"d"),
    ]


def test_pruned_is_what_all_have_confirmed(store: Store) -> None:
    """A batch goes when the slowest sink has confirmed all of it, and its bytes are free again."""
    store.set_sinks(["quick", "slow"])
    for _ in range(3):
        store.commit([b"x" * 10, b"y" * 10], {})
    store.acknowledge("quick", store.end)
    assert store.prune() == 0
    store.acknowledge("slow", Position(store.epoch, 3))
    assert store.slowest() == Position(store.epoch, 3)
    assert store.prune() == 20
    assert store.live_bytes == 40
    assert [position.sequence for position, _ in read_all(store, Position("", 0))] == [3, 4, 5, 6]
    store.acknowledge("slow", store.end)
    assert store.prune() == 40
    assert (store.live_bytes, store.prune()) == (0, 0)


def test_retained_batches_stay_for_their_time(store: Store) -> None:
    """What is confirmed stays for `retain` seconds, and goes at once when there is no time left."""
    store.set_sinks(["orders"])
    store.commit([b"x"], {})
    store.acknowledge("orders", store.end)
    assert store.prune(retain=3600.0) == 0
    assert store.prune(retain=0.0) == 1


def test_a_clock_set_back_keeps_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed by a clock that was ahead goes like everything else, also where it is retained."""
    store.set_sinks(["orders"])
    with monkeypatch.context() as patch:
        ahead = time.time() + 86_400.0
        patch.setattr(time, "time", lambda: ahead)
        store.commit([b"x"], {})
        store.commit([b"y"], {})
    store.acknowledge("orders", Position(store.epoch, 1))
    assert store.prune() == 1
    store.acknowledge("orders", store.end)
    assert store.prune(retain=3600.0) == 1


def test_without_sinks_nothing_is_kept(store: Store) -> None:
    """Where no sink waits for the messages they can go."""
    store.commit([b"x"], {})
    assert store.prune() == 1


def test_a_large_backlog_is_pruned_in_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call frees a bounded number of bytes; the calls together free all, from the front."""
    monkeypatch.setattr(journal, "PRUNE_BYTES", 25)
    for _ in range(10):
        store.commit([b"x" * 10], {})
    assert [store.prune() for _ in range(5)] == [30, 30, 30, 10, 0]


def test_room(store: Store) -> None:
    """The journal admits a batch while it is below its bound, however large the batch is."""
    store.max_bytes = 100
    store.set_sinks(["orders"])
    assert store.admits()
    store.commit([b"x" * 99], {})
    assert store.admits()
    store.commit([b"x" * 1000], {})
    assert not store.admits()
    store.acknowledge("orders", store.end)
    store.prune()
    assert store.admits()


def test_sinks_come_and_go(store: Store) -> None:
    """A new sink is named and starts at the end of the stream; one that is gone holds up nothing."""
    assert store.set_sinks(["a", "b"]) == ["a", "b"]
    store.commit([b"x"], {})
    store.acknowledge("b", store.end)
    assert store.set_sinks(["b", "c"]) == ["c"]
    assert store.watermark("c") == store.end
    with pytest.raises(KeyError):
        store.watermark("a")
    assert store.prune() == 1
    assert store.set_sinks(["b", "c"]) == []


def test_a_sink_that_is_gone_confirms(store: Store) -> None:
    """What a sink confirms that a reload has removed meanwhile changes nothing."""
    store.set_sinks(["orders", "gone"])
    store.commit([b"one"], {})
    store.set_sinks(["orders"])
    store.acknowledge("gone", store.end)
    store.commit([], {})
    assert store.sinks == ["orders"]
    assert store.slowest() == Position(store.epoch, 0)


def test_a_watermark_never_goes_back(store: Store) -> None:
    """An older confirmation, also of an older epoch, changes nothing."""
    store.set_sinks(["orders"])
    store.commit([b"x", b"y"], {})
    old = store.end
    store.acknowledge("orders", old)
    store.acknowledge("orders", Position(store.epoch, 1))
    assert store.watermark("orders") == old
    store.mint_epoch(SOURCE)
    store.acknowledge("orders", Position(store.epoch, 0))
    assert store.watermark("orders") > old
    store.acknowledge("orders", old)
    assert store.watermark("orders").epoch == store.epoch


def test_parked_first_stays(store: Store) -> None:
    """Parking puts the replacement in the message's place, for that sink, once."""
    store.set_sinks(["orders", "other"])
    store.commit([b"a", b"b", b"c"], {})
    place = Position(store.epoch, 2)
    store.park("orders", place, b"b", b"B", "too_large", "10 MiB")
    store.park("orders", place, b"B", b"again", "other", "")
    assert [record for _, record in read_all(store, Position("", 0))] == [b"a", b"B", b"c"]
    other = store.reader("other")
    chunk = other.read(Position("", 0), 100, 100)
    other.close()
    assert chunk is not None
    assert chunk.records == [b"a", b"b", b"c"]
    (parked,) = store.parked()
    assert (parked.sink, parked.position, parked.reason, parked.detail, parked.record) == (
        "orders",
        place,
        "too_large",
        "10 MiB",
        b"b",
    )


def test_a_file_keeps_everything(tmp_path: Path) -> None:
    """A store with a path comes back as it was left: index, journal, epoch, watermarks."""
    path = tmp_path / "group.db"
    store = Store.open(path)
    store.mint_epoch(SOURCE)
    store.set_sinks(["orders"])
    store.commit([b"a", b"b"], {(1, b"x"): ROW})
    store.acknowledge("orders", Position(store.epoch, 1))
    store.commit([b"c"], {})
    before = (store.epoch, store.last_sequence, store.source, store.live_bytes, store.watermark("orders"))
    store.close()
    again = Store.open(path)
    assert (
        again.epoch,
        again.last_sequence,
        again.source,
        again.live_bytes,
        again.watermark("orders"),
    ) == before
    assert again.row(1, b"x") == ROW
    assert [record for _, record in read_all(again, again.watermark("orders"))] == [b"b", b"c"]
    again.close()
    again.close()


def test_a_killed_process_leaves_what_it_committed(tmp_path: Path) -> None:
    """After SIGKILL in a transaction the last commit is there, and nothing of what was begun."""
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from inotify_bridge.outbox.store import Store\n"
        "store = Store.open(Path(sys.argv[1]))\n"
        "store.mint_epoch('s')\n"
        "store.commit([b'kept'], {})\n"
        "with store._transaction():\n"
        "    store._journal.append(store.epoch, 2, [b'lost'])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "group.db"
    done = subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=60)
    assert done.returncode == -9
    store = Store.open(path)
    assert [record for _, record in read_all(store, Position("", 0))] == [b"kept"]
    assert store.last_sequence == 1
    store.close()


def test_durable_commits_are_synchronous(tmp_path: Path) -> None:
    """A store with a path waits for the disk at every commit; a private one has nothing to wait for."""
    durable, private = Store.open(tmp_path / "group.db"), Store.open(None)
    modes = [store._connection.execute("PRAGMA synchronous").fetchone()[0] for store in (durable, private)]
    assert modes == [2, 0]
    durable.close()
    private.close()


def test_a_private_store_leaves_nothing() -> None:
    """The files of a private store are for this user alone, and gone when it is closed."""
    store = Store.open(None)
    directory = store.path.parent
    assert os.stat(directory).st_mode & 0o777 == 0o700
    store.close()
    assert not directory.exists()


def test_a_killed_process_is_cleaned_up_after() -> None:
    """What a killed process left is removed by the next private store; what lives, or is new, is not."""
    program = (
        "import os, signal\n"
        "from inotify_bridge.outbox.store import Store\n"
        "print(Store.open(None).path.parent, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = [sys.executable, "-c", program]
    abandoned, fresh = (
        Path(subprocess.run(run, check=False, timeout=60, capture_output=True, text=True).stdout.strip())
        for _ in range(2)
    )
    live = Store.open(None)
    for old in (abandoned, live.path.parent):
        os.utime(old / "lock", (0, 0))
    Store.open(None).close()
    assert not abandoned.exists()
    assert fresh.exists()
    assert live.path.exists()
    live.close()
    shutil.rmtree(fresh)


def test_a_newer_store_is_refused_untouched(tmp_path: Path) -> None:
    """A database of a newer major version is refused by name, and stays as it is, byte for byte."""
    path = tmp_path / "group.db"
    Store.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = 2 WHERE key = 'schema_major'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="schema version 2") as caught:
        Store.open(path)
    assert caught.value.exit_code == 78
    assert caught.value.hint
    assert path.read_bytes() == before


def test_what_cannot_be_opened_is_explained(tmp_path: Path) -> None:
    """A file without a directory is named with what to do."""
    path = tmp_path / "missing" / "group.db"
    with pytest.raises(StoreError) as caught:
        Store.open(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
