"""What RabbitMQ itself does to those who publish."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.broker_faults.behind import Run
from tests.brokers import RabbitmqBroker
from tests.sinks.rabbitmq_harness import RabbitmqHarness, plain_channel
from tests.waiting import eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(600)]


@pytest.fixture
def harness(rabbitmq: RabbitmqBroker) -> Iterator[RabbitmqHarness]:
    with contextlib.closing(RabbitmqHarness(rabbitmq)) as made:
        yield made


def test_stopped(harness: RabbitmqHarness) -> None:
    """A broker that is stopped in order and started again gets everything."""
    run = Run(harness, harness.make())
    run.over(harness.stop_broker, lambda: run.watcher.errors, harness.start_broker)
    assert run.watcher.connections > 1


def test_killed(harness: RabbitmqHarness) -> None:
    """A broker that crashes and comes back has what it confirmed, and gets the rest."""
    # RabbitMQ 3.10 writes the directory of quorum queues to disk only minutes after their declaration; a
    # durable queue of the classic kind is there at once.
    with plain_channel(harness.broker.url) as channel:
        channel.exchange_declare(harness.name, "topic", durable=True)
        channel.queue_declare(harness.name, durable=True)
        channel.queue_bind(harness.name, harness.name, "#")
    run = Run(harness, harness.make(queue=None))
    run.over(harness.broker.kill, lambda: run.watcher.errors, harness.start_broker)
    assert run.watcher.connections > 1


def test_memory_alarm(harness: RabbitmqHarness) -> None:
    """While its memory alarm blocks publishers nothing is lost, and the status says what is the matter."""
    run = Run(harness, harness.make(blocked_connection_timeout="1s"))
    run.over(
        lambda: watermark(harness.broker, "0.00001"),
        lambda: run.told("publishers blocked"),
        lambda: watermark(harness.broker, "0.4"),
    )
    assert "timeout" in run.watcher.errors


def test_full_queue(harness: RabbitmqHarness) -> None:
    """A queue that is full and rejects what is published gets everything when somebody consumes."""
    run = Run(harness, harness.make())

    def limit(length: int) -> None:
        policy = f'{{"max-length": {length}, "overflow": "reject-publish"}}'
        harness.broker.ctl("set_policy", harness.name, f"^{harness.name}$", policy)

    def make_room() -> None:
        limit(1_000_000)
        run.drain()

    try:
        run.over(lambda: limit(500), lambda: run.told("queue full"), make_room)
    finally:
        harness.broker.ctl("clear_policy", harness.name)
    # It may connect anew meanwhile, as to everybody who refuses for long; it never lost its connection.
    assert set(run.watcher.errors) == {"nacked"}


def test_queue_deleted(harness: RabbitmqHarness) -> None:
    """A queue that the sink has declared, deleted while it runs, is declared again; nothing new is lost."""
    run = Run(harness, harness.make())

    def delete() -> None:
        # The answer to a deletion counts only what is told within a quarter of a second.
        eventually(lambda: harness.waiting_in_queue() > 0, what="messages in the queue")
        with plain_channel(harness.broker.url) as channel:
            channel.queue_delete(harness.name)

    run.over(delete, lambda: run.watcher.errors, lambda: None, takes_along=True)
    assert "unroutable" in run.watcher.errors
    assert run.watcher.connections == 1


def watermark(broker: RabbitmqBroker, share: str) -> None:
    """From which share of the memory on publishers are blocked."""
    broker.ctl("set_vm_memory_high_watermark", share)
