"""
Hold a replica of a tree from RabbitMQ: python consumer_rabbitmq.py URL QUEUE

A message is acknowledged when it was applied. The replica lives in memory, so a restarted consumer needs
a new snapshot: restart the agent, where it has no state directory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pika
from consumer_replica import Received, consume


def messages(url: str, queue: str) -> Iterator[Received]:
    """What comes, for ever."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1000)
        for method, properties, body in channel.consume(queue):
            yield body, properties.headers or {}
            channel.basic_ack(method.delivery_tag)


if __name__ == "__main__":
    try:
        consume(messages(*sys.argv[1:3]), {})
    except KeyboardInterrupt:
        sys.exit(0)
