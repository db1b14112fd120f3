"""A storm of changes on a real directory, consumed from a real broker by another process."""

from __future__ import annotations

import pytest

from tests.agent.conftest import Launch
from tests.agent.places import Place
from tests.agent.trees import Trees
from tests.waiting import eventually

OPERATIONS = 50_000
EVENTS = 10_000
"""That so many operations make at least; fewer where the agent lags, because old news is no news."""


@pytest.mark.timeout(240)
def test_replay_equals_the_disk(place: Place, trees: Trees, launch: Launch) -> None:
    """Snapshot, storm and audits arrive in order, dense, once; folded they are the disk, by every digest."""
    trees.storm("before", OPERATIONS // 50, seed=7)
    agent = launch([place.sink()], group={"resync_interval": "2s"}).start()
    with place.consuming() as consuming:
        trees.storm("after", OPERATIONS)
        agent.stop()
        arrivals = consuming.finished()
    assert len(arrivals.all) > EVENTS
    assert arrivals.repeats == 0
    arrivals.assert_true(trees.root)


@pytest.mark.timeout(240)
def test_outage_in_the_middle(place: Place, trees: Trees, launch: Launch) -> None:
    """A broker that was away in the middle of a storm misses nothing; repeats are go-back-N."""
    agent = launch([place.sink()]).start()
    with trees.storming("storm", rate=2_000):
        eventually(lambda: agent.sink("sink")["acked_sequence"] > 100, what="the first confirmations")
        place.stop_broker()
        eventually(lambda: agent.sink("sink")["last_error"], within=60, what="the sink feels the outage")
        place.broker.start()
        eventually(
            lambda: agent.sink("sink")["connected"], within=90, what="the sink is connected again", poll=0.1
        )
    assert agent.metric("sink_errors_total", sink="sink") > 0
    assert agent.metric("sink_connects_total", sink="sink") > 1
    agent.stop()
    arrivals = place.consumed()
    arrivals.assert_true(trees.root)
