"""When the model is behind, and when it is wrong."""

from __future__ import annotations

from inotify_bridge.capture.change import Notice
from tests.simulation.watched import Watched


def test_a_directory_out_of_reach_waits_for_its_records() -> None:
    """However long the backlog is that explains it, a directory that was renamed is not given up."""
    watched = Watched()
    watched.chain(b"a", 3)
    watched.start()
    watched.tree.rename(b"r/a", b"r/b")
    late = watched.inotify.read(1 << 20)
    watched.tree.chmod(b"r/b/a/a", 0o700)  # its record is about a path that leads nowhere yet
    watched.reconciler.feed(watched.inotify.read(1 << 20), watched.port.monotonic(), watched.tree.now)
    told = []
    for backlog in (False, False, *[True] * 100, False):
        watched.tree.now += 60_000_000
        told.extend(watched.reconciler.close_batch(backlog).items)
        assert not watched.reconciler.settled, "it is in doubt"
    watched.reconciler.feed(late, watched.port.monotonic(), watched.tree.now)
    for batch in watched.batches():
        told.extend(batch.items)
    assert not any(isinstance(item, Notice) for item in told)
    assert {item.kind for item in told} == {"moved", "attributes_changed"}
