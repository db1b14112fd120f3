"""Connections that end while messages are unconfirmed."""

from __future__ import annotations

import contextlib

import pytest

from tests.agent.conftest import Launch
from tests.agent.places import RabbitmqPlace
from tests.agent.process import DRAINING
from tests.agent.trees import Trees
from tests.brokers.proxy import Proxy
from tests.waiting import eventually

UNCONFIRMED = 1_000
FILES = 3_000


@pytest.mark.rabbitmq
@pytest.mark.timeout(400)
def test_unconfirmed_messages_are_sent_again(
    rabbitmq_place: RabbitmqPlace, trees: Trees, launch: Launch
) -> None:
    """After a cut with confirms held back, sending resumes at the lowest unconfirmed, never 1 3 2."""
    broker = rabbitmq_place.broker
    with contextlib.closing(Proxy(broker.port)) as proxy:
        url = broker.url.replace(broker.address, f"127.0.0.1:{proxy.port}")
        # Nothing but the cut ends the connection, however long the broker takes for its part.
        sink = rabbitmq_place.sink(url=url, confirm_timeout="10m", heartbeat="5m")
        agent = launch([sink], **DRAINING).start()
        trees.files("quiet", 10)
        eventually(
            lambda: agent.sink("sink")["acked_sequence"] > 10 and agent.delivered("sink"),
            what="everything is confirmed",
        )
        before = agent.sink("sink")["acked_sequence"]
        proxy.hold_back()
        with agent.paused():  # so that everything is one batch, of which nothing is confirmed
            trees.files("loud", FILES)
        eventually(
            lambda: (
                agent.metric("sink_inflight_events", sink="sink") >= UNCONFIRMED
                and rabbitmq_place.waiting() >= before + UNCONFIRMED
            ),
            within=90,
            what="the broker has many messages whose confirms reached nobody",
        )
        confirmed = agent.sink("sink")["acked_sequence"]
        proxy.heal()
        eventually(lambda: agent.delivered("sink"), within=90, what="everything is confirmed again")
        agent.stop()
    arrivals = rabbitmq_place.consumed()
    numbers = [one.position[1] for one in arrivals.all]
    first_back = next(at for at, number in enumerate(numbers) if at and number <= numbers[at - 1])
    assert arrivals.repeats >= UNCONFIRMED
    assert numbers[first_back] == confirmed + 1
    arrivals.assert_true(trees.root)
