"""The index in the database against a dict."""

from __future__ import annotations

import stat as kinds
from collections import defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inotify_bridge.capture.change import Stat
from inotify_bridge.capture.index import Key, Row
from inotify_bridge.outbox.store import Store

# What a file system may give: inode numbers of 64 bits, times far from today, and names of any bytes.
_unsigned = st.integers(0, 2**64 - 1)
_times = st.one_of(st.integers(0, 2**62), st.integers(-(2**80), 2**80))
_names = st.binary(min_size=1, max_size=255).map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"_"))
_stats = st.builds(
    Stat,
    mode=st.sampled_from([kinds.S_IFREG, kinds.S_IFDIR, kinds.S_IFLNK]).map(lambda kind: kind | 0o644),
    size=st.integers(0, 2**63 - 1),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
    device=_unsigned,
    inode=_unsigned,
    links=_unsigned,
    mtime=_times,
    ctime=_times,
    target=st.one_of(st.none(), st.binary(max_size=30)),
)
_rows = st.builds(
    Row,
    type=st.sampled_from([kinds.S_IFREG, kinds.S_IFDIR, kinds.S_IFLNK]),
    node=st.integers(0, 2**62),
    stat=st.one_of(st.none(), _stats),
    ready=st.one_of(st.none(), st.tuples(_unsigned, st.integers(0, 2**63), _times, _times)),
)
_keys = st.tuples(st.integers(0, 3), st.one_of(st.sampled_from([b"a", b"b", b"\xff\n"]), _names))
_batches = st.lists(st.dictionaries(_keys, st.one_of(st.none(), _rows), max_size=20), max_size=6)


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store.open(None)
    yield made
    made.close()


def model_of(batches: list[dict[Key, Row | None]]) -> dict[Key, Row]:
    """What a dict holds after the same writes."""
    model: dict[Key, Row] = {}
    for batch in batches:
        for key, row in batch.items():
            if row is None:
                model.pop(key, None)
            else:
                model[key] = row
    return model


def check(store: Store, model: dict[Key, Row]) -> None:
    """Every question that the index answers, answered by the dict."""
    by_directory: dict[int, list[bytes]] = defaultdict(list)
    by_inode: dict[tuple[int, int], set[Key]] = defaultdict(set)
    for key, row in model.items():
        by_directory[key[0]].append(key[1])
        if row.stat is not None:
            by_inode[row.stat.device, row.stat.inode].add(key)
    for directory, names in by_directory.items():
        expected = {name: model[directory, name] for name in names}
        assert store.rows(directory, [*names, b"never stored"]) == expected
        assert store.row(directory, names[0]) == model[directory, names[0]]
    for (device, inode), keys in by_inode.items():
        assert set(store.names(device, inode)) == keys
    assert list(store.entries()) == [
        (directory, name, row.type, row.node) for (directory, name), row in sorted(model.items())
    ]


@settings(max_examples=150, deadline=None)
@given(_batches)
def test_index_equals_a_dict(batches: list[dict[Key, Row | None]]) -> None:
    """After any writes, with any names, numbers and times, the index answers as a dict does."""
    store = Store.open(None)
    try:
        for batch in batches:
            store.commit([], batch)
        check(store, model_of(batches))
    finally:
        store.close()


@pytest.mark.parametrize("count", [1, 2, 511, 512, 513, 1025, 5000])
def test_any_number_of_rows(store: Store, count: int) -> None:
    """Lengths around the statements' sizes and the pages' make no difference, nor does what is removed."""
    rows = {
        (number % 3, b"%d" % number): Row(
            kinds.S_IFREG, 0, Stat(kinds.S_IFREG, number, 0, 0, 1, number, 1, 5, 6)
        )
        for number in range(count)
    }
    store.commit([], rows)
    check(store, dict(rows))
    half = list(rows)[::2]
    store.commit([], dict.fromkeys([*half, (7, b"absent")]))
    check(store, {key: row for key, row in rows.items() if key not in set(half)})


def test_a_new_epoch_empties_the_index(store: Store) -> None:
    """Minting an epoch removes every row, in one step."""
    store.commit([], {(1, b"a"): Row(kinds.S_IFREG, 0, None)})
    store.mint_epoch("inotify://test/a")
    assert list(store.entries()) == []
    assert store.row(1, b"a") is None


def test_same_inode_of_another_device(store: Store) -> None:
    """An inode number is looked up within its device, and to its last bit."""
    stat = Stat(kinds.S_IFREG, 0, 0, 0, 1, 42, 2, 0, 0)
    store.commit(
        [],
        {
            (1, b"a"): Row(kinds.S_IFREG, 0, stat),
            (2, b"b"): Row(kinds.S_IFREG, 0, stat._replace(device=2)),
            (3, b"c"): Row(kinds.S_IFREG, 0, stat),
            (4, b"d"): Row(kinds.S_IFREG, 0, stat._replace(inode=42 + 2**63)),
        },
    )
    assert sorted(store.names(1, 42)) == [(1, b"a"), (3, b"c")]
    assert store.names(3, 42) == []
    assert store.names(1, 42 + 2**63) == [(4, b"d")]
