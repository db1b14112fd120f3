"""
Hold a replica of a tree from Kafka: python consumer_kafka.py SERVER TOPIC

It begins at the start of partition 0, which holds the whole stream of a group: epochs that are over are read
past, and a restart needs no snapshot as long as the topic keeps the present epoch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from consumer_replica import Received, consume
from kafka import KafkaConsumer, TopicPartition


def messages(server: str, topic: str) -> Iterator[Received]:
    """What the partition holds, and then what comes, for ever."""
    consumer = KafkaConsumer(bootstrap_servers=server, enable_auto_commit=False)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    for record in consumer:
        yield record.value, record.headers


if __name__ == "__main__":
    try:
        consume(messages(*sys.argv[1:3]), {})
    except KeyboardInterrupt:
        sys.exit(0)
