"""The end of a partition as confluent-kafka reads it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from inotify_bridge.errors import SinkUnavailable
from inotify_bridge.sinks.kafka_tail import ANSWER_SECONDS, MOST_BYTES, Kept

_LOOK_SECONDS: Final = 0.1  # how soon `closed` is noticed


class ConfluentTail:
    """
    See `inotify_bridge.sinks.kafka_tail.Tail`. Whatever goes wrong is an exception.

    Args:
        settings: for the connection.
        topic, partition: what is read.
        closed: set when the sink is closed, to stop waiting.
        logger: takes what librdkafka says.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        topic: str,
        partition: int,
        closed: threading.Event,
        logger: logging.Logger,
    ) -> None:
        self._deadline = time.monotonic() + ANSWER_SECONDS
        self._topic, self._partition = topic, partition
        self._closed = closed
        reading = {
            **settings,
            # What ends this look is no news for the session.
            "error_cb": lambda error: None,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "allow.auto.create.topics": False,
            "isolation.level": "read_uncommitted",
            "fetch.message.max.bytes": MOST_BYTES,
            "queued.max.messages.kbytes": 2 * MOST_BYTES // 1024,
        }
        self._consumer = Consumer(reading, logger=logger)

    def bounds(self) -> tuple[int, int]:
        partition = TopicPartition(self._topic, self._partition)
        found = self._consumer.get_watermark_offsets(partition, self._left(), cached=False)
        if found is None:
            raise SinkUnavailable(f"Kafka does not tell where topic '{self._topic}' ends")
        return found

    def records(self, start: int, end: int) -> Iterator[Kept]:
        self._consumer.assign([TopicPartition(self._topic, self._partition, start)])
        offset = start
        while offset < end:
            message = self._consumer.poll(min(self._left(), _LOOK_SECONDS))
            if message is None:
                continue
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    return
                raise KafkaException(error)
            place = message.offset()
            assert place is not None
            if place < end:
                yield Kept(_bytes(message.value()), _headers(message.headers()))
            offset = place + 1

    def close(self) -> None:
        """End its threads."""
        self._consumer.close()

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0 or self._closed.is_set():
            raise TimeoutError
        return left


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _headers(headers: Any) -> list[tuple[str, bytes | None]]:
    return list(headers or ())
