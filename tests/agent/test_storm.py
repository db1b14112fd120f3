"""A storm of changes on a real directory, consumed from a real broker by another process."""

from __future__ import annotations

from functools import partial

import pytest

from tests.agent.conftest import Launch
from tests.agent.places import Place
from tests.agent.process import DRAINING
from tests.agent.trees import Trees
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(400)

EVENTS = 10_000
"""What a storm goes on for, and until an audit has begun in it."""


def test_replay_equals_the_disk(place: Place, trees: Trees, launch: Launch) -> None:
    """Snapshot, storm and audits arrive in order, dense, once; folded they are the disk, by every digest."""
    trees.storm("before", 1_000, seed=7)
    agent = launch([place.sink()], group={"resync_interval": "2s"}, **DRAINING).start()
    with place.consuming() as consuming:
        with trees.storming("after"):
            eventually(lambda: agent.group()["sequence"] > EVENTS, within=120, what="many events", poll=0.1)
            audits = partial(agent.metric, "resyncs_total", reason="audit")
            eventually(audits, within=60, what="an audit")
        begun = audits()
        eventually(lambda: audits() > begun, within=90, what="the next: the last of the storm has ended")
        agent.stop()
        arrivals = consuming.finished()
    assert len(arrivals.all) > EVENTS
    assert arrivals.repeats == 0
    arrivals.assert_true(trees.root, digests=2)


def test_outage_in_the_middle(place: Place, trees: Trees, launch: Launch) -> None:
    """A broker that was away in the middle of a storm misses nothing; repeats are go-back-N."""
    agent = launch([place.sink()], **DRAINING).start()
    with trees.storming("storm", rate=500):
        eventually(lambda: agent.sink("sink")["acked_sequence"] > 100, what="the first confirmations")
        place.stop_broker()
        eventually(
            lambda: agent.sink("sink")["last_error"] and not agent.sink("sink")["connected"],
            within=60,
            what="the sink feels the outage",
        )
        place.broker.start()
        eventually(
            lambda: agent.sink("sink")["connected"], within=90, what="the sink is connected again", poll=0.1
        )
    assert agent.metric("sink_errors_total", sink="sink") > 0
    assert agent.metric("sink_connects_total", sink="sink") > 1
    eventually(lambda: agent.delivered("sink"), within=90, what="everything is delivered")
    agent.stop()
    arrivals = place.consumed()
    arrivals.assert_true(trees.root)
