"""What Apache Kafka itself does to those who publish."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import pytest

from tests.broker_faults.behind import Run
from tests.brokers import KafkaBroker
from tests.conftest import BrokerFactory
from tests.sinks.kafka_harness import KafkaHarness

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]


@pytest.fixture(params=["kafka-python", "confluent"])
def harness(request: pytest.FixtureRequest, kafka: KafkaBroker) -> Iterator[KafkaHarness]:
    with contextlib.closing(KafkaHarness(kafka, request.param)) as made:
        yield made


def test_stopped(harness: KafkaHarness) -> None:
    """A broker that is stopped in order and started again gets everything."""
    run = Run(harness, harness.make(delivery_timeout="2s"))
    run.over(harness.broker.stop, lambda: run.watcher.errors, harness.start_broker)
    assert run.watcher.connections > 1


def test_topic_deleted(harness: KafkaHarness) -> None:
    """A topic that is deleted and made again under a running relay gets everything from there on."""
    run = Run(harness, harness.make(delivery_timeout="2s"))
    run.over(harness.delete_topic, lambda: run.told("does not exist"), harness.create_topic, takes_along=True)
    assert "not_found" in run.watcher.errors


def test_too_few_replicas(own_kafka: BrokerFactory[KafkaBroker]) -> None:
    """While fewer replicas are in sync than the topic asks for nothing is accepted, and nothing is lost."""
    first = own_kafka()
    second = own_kafka(joins=first)
    for client in ("kafka-python", "confluent"):
        harness = KafkaHarness(first, client, topic_config={"min.insync.replicas": "2"}, replicas=2)
        with contextlib.closing(harness):
            run = Run(harness, harness.make(delivery_timeout="3s"))
            # librdkafka tries again by itself, and has only its own time-out to tell of in the end.
            words = "min.insync.replicas" if client == "kafka-python" else "timed out"
            run.over(second.kill, partial(run.told, words), second.start)
            assert run.watcher.retries
