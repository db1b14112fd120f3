"""Directories that cannot be watched are polled: that must not be a way to keep the agent busy."""

from __future__ import annotations

from inotify_bridge.capture.reconciler import Options
from tests.simulation.watched import Watched

LEVELS = 40


def test_a_poll_of_a_deep_tree_lists_each_directory_once() -> None:
    """
    A deep tree of which nothing is watched: a poll lists each directory once, not once for each above it.
    """
    watched = Watched(Options(poll_interval=1.0), watches=1)
    watched.chain(b"d", LEVELS)
    watched.start()
    assert watched.reconciler.uncovered_count == LEVELS
    watched.calls.clear()
    polls = 0
    while polls < 3:
        before = watched.calls["open_below"]
        watched.tree.now += 100_000_000
        watched.reconciler.tick()
        for _ in watched.batches():
            pass
        polls += watched.calls["open_below"] > before
    assert LEVELS * polls <= watched.calls["open_below"] < (LEVELS + 10) * polls
