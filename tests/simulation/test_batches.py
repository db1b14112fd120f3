"""A batch is bounded in bytes, whatever happens at once; and each is whole: events and index in step."""

from __future__ import annotations

import itertools
import os
import random
import stat

import pytest

from inotify_bridge.capture.change import Change
from inotify_bridge.capture.model import BATCH_BYTES, Batch
from inotify_bridge.capture.reconciler import Options
from inotify_bridge.events.envelope import Encoder
from tests.simulation.watched import Watched

NAME = b"x" * 255
LEVELS = 300
"""A tree of them has 11 MB of paths."""


def _messages(batch: Batch) -> int:
    encoder = Encoder("inotify://host/group", "group", "0" * 20)
    return sum(len(encoder.encode(item, 1)[2]) for item in batch.items)


def _path_bytes(batches: list[Batch]) -> int:
    return sum(len(item.path) for batch in batches for item in batch.items if isinstance(item, Change))


def _bounded(batches: list[Batch]) -> None:
    """More than one batch was needed, and the largest is no larger than it may be, but for one event."""
    largest = max(item.path or b"" for batch in batches for item in batch.items)
    assert _path_bytes(batches) > 2 * BATCH_BYTES, "it would not have fit"
    assert max(map(_messages, batches)) <= BATCH_BYTES + 2 * len(largest) + 1_000


def test_a_tree_that_leaves_is_told_in_batches() -> None:
    """The deletions of a tree with eleven megabytes of paths come in batches of at most four."""
    watched = Watched()
    watched.chain(NAME, LEVELS)
    watched.start()
    watched.tree.rename(b"r/" + NAME, b"o/away")
    batches = list(watched.batches())
    _bounded(batches)
    told = [item for batch in batches for item in batch.items]
    assert len(told) == LEVELS
    assert all(one.path.startswith(two.path) for one, two in itertools.pairwise(told))  # type: ignore[union-attr,arg-type]
    assert not watched.fold.entries()


def test_each_part_of_a_batch_holds_the_types_that_it_tells() -> None:
    """Where a batch is cut after a creation whose type was not known yet, the first part is right too."""
    watched = Watched(batch_bytes=4_000)
    watched.chain(b"c", 1)
    watched.tree.mkdir(b"r/c/" + NAME, 0o755)
    for number in range(20):
        watched.tree.mkdir(b"r/c/%s/%d" % (NAME, number), 0o755)
    watched.tree.mkdir(b"o/f", 0o755)
    watched.start()
    watched.tree.symlink(b"/nowhere", b"r/link")
    watched.tree.exchange(b"o/f", b"r/c")
    parts = list(watched.batches())
    told = [(batch, item) for batch in parts for item in batch.items if item.path == b"link"]
    assert len(told) == 1
    batch, created = told[0]
    assert isinstance(created, Change)
    rows = [row for (_, name), row in batch.writes.items() if name == b"link" and row]
    assert [row.type for row in rows] == [created.type] == [stat.S_IFLNK]
    assert not any(item.kind == "deleted" for item in batch.items), "the batch was cut"


def test_what_follows_a_tree_that_leaves_comes_after_it() -> None:
    """What takes its name at once is told when the last of its deletions has been."""
    watched = Watched()
    watched.chain(NAME, LEVELS)
    watched.start()
    watched.tree.rename(b"r/" + NAME, b"o/away")
    watched.tree.mkdir(b"r/" + NAME, 0o755)
    watched.tree.mkdir(b"r/" + NAME + b"/new", 0o755)
    _bounded(list(watched.batches()))  # the fold would not take a directory that is there
    assert set(watched.fold.entries()) == {NAME, NAME + b"/new"}


def test_a_tree_that_comes_is_told_in_batches() -> None:
    """The creations of a tree found at the start, and of one moved in, come in batches of at most four."""
    watched = Watched()
    watched.chain(NAME, LEVELS)
    _bounded(watched.start())
    watched.tree.rename(b"r/" + NAME, b"o/away")
    list(watched.batches())
    watched.tree.rename(b"o/away", b"r/back")
    _bounded(list(watched.batches()))
    assert len(watched.fold.entries()) == LEVELS


