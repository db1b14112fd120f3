"""
How many events a second the agent carries from the kernel to a broker, with everything on.

    python -m benchmarks throughput [--files 100000]

The files are made, written, closed and deleted faster than any broker takes it; the clock runs until the last
event is confirmed. The state directory is on the disk of the temporary directory. The peer is the bare client
library in a loop, with messages of the same length that are in its memory already.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benchmarks import files, kafka, limits, rabbitmq
from benchmarks.measured import Usage
from benchmarks.report import machine, table
from inotify_bridge.sinks.base import Message
from tests.agent.places import KafkaPlace, Place, RabbitmqPlace
from tests.agent.process import AgentProcess
from tests.brokers import KafkaBroker, RabbitmqBroker
from tests.sinks.messages import messages
from tests.waiting import eventually

HEADER = ("sender", "events", "overflows", "events/s", "µs CPU/event", "peak MB")
SECONDS = 900.0
BODY_BYTES = 450
PEER_MESSAGES = 60_000

Row = tuple[object, ...]


def agent(name: str, place: Place, count: int) -> Row:
    """The whole agent: a burst, until the last event is confirmed."""
    with (
        files.memory_directory() as directory,
        files.memory_directory() as scratch,
        tempfile.TemporaryDirectory(prefix="inotify-bridge-bench-") as state,
    ):
        group = {"name": "g", "paths": [str(directory)], "sinks": ["sink"]}
        config: dict[str, Any] = {"watch_groups": [group], "sinks": [place.sink()], "state": {"dir": state}}
        with AgentProcess(scratch, config).start() as process:
            eventually(lambda: process.sink("sink")["connected"], what="connected")
            first = process.group()["sequence"]
            before, started = Usage.of(process.pid), time.monotonic()
            files.burst(directory, count)
            eventually(
                lambda: process.sink("sink")["acked_sequence"] >= first + 3 * count,
                within=SECONDS,
                what="everything is confirmed",
                poll=0.1,
            )
            seconds, used = time.monotonic() - started, Usage.of(process.pid).since(before)
            overflows = int(process.metric("kernel_queue_overflows_total"))
            process.stop()
    return name, 3 * count, overflows, 3 * count / seconds, used.cpu / (3 * count) * 1e6, used.peak / 1e6


def bare(name: str, loop: Callable[[], Any], count: int) -> Row:
    """A bare client."""
    figures = loop()
    return name, count, None, figures.rate, figures.cpu, None


def _kafka(count: int, batch: list[Message], scratch: Path) -> list[Row]:
    with KafkaBroker() as broker:
        broker.create_topic(kafka.TOPIC)
        return [
            agent("inotify-bridge to Kafka, confluent", KafkaPlace(broker, scratch, "confluent"), count),
            bare("bare confluent", lambda: kafka.bare_confluent(broker.address, batch), len(batch)),
            agent("inotify-bridge to Kafka, kafka-python", KafkaPlace(broker, scratch), count),
            bare("bare kafka-python", lambda: kafka.bare_kafka_python(broker.address, batch), len(batch)),
        ]


def _rabbitmq(count: int, batch: list[Message], scratch: Path) -> list[Row]:
    with RabbitmqBroker() as broker:
        with rabbitmq.connected(broker.url, "quorum"):
            pass  # makes the exchange and the queue of the bare loop
        return [
            agent("inotify-bridge to RabbitMQ", RabbitmqPlace(broker, scratch), count),
            bare("bare pika, confirms", lambda: rabbitmq.BarePika(broker.url, batch).run(), len(batch)),
        ]


def run(count: int) -> None:
    """All brokers and clients."""
    batch = messages(PEER_MESSAGES, body_bytes=BODY_BYTES)
    with contextlib.ExitStack() as stack:
        stack.enter_context(limits.usual_queue())
        scratch = stack.enter_context(files.memory_directory())
        rows = _kafka(count, batch, scratch) + _rabbitmq(count, batch, scratch)
    table("events to a broker, everything on, state on disk", HEADER, rows)


@click.command("throughput")
@click.option("--files", "count", default=100_000, show_default=True)
def main(count: int) -> None:
    """How many events a second the agent carries from the kernel to a broker."""
    machine()
    run(count)
