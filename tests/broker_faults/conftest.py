"""Sinks that reach their brokers by way of a proxy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.agent.conftest import launch, scratch, trees
from tests.broker_faults.behind import Behind
from tests.brokers import KafkaBroker, RabbitmqBroker
from tests.brokers.ports import free_port
from tests.brokers.proxy import Proxy
from tests.sinks.kafka_harness import KafkaHarness
from tests.sinks.rabbitmq_harness import RabbitmqHarness

__all__ = ["launch", "scratch", "trees"]  # the fixtures


@pytest.fixture(scope="session")
def proxied_kafka() -> Iterator[tuple[KafkaBroker, int]]:
    """An Apache Kafka that sends its clients to another port, and that port."""
    if missing := KafkaBroker.missing():
        pytest.skip(missing)
    port = free_port()
    with KafkaBroker(advertised=port) as broker:
        yield broker, port


@pytest.fixture(
    params=[
        pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
        pytest.param("kafka-python", marks=pytest.mark.kafka),
        pytest.param("confluent", marks=pytest.mark.kafka),
    ]
)
def behind(request: pytest.FixtureRequest) -> Iterator[Behind]:
    """Every broker and every client in turn, behind a proxy of the test's own."""
    with contextlib.ExitStack() as stack:
        if request.param == "rabbitmq":
            yield _rabbitmq(stack, request.getfixturevalue("rabbitmq"))
        else:
            yield _kafka(stack, request.param, *request.getfixturevalue("proxied_kafka"))


def _rabbitmq(stack: contextlib.ExitStack, broker: RabbitmqBroker) -> Behind:
    harness = stack.enter_context(contextlib.closing(RabbitmqHarness(broker)))
    proxy = stack.enter_context(contextlib.closing(Proxy(broker.port)))
    options = {
        "url": broker.url.replace(broker.address, f"127.0.0.1:{proxy.port}"),
        "connect_timeout": "2s",
        "confirm_timeout": "2s",
    }
    return Behind(harness, proxy, options)


def _kafka(stack: contextlib.ExitStack, client: str, broker: KafkaBroker, port: int) -> Behind:
    broker.start()
    harness = stack.enter_context(contextlib.closing(KafkaHarness(broker, client)))
    proxy = stack.enter_context(contextlib.closing(Proxy(broker.port, port=port)))
    options = {
        "bootstrap_servers": [f"127.0.0.1:{port}"],
        "connect_timeout": "2s",
        "delivery_timeout": "2s",
    }
    return Behind(harness, proxy, options)
