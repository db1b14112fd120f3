"""Where an agent publishes to in a test: a queue or a topic of its own, on a broker that all tests share."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika

from tests.agent.arrivals import Arrivals
from tests.brokers import Broker, KafkaBroker, RabbitmqBroker

ARRIVAL_SECONDS = 90.0


class Place(ABC):
    """
    One place, and consumers of it.

    Args:
        broker: it may be stopped and started by the test.
        scratch: an empty directory for what consumers write.
    """

    def __init__(self, broker: Broker, scratch: Path) -> None:
        self.broker = broker
        self.name = f"agent-{uuid.uuid4().hex[:12]}"
        self._scratch = scratch

    @abstractmethod
    def sink(self, name: str = "sink", **options: Any) -> dict[str, Any]:
        """The sink in the agent's configuration, with more options."""

    @abstractmethod
    def close(self) -> None:
        """Remove the place."""

    @abstractmethod
    def _consumer(self) -> list[str]:
        """Arguments of `tests.agent.consumer`."""

    @abstractmethod
    def stop_broker(self) -> None:
        """An outage; `broker.start` ends it."""

    @contextlib.contextmanager
    def consuming(self, stops: int = 1) -> Iterator[Consuming]:
        """A process that consumes until so many ``stream.stopped`` have come; killed where it goes on."""
        out = self._scratch / f"{self.name}-{uuid.uuid4().hex[:6]}.jsonl"
        arguments = [*self._consumer(), "--out", str(out), "--stops", str(stops)]
        with subprocess.Popen([sys.executable, "-m", "tests.agent.consumer", *arguments]) as process:
            try:
                yield Consuming(process, out)
            finally:
                process.kill()

    def consumed(self, stops: int = 1) -> Arrivals:
        """Everything from the beginning to the last of so many ``stream.stopped``."""
        with self.consuming(stops) as consuming:
            return consuming.finished()


class Consuming:
    """A consumer at work, which writes to `file`."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path) -> None:
        self._process = process
        self.file = out

    def seen(self) -> Arrivals:
        """What has come until now."""
        return Arrivals.read(self.file)

    def finished(self, within: float = ARRIVAL_SECONDS) -> Arrivals:
        """Wait for its end; everything that came."""
        self.ended(within)
        return self.seen()

    def ended(self, within: float) -> None:
        """Wait for its end, in seconds; `file` is complete then, and may be too large for the memory."""
        code = self._process.wait(within)
        assert code == 0, f"the consumer ended with {code}"


class RabbitmqPlace(Place):
    """An exchange with a quorum queue, both made by the sink."""

    broker: RabbitmqBroker

    def sink(self, name: str = "sink", **options: Any) -> dict[str, Any]:
        basic = {"url": self.broker.url, "exchange": self.name, "queue": self.name}
        return {"name": name, "type": "rabbitmq", **basic, **options}

    def waiting(self) -> int:
        """Messages in the queue; 0 where it is not made yet."""
        connection = pika.BlockingConnection(pika.URLParameters(self.broker.url))
        try:
            count: int = connection.channel().queue_declare(self.name, passive=True).method.message_count
            return count
        except pika.exceptions.ChannelClosedByBroker:
            return 0
        finally:
            connection.close()

    def stop_broker(self) -> None:
        # Not SIGKILL: RabbitMQ 3.10 writes the directory of quorum queues to disk only minutes after their
        # declaration; a crash before that gives an empty queue without a leader, whatever was confirmed.
        self.broker.stop()

    def close(self) -> None:
        connection = pika.BlockingConnection(pika.URLParameters(self.broker.url))
        connection.channel().queue_delete(self.name)
        connection.channel().exchange_delete(self.name)
        connection.close()

    def _consumer(self) -> list[str]:
        return ["rabbitmq", "--url", self.broker.url, "--queue", self.name]


class KafkaPlace(Place):
    """
    A topic with one partition.

    Args:
        client: of the sink.
    """

    broker: KafkaBroker

    def __init__(self, broker: KafkaBroker, scratch: Path, client: str = "kafka-python") -> None:
        super().__init__(broker, scratch)
        self._client = client
        broker.create_topic(self.name)

    def sink(self, name: str = "sink", **options: Any) -> dict[str, Any]:
        basic = {"bootstrap_servers": [self.broker.address], "topic": self.name, "client": self._client}
        return {"name": name, "type": "kafka", **basic, **options}

    def stop_broker(self) -> None:
        self.broker.kill()

    def close(self) -> None:
        """The broker's data goes with the broker."""

    def _consumer(self) -> list[str]:
        return ["kafka", "--bootstrap", self.broker.plain_address, "--topic", self.name]
