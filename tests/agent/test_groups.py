"""Groups and sinks beside each other."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.agent.conftest import Launch
from tests.agent.places import KafkaPlace, RabbitmqPlace
from tests.agent.process import DRAINING
from tests.agent.trees import Trees
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(400)

SMALL: dict[str, Any] = {"state": {"max_bytes": "1MiB"}, "capture": {"queue_max_bytes": "64KiB"}, **DRAINING}
"""A journal of some 2,000 events, and about as many waiting before it."""

FILES = 40_000
"""Twice as many records: more than journal, inbox and a kernel queue of 16,384 take together."""


@pytest.mark.rabbitmq
@pytest.mark.kafka
def test_two_groups_with_two_sinks(
    rabbitmq_place: RabbitmqPlace, kafka_place: KafkaPlace, trees: Trees, launch: Launch
) -> None:
    """Two groups share two sinks: each pair carries its group's whole stream, numbered on its own."""
    sinks = [rabbitmq_place.sink("orders"), kafka_place.sink("lake")]
    groups = [
        {"name": name, "paths": [os.fspath(path)], "sinks": ["orders", "lake"]}
        for name, path in (("one", trees.root), ("two", trees.outside))
    ]
    agent = launch(sinks, watch_groups=groups, **DRAINING).start()
    trees.storm("storm", 2_000)
    agent.stop()
    for place in (rabbitmq_place, kafka_place):
        arrivals = place.consumed(stops=2)
        assert arrivals.repeats == 0
        for group, root in (("one", trees.root), ("two", trees.outside)):
            arrivals.of(group).assert_true(root)


@pytest.mark.rabbitmq
@pytest.mark.kafka
def test_dead_sink_beside_a_healthy_one(
    rabbitmq_place: RabbitmqPlace, kafka_place: KafkaPlace, trees: Trees, launch: Launch
) -> None:
    """
    A sink whose broker hangs does not hold up its neighbour, until the journal is full: then the group is
    blocked and says so, and recovers without a difference when the broker answers again.
    """
    agent = launch([rabbitmq_place.sink("orders"), kafka_place.sink("lake")], **SMALL).start()
    for sink in ("orders", "lake"):
        eventually(lambda sink=sink: agent.sink(sink)["connected"], what=f"{sink} is connected")  # type: ignore[misc]
    rabbitmq_place.broker.freeze()
    with kafka_place.consuming() as consuming:
        some = set(trees.files("some", 100))
        eventually(
            lambda: some <= set(consuming.seen().paths("file.written")),
            within=90,
            what="the healthy sink gets them",
        )
        assert agent.group()["state"] == "running"
        trees.files("many", FILES)
        eventually(lambda: agent.group()["state"] == "blocked", what="the group is blocked")
        eventually(lambda: agent.metric("outbox_blocked", watch_group="g") == 1, what="the metric says so")
        assert agent.group()["outbox"]["blocked"]
        assert any("full" in problem for problem in agent.group()["problems"])
        assert agent.get("/livez")[0] == agent.get("/readyz")[0] == 200
        rabbitmq_place.broker.thaw()
        eventually(
            lambda: agent.metric("resyncs_total", watch_group="g", reason="overflow") > 0,
            within=90,
            what="a resync",
        )
        eventually(
            lambda: agent.group()["state"] == "running" and agent.group()["consistent"],
            within=90,
            what="the group runs again",
        )
        for sink in ("orders", "lake"):
            eventually(lambda sink=sink: agent.delivered(sink), within=90, what=f"{sink} has everything")  # type: ignore[misc]
        agent.stop()
        healthy = consuming.finished()
    assert healthy.repeats == 0
    healthy.assert_true(trees.root, digests=2)
    rabbitmq_place.consumed().assert_true(trees.root, digests=2)


@pytest.mark.rabbitmq
@pytest.mark.kafka
def test_blocking_sink_is_named(
    rabbitmq_place: RabbitmqPlace, kafka_place: KafkaPlace, trees: Trees, launch: Launch
) -> None:
    """While the journal is full, ``outbox_blocking_sink`` is 1 for the sink that fills it, and no other."""
    agent = launch([rabbitmq_place.sink("orders"), kafka_place.sink("lake")], **SMALL).start()
    for sink in ("orders", "lake"):
        eventually(lambda sink=sink: agent.sink(sink)["connected"], what=f"{sink} is connected")  # type: ignore[misc]
    rabbitmq_place.broker.freeze()
    trees.files("many", FILES // 8)
    eventually(lambda: agent.group()["state"] == "blocked", what="the group is blocked")
    eventually(lambda: agent.delivered("lake"), what="the healthy sink has everything")
    # Until it is noted how far the healthy one has come, both are where they were when the room ended.
    eventually(lambda: agent.metric("outbox_blocking_sink", sink="lake") == 0, what="the healthy one is not")
    assert agent.metric("outbox_blocking_sink", sink="orders") == 1
    rabbitmq_place.broker.thaw()
    eventually(
        lambda: agent.metric("outbox_blocking_sink", sink="orders") == 0, within=90, what="it blocks no more"
    )
    agent.stop()
