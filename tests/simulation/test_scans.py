"""A scan goes on in slices, and the tree does not wait for it."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from inotify_bridge.capture.change import Notice
from inotify_bridge.capture.reconciler import Options
from tests.simulation.watched import Watched


@pytest.mark.parametrize("slices", range(10))
@pytest.mark.parametrize(("one", "other"), [(b"a", b"z"), (b"z", b"a")])
def test_a_directory_moved_while_all_is_compared_is_compared_too(
    slices: int, one: bytes, other: bytes
) -> None:
    """
    A resync finds what nothing told, also in a directory that moves meanwhile to where it has been already.
    """
    watched = Watched(batch_bytes=1)
    for path in (b"a", b"z", one + b"/b", one + b"/b/c", one + b"/b/c/gone"):
        watched.tree.mkdir(b"r/" + path, 0o755)
    watched.start()
    watched.tree.rmdir(b"r/" + one + b"/b/c/gone")
    for path in (b"new", one + b"/new", other + b"/new"):  # each is the end of a slice
        watched.tree.mkdir(b"r/" + path, 0o755)
    watched.inotify.read(1 << 20)  # nobody is told of all that
    watched.reconciler.resync("requested")
    for _ in range(slices):
        watched.close()
    watched.tree.rename(b"r/" + one + b"/b", b"r/" + other + b"/b")
    for _ in watched.batches():
        pass
    there = {b"a", b"z", b"new", b"a/new", b"z/new", other + b"/b", other + b"/b/c"}
    assert set(watched.fold.entries()) == there


@pytest.mark.parametrize("late", [False, True])
def test_a_directory_that_leaves_one_out_of_reach_is_compared_too(
    late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A directory could not be listed when all was compared. What moves out from below it is not forgotten, also
    where something moved out of that before.
    """
    watched = Watched()
    for path in (b"a", b"a/b", b"a/b/c", b"a/b/c/d"):
        watched.tree.mkdir(b"r/" + path, 0o755)
    watched.start()
    for path in (b"a/b/new", b"a/b/c/d/new"):
        watched.tree.mkdir(b"r/" + path, 0o755)
    watched.inotify.read(1 << 20)  # nobody is told of that
    names = watched.port.names

    def no_descriptors(handle: Any) -> Any:
        if not watched.fold.entries().keys() - {b"a", b"a/b", b"a/b/c", b"a/b/c/d"}:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return names(handle)

    monkeypatch.setattr(watched.port, "names", no_descriptors)
    watched.reconciler.resync("requested", b"a")
    for _ in watched.batches():
        pass
    monkeypatch.undo()
    assert watched.reconciler.uncovered_count, "it could not be listed"
    if late:
        watched.tree.rename(b"r/a/b/c", b"r/c")
    watched.tree.rename(b"r/a/b", b"r/b")
    for _ in watched.batches():
        pass
    moved = {b"c", b"c/d", b"c/d/new"} if late else {b"b/c", b"b/c/d", b"b/c/d/new"}
    assert set(watched.fold.entries()) == {b"a", b"b", b"b/new"} | moved


def test_a_watch_is_not_taken_for_that_of_another_directory() -> None:
    """
    A directory made again got the inode's number of one that was watched, while nobody could read it: when
    somebody can, it is watched, and what is made there is told.
    """
    watched = Watched(Options(poll_interval=1.0))
    watched.tree.mkdir(b"r/a", 0o755)
    watched.start()
    inode = watched.tree.find(b"r/a").inode.number
    watched.tree.rmdir(b"r/a")
    watched.tree.mkdir(b"r/a", 0o000)
    watched.tree.find(b"r/a").inode.number = inode  # as ext4 gives it again
    watched.inotify.read(1 << 20)  # nobody is told of that
    watched.reconciler.resync("requested")
    for _ in watched.batches():
        pass
    assert watched.reconciler.uncovered_count, "it cannot be read"
    watched.tree.chmod(b"r/a", 0o755)
    watched.settle_after(2, times=3)
    assert not watched.reconciler.uncovered_count
    watched.tree.mkdir(b"r/a/new", 0o755)
    for _ in watched.batches():
        pass
    assert set(watched.fold.entries()) == {b"a", b"a/new"}


def test_a_loss_is_repaired_for_a_barrier() -> None:
    """
    An overflow during a resync, and another resync is asked for: what it lost is repaired by one more, and at
    once where a barrier waits for it; until then nothing is called consistent.
    """
    watched = Watched()
    watched.chain(b"d", 100)
    watched.start()
    watched.reconciler.resync("requested")
    watched.inotify.queue_max = 1
    for name in (b"a", b"b"):
        watched.tree.mkdir(b"r/" + name, 0o755)
    watched.reconciler.feed(watched.inotify.read(1 << 20), watched.port.monotonic(), watched.tree.now)
    watched.reconciler.resync("requested")
    watched.reconciler.settle()
    reasons = []
    while watched.reconciler.adopting:
        assert not watched.reconciler.consistent
        told = [item for item in watched.close().items if isinstance(item, Notice)]
        reasons += [notice.data["reason"] for notice in told if notice.kind == "resync_completed"]
        watched.reconciler.tick()
    assert reasons == ["requested", "overflow"]
    assert set(watched.fold.entries()) >= {b"a", b"b"}
    assert watched.reconciler.consistent


def test_what_came_in_does_not_keep_a_comparison_waiting() -> None:
    """More directories to adopt than a slice can list: a resync that runs goes on in the same batch."""
    watched = Watched()
    watched.start()
    watched.tree.mkdir(b"o/d", 0o755)
    for number in range(3_000):
        watched.tree.mkdir(b"o/d/%d" % number, 0o755)
    watched.tree.rename(b"o/d", b"r/d")
    watched.reconciler.feed(watched.inotify.read(1 << 20), watched.port.monotonic(), watched.tree.now)
    watched.close()
    assert watched.reconciler.adopting
    watched.reconciler.resync("requested")
    watched.close()
    assert watched.reconciler.adopting
    assert watched.reconciler._resyncs.scan.entries > 0


@pytest.mark.parametrize("told", [True, False])
def test_a_root_made_again_beyond_the_limit_of_watches_is_polled(told: bool) -> None:
    """
    A root is removed and made again with the same inode's number, and there is no watch left for it: it is
    polled, and what is made there is told, also where the end of its watch was not.
    """
    watched = Watched(Options(poll_interval=1.0), watches=1)
    watched.start()
    inode = watched.tree.find(b"r").inode.number
    watched.tree.rmdir(b"r")
    watched.inotify.limit = 0
    watched.tree.mkdir(b"r", 0o755)
    watched.tree.find(b"r").inode.number = inode  # as ext4 gives it again
    if not told:
        watched.inotify.read(1 << 20)
    watched.settle_after(3, times=2)
    assert watched.reconciler.uncovered_count == 1
    watched.tree.mkdir(b"r/new", 0o755)
    watched.settle_after(3, times=2)
    assert set(watched.fold.entries()) == {b"new"}
