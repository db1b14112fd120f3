"""Starting while the brokers are away."""

from __future__ import annotations

import pytest

from tests.agent.conftest import Launch
from tests.agent.places import KafkaPlace, RabbitmqPlace
from tests.agent.process import DRAINING
from tests.agent.trees import Trees
from tests.waiting import eventually

AFTER_OUTAGE_SECONDS = 90.0


@pytest.mark.rabbitmq
@pytest.mark.kafka
@pytest.mark.timeout(400)
def test_brokers_away_at_the_start(
    rabbitmq_place: RabbitmqPlace, kafka_place: KafkaPlace, trees: Trees, launch: Launch
) -> None:
    """With its brokers away the agent is ready and says what is wrong; when they come, everything arrives."""
    places = {"orders": rabbitmq_place, "lake": kafka_place}
    for place in places.values():
        place.stop_broker()
    trees.files("before", 10)
    agent = launch([rabbitmq_place.sink("orders"), kafka_place.sink("lake")], **DRAINING).start()
    trees.storm("storm", 1_000)
    for name, place in places.items():
        error = eventually(lambda name=name: agent.sink(name)["last_error"], what=f"{name} says why")  # type: ignore[misc]
        assert place.broker.address in error
        assert any(problem.startswith(f"sink {name}: ") for problem in agent.group()["problems"])
        assert not agent.sink(name)["connected"]
    assert agent.get("/readyz")[0] == agent.get("/livez")[0] == 200
    for place in places.values():
        place.broker.start()
    for name in places:
        eventually(
            lambda name=name: agent.sink(name)["connected"] and agent.delivered(name),  # type: ignore[misc]
            within=AFTER_OUTAGE_SECONDS,
            what=f"{name} has everything",
        )
    eventually(lambda: agent.group()["problems"] == [], what="nothing is wrong any more")
    agent.stop()
    for place in places.values():
        place.consumed().assert_true(trees.root)