def test_records_of_deep_files_are_taken_in_batches() -> None:
    """One read that names files at the bottom of a deep tree is turned into as many batches as that takes."""
    watched = Watched()
    bottom = watched.chain(NAME, LEVELS)
    watched.start()
    for number in range(300):
        watched.tree.mkdir(b"%s/%d" % (bottom, number), 0o755)
    _bounded(list(watched.batches()))
    assert len(watched.fold.entries()) == LEVELS + 300


def test_a_name_of_everything_is_told_in_batches() -> None:
    """A file's other names are told of a change in as many batches as that takes."""
    watched = Watched()
    bottom = watched.chain(NAME, LEVELS)
    watched.tree.open(3, bottom + b"/f", os.O_CREAT | os.O_WRONLY)
    watched.tree.close(3)
    for number in range(200):
        watched.tree.link(bottom + b"/f", b"%s/%d" % (bottom, number))
    watched.start()
    watched.tree.chmod(bottom + b"/f", 0o600)
    batches = list(watched.batches())
    _bounded(batches)
    told = {item.path for batch in batches for item in batch.items}
    assert len(told) == 201


def test_a_barrier_waits_for_every_name() -> None:
    """
    A check finds that a file was written through one of its names, when there is little room in the batch: a
    barrier passes when all two hundred others have told of it.
    """
    watched = Watched()
    bottom = watched.chain(NAME, LEVELS)
    watched.tree.mkdir(b"r/a", 0o755)
    watched.tree.open(3, b"r/a/f", os.O_CREAT | os.O_WRONLY)
    for number in range(200):
        watched.tree.link(b"r/a/f", b"%s/%d" % (bottom, number))
    watched.start()
    watched.tree.write(3, 5)
    watched.tree.close(3)
    written = watched.inotify.read(1 << 20)
    watched.tree.rename(b"r/a", b"r/b")
    for data in (written, watched.inotify.read(1 << 20)):
        watched.reconciler.feed(data, watched.port.monotonic(), watched.tree.now)
        watched.close(backlog=True)
    watched.reconciler.settle()
    told: set[bytes | None] = set()
    while watched.reconciler.adopting:
        told |= {item.path for item in watched.close(backlog=True).items}
    assert len(told - {b"b/f"}) == 200


def test_paths_that_are_remembered_are_bounded() -> None:
    """However deep the tree, what is kept of its paths stays below two megabytes."""
    watched = Watched()
    watched.chain(NAME, LEVELS)
    watched.start()
    tree = watched.reconciler._model.tree
    nodes = list(tree.directories())
    random.Random(1).shuffle(nodes)
    for node in nodes:
        tree.path(node)
        assert sum(map(len, tree._paths.values())) < 2 << 20
    assert sum(len(tree.path(node)) for node in nodes) > 8 << 20


@pytest.mark.parametrize("reads", [1, 7])
def test_a_barrier_waits_for_what_was_cut(reads: int) -> None:
    """What is settled while batches are still to come is settled when the last of them has."""
    watched = Watched(Options(kinds=frozenset(("created", "deleted"))))
    bottom = watched.chain(NAME, LEVELS)
    watched.start()
    for number in range(100):
        watched.tree.mkdir(b"%s/%d" % (bottom, number), 0o755)
    while len(watched.inotify):
        watched.reconciler.feed(
            watched.inotify.read((1 << 20) // reads), watched.port.monotonic(), watched.tree.now
        )
    watched.reconciler.settle()
    told: set[bytes | None] = set()
    assert watched.reconciler.adopting
    while watched.reconciler.adopting:
        batch = watched.reconciler.close_batch(backlog=True)
        watched.index.apply(batch.writes)
        told |= {item.path for item in batch.items}
    assert len(told) == 100
