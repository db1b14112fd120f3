"""A scan goes on in slices, and the tree does not wait for it."""

from __future__ import annotations

import pytest

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
