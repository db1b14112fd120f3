"""
A consumer that shares nothing with the agent: reads one queue or one topic and writes down what comes.

    python -m tests.agent.consumer rabbitmq --url amqp://… --queue NAME --out FILE
    python -m tests.agent.consumer kafka --bootstrap HOST:PORT --topic NAME --out FILE

Each line is the time of receipt in Unix nanoseconds, a blank, and the message. It ends after the last
``stream.stopped`` that it was told to wait for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click
import pika
from confluent_kafka import Consumer, TopicPartition

STOPPED = b'.stream.stopped.v1"'
_PREFETCH = 5000
_QUEUE_SECONDS = 120.0


def of_rabbitmq(url: str, queue: str) -> Iterator[bytes]:
    """Every message of a queue, for ever; waits for the queue to be made."""
    deadline = time.monotonic() + _QUEUE_SECONDS
    begun = False
    while True:
        connection = pika.BlockingConnection(pika.URLParameters(url))
        try:
            for body in _consumed(connection.channel(), queue):
                begun = True
                yield body
        except (pika.exceptions.ChannelClosedByBroker, pika.exceptions.ConnectionClosedByBroker):
            # There is no such queue; while it is being made RabbitMQ 3.10 may also say INTERNAL_ERROR.
            if begun or time.monotonic() > deadline:
                raise
        if connection.is_open:
            connection.close()
        time.sleep(0.05)


def _consumed(channel: Any, queue: str) -> Iterator[bytes]:
    channel.queue_declare(queue, passive=True)
    channel.basic_qos(prefetch_count=_PREFETCH)
    unacked = 0
    for method, _, body in channel.consume(queue):
        yield body
        unacked += 1
        # A consumer that is ended early leaves in the queue at most what it has not acknowledged.
        if unacked >= _PREFETCH // 10 or STOPPED in body:
            channel.basic_ack(method.delivery_tag, multiple=True)
            unacked = 0


def of_kafka(bootstrap: str, topic: str) -> Iterator[bytes]:
    """Every message of the first partition from its beginning, for ever; an outage is waited out."""
    settings = {"bootstrap.servers": bootstrap, "group.id": topic, "enable.auto.commit": False}
    consumer = Consumer({**settings, "log_level": 0, "fetch.wait.max.ms": 10})
    consumer.assign([TopicPartition(topic, 0, 0)])
    while True:
        message = consumer.poll(1.0)  # one by one: a list is only given when it is full or the time is over
        value = None if message is None or message.error() is not None else message.value()
        if value is not None:
            yield value


def write_down(messages: Iterator[bytes], out: IO[bytes], stops: int) -> None:
    """Write until so many ``stream.stopped`` have come."""
    for message in messages:
        out.write(b"%d %s\n" % (time.time_ns(), message))
        if STOPPED in message:
            stops -= 1
            if stops <= 0:
                return


@click.command()
@click.argument("broker", type=click.Choice(["rabbitmq", "kafka"]))
@click.option("--url", default="")
@click.option("--queue", default="")
@click.option("--bootstrap", default="")
@click.option("--topic", default="")
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--stops", default=1, help="how many stream.stopped end it")
def main(broker: str, url: str, queue: str, bootstrap: str, topic: str, out: Path, stops: int) -> None:
    """Write down what comes."""
    source = of_rabbitmq(url, queue) if broker == "rabbitmq" else of_kafka(bootstrap, topic)
    # Every line at once: who watches the file sees what has come.
    with out.open("wb", buffering=0) as file:
        write_down(source, file, stops)


if __name__ == "__main__":
    main()
