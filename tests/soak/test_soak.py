"""The campaign of faults in short: some of every cheap fault, on each broker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.brokers import Broker, KafkaBroker, RabbitmqBroker
from tests.soak.broker import Far, KafkaFar, RabbitmqFar
from tests.soak.campaign import Campaign, Outcome, Step, to_stderr

STEPS = (
    Step(True, 300, ["refusing"], ["overflow"]),
    Step(False, 600, ["root_unmounted"], ["connection_reset", "restarted"]),
    # An agent that is killed may not have heard of an overflow: this one need not be in the stream.
    Step(True, 300, ["broker_frozen", "watches_limited"], ["overflow", "killed", "clock_jumped"]),
    Step(True, 600, ["root_mounted_over"], []),
    Step(True, 600, ["state_full"], []),
)
HAPPENED = {
    "SIGKILL",
    "broker: connections reset",
    "broker: frozen",
    "broker: refused",
    "clean restart",
    "overflow",
    "root mounted over",
    "root unmounted",
    "state directory full",
    "state lost",
    "watch limit",
}


def _needs(broker: type[Broker]) -> None:
    if missing := broker.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)


def _campaign(far: Far, above: Path) -> Outcome:
    with far:
        outcome = Campaign(far, 1, above, to_stderr).run_steps(STEPS)
    assert not outcome.wrong, f"{outcome.table()}\nagent's log and stream: {outcome.kept}"
    return outcome


@pytest.mark.namespaces
@pytest.mark.rabbitmq
@pytest.mark.timeout(1200)
def test_campaign_on_rabbitmq(tmp_path: Path) -> None:
    """After every fault the stream becomes what the disk shows: nothing lost, no number twice, no hole."""
    _needs(RabbitmqBroker)
    outcome = _campaign(RabbitmqFar(), tmp_path)
    assert {name for name, count in outcome.happened.items() if count} >= HAPPENED


@pytest.mark.namespaces
@pytest.mark.kafka
@pytest.mark.timeout(1200)
def test_campaign_on_kafka(tmp_path: Path) -> None:
    """The same on Kafka."""
    _needs(KafkaBroker)
    outcome = _campaign(KafkaFar("kafka-python"), tmp_path)
    assert {name for name, count in outcome.happened.items() if count} >= HAPPENED
