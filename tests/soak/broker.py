"""The broker of a campaign: a real one of its own, behind a link that can be broken."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pika

from tests.brokers import Broker, KafkaBroker, RabbitmqBroker
from tests.brokers.ports import free_port
from tests.brokers.proxy import Proxy
from tests.soak.reader import KafkaReader, RabbitmqReader, Reader

Take = Callable[[bytes], None]


class Far(ABC):
    """
    A broker, the way to it, and a queue or a topic; for a `with` statement.

    Attributes:
        proxy: between agent and broker; the reader goes past it.
        bad_with_clocks: why the sink's client cannot be run with a clock that jumps; empty where it can.
    """

    bad_with_clocks = ""

    def __init__(self) -> None:
        self.name = f"soak-{uuid.uuid4().hex[:12]}"
        # Before the broker, which may have to know it.
        self._port = free_port()
        self.broker = self._made()
        self.proxy = Proxy(self.broker.port, port=self._port)

    def __enter__(self) -> Self:
        try:
            self.broker.start()
            self._prepare()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.proxy.close()
        self.broker.close()

    @property
    def description(self) -> str:
        """Product, version, client."""
        return f"{self.broker.product} {self.broker.version}"

    def crash(self) -> None:
        """SIGKILL of the broker; what it has confirmed outlives that."""
        self.broker.kill()

    @abstractmethod
    def _made(self) -> Broker: ...

    @abstractmethod
    def _prepare(self) -> None: ...

    @abstractmethod
    def sink(self) -> dict[str, Any]:
        """Of the agent's configuration."""

    @abstractmethod
    def reader(self, take: Take, directory: Path) -> Reader:
        """An independent reader of everything that the sink has published."""


class RabbitmqFar(Far):
    """An exchange with a quorum queue."""

    broker: RabbitmqBroker
    _was_stopped = False

    def _made(self) -> Broker:
        return RabbitmqBroker()

    def _prepare(self) -> None:
        connection = pika.BlockingConnection(pika.URLParameters(self.broker.url))
        channel = connection.channel()
        channel.queue_declare(self.name, durable=True, arguments={"x-queue-type": "quorum"})
        connection.close()

    def crash(self) -> None:
        # RabbitMQ 3.10 writes the directory of quorum queues to disk minutes after their declaration, or when
        # it is stopped: only then does a queue outlive SIGKILL.
        if not self._was_stopped:
            self.broker.stop()
            self.broker.start()
            self._was_stopped = True
        super().crash()

    def sink(self) -> dict[str, Any]:
        url = self.broker.url.replace(self.broker.address, f"127.0.0.1:{self._port}")
        place = {"url": url, "exchange": self.name, "queue": self.name}
        patience = {"heartbeat": "5s", "connect_timeout": "5s", "confirm_timeout": "8s"}
        return {"name": "sink", "type": "rabbitmq", **place, **patience}

    def reader(self, take: Take, directory: Path) -> Reader:
        return RabbitmqReader(self.broker.url, self.name, take, directory)


class KafkaFar(Far):
    """
    A topic of one partition.

    Args:
        client: of the sink.
    """

    broker: KafkaBroker

    def __init__(self, client: str) -> None:
        self._client = client
        # librdkafka waits on condition variables of the wall clock. Under libfaketime a bare producer that
        # has lost its broker hangs for as long as the clock has jumped.
        if client == "confluent":
            self.bad_with_clocks = "the clock does not jump: librdkafka hangs under libfaketime"
        super().__init__()

    def _made(self) -> Broker:
        return KafkaBroker(advertised=self._port)

    def _prepare(self) -> None:
        # The broker refuses records whose time is an hour ahead of its own clock: here clocks jump.
        self.broker.create_topic(self.name, config={"message.timestamp.type": "LogAppendTime"})

    @property
    def description(self) -> str:
        return f"{super().description}, {self._client}"

    def sink(self) -> dict[str, Any]:
        place = {"bootstrap_servers": [f"127.0.0.1:{self._port}"], "topic": self.name}
        patience = {"connect_timeout": "5s", "delivery_timeout": "8s"}
        return {"name": "sink", "type": "kafka", "client": self._client, **place, **patience}

    def reader(self, take: Take, directory: Path) -> Reader:
        return KafkaReader(self.broker.plain_address, self.name, take, directory)
