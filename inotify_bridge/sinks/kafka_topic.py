"""What a session of the kafka-python client asks before it sends: where the topic's partitions are led."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from kafka.errors import for_code
from kafka.protocol.admin import CreateTopicsRequest
from kafka.protocol.consumer import ListOffsetsRequest
from kafka.protocol.metadata import MetadataRequest
from kafka.protocol.producer import InitProducerIdRequest

from inotify_bridge.errors import SinkUnavailable
from inotify_bridge.sinks.kafka import KafkaOptions, TopicCreation
from inotify_bridge.sinks.kafka_connection import Connection
from inotify_bridge.sinks.kafka_errors import (
    LEADER_NOT_AVAILABLE,
    NOT_LEADER,
    TOPIC_ALREADY_EXISTS,
    TOPIC_AUTHORIZATION_FAILED,
    UNKNOWN_TOPIC,
    broker_error,
)

EARLIEST: Final = -2  # instead of a time, in a question about offsets
LATEST: Final = -1

_LOOK_AGAIN_SECONDS: Final = 0.1
_RIGHT_TO_WRITE: Final = 4  # the numbers in a set of what we are authorized to do with a topic
_RIGHTS_UNKNOWN: Final = 31
_LEADER_STARTS: Final = frozenset({UNKNOWN_TOPIC, LEADER_NOT_AVAILABLE, NOT_LEADER})
_COORDINATOR_STARTS: Final = frozenset({14, 15})  # loading, not available


class Address(NamedTuple):
    """Where a broker says it is."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Layout(NamedTuple):
    """
    Where a topic is.

    Args:
        cluster: its id, or empty.
        leaders: for each partition the broker that takes its records.
        is_new: the topic was made just now.
    """

    cluster: str
    leaders: dict[int, Address]
    is_new: bool


