"""A Kafka sink with a topic of its own, a consumer beside it, and a relay of the simplest kind."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from inotify_bridge.errors import SinkUnavailable
from inotify_bridge.sinks.base import Message, Verdict
from inotify_bridge.sinks.kafka import KafkaOptions, KafkaSink
from tests.brokers import KafkaBroker
from tests.brokers.ports import free_port
from tests.sinks.harness import SinkHarness
from tests.sinks.messages import Received, messages, received
from tests.waiting import eventually

_BATCH: Final = 500
_numbers = itertools.count()
_PATIENCE_SECONDS: Final = 120.0
# A broker that was frozen for long leads nothing until it has registered anew, and may answer late.
_NO_LEADER: Final = frozenset(
    (
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_PARTITION,
    )
)


class Stored(NamedTuple):
    """A record as the broker keeps it; `timestamp` in milliseconds."""

    partition: int
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]
    timestamp: int

    @classmethod
    def of(cls, message: Any) -> Stored:
        """What a consumer got: its types allow for messages without a value and places, as errors are."""
        return cls(
            message.partition(),
            message.key(),
            message.value(),
            message.headers() or [],
            message.timestamp()[1],
        )


class KafkaHarness(SinkHarness):
    """
    One topic on a broker that is already there.

    Args:
        broker: it runs.
        client: ``kafka-python`` or ``confluent``.
        password_settings: options with `password`, which a broker refuses.
        partitions: of the topic.
        topic_config: of the topic.
        replicas: of the topic; as many brokers there must be.
        context: changes to the sink's context.
    """

    broker: KafkaBroker
    not_applicable: ClassVar = {"unroutable": "a topic without consumers keeps its messages"}
    password = "open-sesame-wrong"
    too_large_bytes = 5000
    limited = MappingProxyType({"max_message_bytes": "4kB"})
    missing_target = MappingProxyType({"topic": "nobody-made-this"})

    def __init__(
        self,
        broker: KafkaBroker,
        client: str,
        *,
        password_settings: Mapping[str, Any] | None = None,
        partitions: int = 1,
        topic_config: Mapping[str, str] | None = None,
        replicas: int = 1,
        **context: str,
    ) -> None:
        self.broker, self.client = broker, client
        self.topic = f"test-{os.getpid()}-{next(_numbers)}"
        self.context = SinkHarness.context._replace(**context)
        self.wrong_host = {"bootstrap_servers": [f"127.0.0.1:{free_port()}"]}
        if password_settings is not None:
            self.wrong_password = password_settings
        self._partitions, self._replicas = partitions, replicas
        self.create_topic(topic_config)
        self._sinks: list[KafkaSink] = []
        self._consumer: Consumer | None = None
        self._seen: set[int] = set()

    def options(self, **overrides: Any) -> KafkaOptions:
        """Options that work, changed by `overrides`."""
        settings = {
            "bootstrap_servers": [self.broker.address],
            "topic": self.topic,
            "client": self.client,
            "connect_timeout": "30s",
            "delivery_timeout": "20s",
            **overrides,
        }
        return KafkaOptions.model_validate(settings)

    def make(self, **overrides: Any) -> KafkaSink:
        self._sinks.append(KafkaSink(self.options(**overrides), self.context))
        return self._sinks[-1]

    def consume(self, count: int, within: float = 60.0) -> list[Received]:
        got: list[Received] = []
        deadline = time.monotonic() + within
        while True:
            for record in self.read():
                got.append(received(record.value))
                self._seen.add(got[-1].sequence)
            if len(self._seen) >= count or time.monotonic() > deadline:
                return got

    def read(self) -> list[Stored]:
        """What came since the last look, to the end of every partition, in each partition's order."""
        if self._consumer is None:
            self._consumer = self._open_consumer()
        found: list[Stored] = []
        ends = self._ends(self._consumer)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (places := self._places(self._consumer)) != ends:
            assert time.monotonic() < deadline, f"the consumer is at {places}, the broker at {ends}"
            for message in self._consumer.consume(10_000, timeout=0.5):
                error = message.error()
                assert error is None or error.code() in _NO_LEADER, error
                if error is None:
                    found.append(Stored.of(message))
        return found

    def create_topic(self, config: Mapping[str, str] | None = None) -> None:
        """Make the topic and wait until every partition has a leader."""
        # By their own time the messages are old: the broker would delete them half a minute after its start.
        settings = {"retention.ms": "-1", **(config or {})}
        self.broker.create_topic(self.topic, self._partitions, settings, self._replicas)

    def delete_topic(self) -> None:
        """Delete the topic and wait until the broker has forgotten it, and takes nothing for it any more."""
        self.broker.topics.delete(self.topic)
        # Nobody is told of the topic any more a little before its partitions, whose directories get other
        # names then, refuse what a client sends that has not asked again.
        data = self.broker.directory / "data"
        partitions = [data / f"{self.topic}-{one}" for one in range(self._partitions)]
        eventually(lambda: not any(one.exists() for one in partitions), what="the partitions are closed")

    def stop_broker(self) -> None:
        self.broker.kill()

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()
        if self._consumer is not None:
            self._consumer.close()
        if self.broker.alive:
            self.delete_topic()

    def _open_consumer(self) -> Consumer:
        consumer = Consumer(
            {
                "bootstrap.servers": self.broker.plain_address,
                "group.id": self.topic,
                "enable.auto.commit": False,
                "check.crcs": True,
                "auto.offset.reset": "error",
                "log_level": 0,
            }
        )
        consumer.assign([TopicPartition(self.topic, one, 0) for one in range(self._partitions)])
        return consumer

    def _places(self, consumer: Consumer) -> list[int]:
        places = consumer.position([TopicPartition(self.topic, one) for one in range(self._partitions)])
        return [max(place.offset, 0) for place in places]

    def _ends(self, consumer: Consumer) -> list[int]:
        partitions = [TopicPartition(self.topic, one) for one in range(self._partitions)]

        def asked() -> list[int] | None:
            try:
                return [consumer.get_watermark_offsets(one, timeout=30)[1] for one in partitions]
            except KafkaException as error:
                if error.args[0].code() not in _NO_LEADER:
                    raise
                return None

        return eventually(asked, within=_PATIENCE_SECONDS, what="leaders of all partitions") or []


class Relay(threading.Thread):
    """
    A relay in its simplest form: go-back-N over connect and publish, until everything is confirmed.

    Args:
        sink: not connected.
        everything: what is to be sent first.
        goes_on: more comes behind it, until somebody sets this to False.
    """

    def __init__(self, sink: KafkaSink, everything: list[Message], goes_on: bool = False) -> None:
        super().__init__(name="relay", daemon=True)
        self._sink, self._everything = sink, everything
        self.goes_on = goes_on
        self.confirmed = 0
        self.failures = 0

    def run(self) -> None:
        self._connect_again()
        while batch := self._next():
            try:
                for outcome in self._sink.publish(batch):
                    if outcome.verdict is not Verdict.ACCEPTED:
                        break
                    self.confirmed += 1
            except SinkUnavailable:
                self.failures += 1
                self._sink.close()
                self._connect_again()

    def _next(self) -> list[Message]:
        held = len(self._everything)
        if self.goes_on and held < self.confirmed + _BATCH:
            self._everything += messages(_BATCH, held + 1)
        return self._everything[self.confirmed : self.confirmed + _BATCH]

    def _connect_again(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(SinkUnavailable):
                return self._sink.connect()
            threading.Event().wait(0.2)
        return None
