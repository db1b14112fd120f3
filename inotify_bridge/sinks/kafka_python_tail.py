"""The end of a partition as kafka-python's protocol layer reads it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from kafka.errors import for_code
from kafka.protocol.consumer import FetchRequest
from kafka.record import MemoryRecords

from inotify_bridge.sinks.kafka_connection import Connection
from inotify_bridge.sinks.kafka_errors import broker_error
from inotify_bridge.sinks.kafka_tail import MOST_BYTES, Kept
from inotify_bridge.sinks.kafka_topic import EARLIEST, LATEST, offset_request


class PythonTail:
    """
    See `inotify_bridge.sinks.kafka_tail.Tail`. Whatever goes wrong is an exception.

    Args:
        connection: to the partition's leader; nothing else waits for answers on it.
        topic, partition: what is read.
        deadline: of the monotonic clock, seconds.
    """

    def __init__(self, connection: Connection, topic: str, partition: int, deadline: float) -> None:
        self._connection = connection
        self._topic, self._partition = topic, partition
        self._deadline = deadline

    def bounds(self) -> tuple[int, int]:
        return self._offset(EARLIEST), self._offset(LATEST)

    def records(self, start: int, end: int) -> Iterator[Kept]:
        offset = start
        while offset < end:
            before = offset
            for batch in self._fetch(offset):
                if not batch.is_control_batch:
                    yield from self._kept(batch, start)
                offset = batch.next_offset
            if offset == before:
                return

    def _kept(self, batch: Any, start: int) -> Iterator[Kept]:
        """The records of a batch, which may begin before the offset that was asked for."""
        for record in batch:
            if record.offset >= start:
                yield Kept(record.value, record.headers)

    def _offset(self, which: int) -> int:
        answer = self._call(offset_request(self._topic, self._partition, which))
        offset: int = self._checked(answer.topics[0].partitions[0]).offset
        return offset

    def _fetch(self, offset: int) -> Iterator[Any]:
        """The batches from the one with this offset on, as they come in one answer."""
        topic = FetchRequest.FetchTopic
        asked = topic.FetchPartition(
            partition=self._partition,
            current_leader_epoch=-1,
            fetch_offset=offset,
            log_start_offset=-1,
            partition_max_bytes=MOST_BYTES,
        )
        answer = self._call(
            FetchRequest(
                replica_id=-1,
                max_wait_ms=0,
                min_bytes=0,
                max_bytes=MOST_BYTES,
                isolation_level=0,
                session_id=0,
                session_epoch=-1,
                topics=[topic(topic=self._topic, partitions=[asked])],
                forgotten_topics_data=[],
                rack_id="",
                min_version=4,
                max_version=11,
            )
        )
        found = self._checked(answer.responses[0].partitions[0])
        return iter(MemoryRecords(found.records or b""))

    def _call(self, request: Any) -> Any:
        return self._connection.call(request, self._deadline - time.monotonic())

    def _checked(self, answer: Any) -> Any:
        if answer.error_code:
            raise broker_error(answer.error_code, for_code(answer.error_code).__name__, self._topic)
        return answer