class TopicQuery:
    """
    Questions about one topic, each answered within the time for connecting.

    Args:
        options: of the sink.
        topic: its name.
        closed: set when the sink is closed, to stop waiting.
    """

    def __init__(self, options: KafkaOptions, topic: str, closed: threading.Event) -> None:
        self._options = options
        self._topic = topic
        self._closed = closed

    def layout(self, connection: Connection, connect: Callable[[Address], Connection]) -> Layout:
        """
        Find the leaders; make the topic where it is missing and that is configured.

        Args:
            connection: to any broker.
            connect: opens one to another broker.
        Raises:
            SinkUnavailable: the topic cannot be written.
        """
        answer = self._first_metadata(connection)
        wanted = self._options.create_topic
        is_new = answer.topics[0].error_code == UNKNOWN_TOPIC and bool(wanted)
        if is_new and wanted:
            self._create(self._controller(connection, connect, answer), wanted)
            answer = self._settled(lambda: self._metadata(connection), _is_being_made)
        (topic,) = answer.topics
        if topic.error_code:
            raise self._error(topic.error_code)
        rights = topic.authorized_operations
        if rights and _RIGHTS_UNKNOWN not in rights and _RIGHT_TO_WRITE not in rights:
            raise self._error(TOPIC_AUTHORIZATION_FAILED)
        brokers = {broker.node_id: Address(broker.host, broker.port) for broker in answer.brokers}
        leaders = {one.partition_index: brokers.get(one.leader_id) for one in topic.partitions}
        known = {partition: leader for partition, leader in leaders.items() if leader is not None}
        if len(known) < len(leaders):
            raise self._error(LEADER_NOT_AVAILABLE)
        return Layout(answer.cluster_id or "", known, is_new)

    def await_leader(self, connection: Connection, partition: int) -> None:
        """A leader is known to all a little before it knows of it itself: a question about offsets tells."""
        self._settled(
            lambda: connection.call(
                offset_request(self._topic, partition, LATEST), self._options.connect_timeout
            ),
            lambda answer: answer.topics[0].partitions[0].error_code in _LEADER_STARTS,
        )

    def producer_id(self, connection: Connection) -> tuple[int, int]:
        """A new producer id and its first epoch; a broker that has just started cannot give one at once."""

        def ask() -> Any:
            request = InitProducerIdRequest(
                transactional_id=None, transaction_timeout_ms=60000, max_version=4
            )
            return connection.call(request, self._options.connect_timeout)

        answer = self._settled(ask, lambda answer: answer.error_code in _COORDINATOR_STARTS)
        if answer.error_code:
            raise self._error(answer.error_code)
        return answer.producer_id, answer.producer_epoch

    def _settled(self, ask: Callable[[], Any], is_unsettled: Callable[[Any], bool]) -> Any:
        """Ask until the broker has done what it is about to do, or the time for connecting is over."""
        deadline = time.monotonic() + self._options.connect_timeout
        while is_unsettled(answer := ask()) and time.monotonic() < deadline:
            if self._closed.wait(_LOOK_AGAIN_SECONDS):
                raise SinkUnavailable("the connection to Kafka was closed on our side")
        return answer

    def _first_metadata(self, connection: Connection) -> Any:
        """A listener that wants a password answers questions of version, and closes at the next."""
        try:
            return self._metadata(connection)
        except SinkUnavailable as error:
            hint = "" if error.reason == "timeout" or self._options.sasl else "does this port want sasl?"
            raise SinkUnavailable(error.message, error.hint or hint, error.reason) from error.__cause__

    def _metadata(self, connection: Connection) -> Any:
        # Unless told otherwise, a broker makes the topic that it is asked about.
        request = MetadataRequest(
            topics=[MetadataRequest.MetadataRequestTopic(name=self._topic)],
            allow_auto_topic_creation=False,
            include_topic_authorized_operations=True,
            min_version=4,
            max_version=12,
        )
        return connection.call(request, self._options.connect_timeout)

    def _controller(
        self, connection: Connection, connect: Callable[[Address], Connection], metadata: Any
    ) -> Connection:
        """A connection to the broker that makes topics."""
        for broker in metadata.brokers:
            address = Address(broker.host, broker.port)
            if broker.node_id == metadata.controller_id and str(address) != connection.address:
                return connect(address)
        return connection

    def _create(self, connection: Connection, wanted: TopicCreation) -> None:
        topic = CreateTopicsRequest.CreatableTopic(
            name=self._topic,
            num_partitions=wanted.partitions,
            replication_factor=wanted.replication_factor,
            assignments=[],
            configs=[],
        )
        timeout = self._options.connect_timeout
        request = CreateTopicsRequest(
            topics=[topic],
            timeout_ms=int(timeout * 1000),
            validate_only=False,
            min_version=2,
            max_version=7,
        )
        (made,) = connection.call(request, timeout).topics
        if made.error_code not in (0, TOPIC_ALREADY_EXISTS):
            raise self._error(made.error_code, made.error_message or "")

    def _error(self, code: int, detail: str = "") -> SinkUnavailable:
        return broker_error(code, for_code(code).__name__, self._topic, detail)


def offset_request(topic: str, partition: int, which: int) -> ListOffsetsRequest:
    """The question for the `EARLIEST` or `LATEST` offset of a partition, to its leader."""
    wanted = ListOffsetsRequest.ListOffsetsTopic
    asked = wanted.ListOffsetsPartition(partition_index=partition, current_leader_epoch=-1, timestamp=which)
    return ListOffsetsRequest(
        replica_id=-1,
        isolation_level=0,
        topics=[wanted(name=topic, partitions=[asked])],
        min_version=2,
        max_version=5,
    )


def _is_being_made(metadata: Any) -> bool:
    """Until every partition of a new topic has a leader."""
    (topic,) = metadata.topics
    if topic.error_code:
        return topic.error_code in (UNKNOWN_TOPIC, LEADER_NOT_AVAILABLE)
    return any(partition.leader_id < 0 for partition in topic.partitions)
