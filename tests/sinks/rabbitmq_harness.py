"""The RabbitMQ sink for the conformance suite, and the broker seen by a plain client."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import pika

from inotify_bridge.sinks.base import SinkContext
from inotify_bridge.sinks.rabbitmq import RabbitmqSink
from inotify_bridge.sinks.rabbitmq_options import RabbitmqOptions
from tests.brokers import RabbitmqBroker
from tests.brokers.ports import free_port
from tests.sinks.harness import SinkHarness
from tests.sinks.messages import Received, received
from tests.waiting import eventually

_BODY_LIMIT = 64 * 1024
_DEFAULT_LIMIT = 128 * 1024 * 1024
_PATIENCE_SECONDS = 60.0
_ACKED_TOGETHER = 100
_QUIET_SECONDS = 0.2
"""A queue that has given nothing for so long is empty."""


@contextlib.contextmanager
def plain_channel(url: str) -> Iterator[Any]:
    """A channel of a client that has nothing to do with the sink."""
    parameters = pika.URLParameters(url)
    parameters.socket_timeout, parameters.stack_timeout = _PATIENCE_SECONDS, 2 * _PATIENCE_SECONDS
    connection = pika.BlockingConnection(parameters)
    try:
        yield connection.channel()
    finally:
        connection.close()


class RabbitmqHarness(SinkHarness):
    """Every instance has an exchange and a queue of its own."""

    broker: RabbitmqBroker
    not_applicable: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def __init__(self, broker: RabbitmqBroker, content_mode: str = "structured") -> None:
        self.broker = broker
        self.name = f"test-{uuid.uuid4().hex[:12]}"
        self.context = SinkContext(
            "orders", "uploads", "inotify://test/uploads", content_mode, "group", self.name
        )
        self.wrong_host = {"url": f"amqp://guest:guest@127.0.0.1:{free_port()}"}
        self.password = "never-to-be-shown"
        self.wrong_password = {"url": f"amqp://{broker.user}:{self.password}@{broker.address}/%2F"}
        self.missing_target = {"exchange": f"{self.name}-missing", "declare_exchange": False}
        self.unroutable = {"queue": None}
        self.too_large_bytes = _BODY_LIMIT + 1
        self._sinks: list[RabbitmqSink] = []
        self._seen: set[int] = set()
        self._limited = False

    def need(self, capability: str) -> None:
        """See `SinkHarness.need`; lowers the broker's limit where a message has to be too large."""
        super().need(capability)
        if capability == "too_large":
            self._limited = True
            self._limit(_BODY_LIMIT)

    def options(self, **overrides: Any) -> RabbitmqOptions:
        """Options that work, changed by `overrides`."""
        working = {
            "url": self.broker.url,
            "exchange": self.name,
            "queue": self.name,
            "connect_timeout": "60s",
            "confirm_timeout": "60s",
        }
        return RabbitmqOptions.model_validate({**working, **overrides})

    def make(self, **overrides: Any) -> RabbitmqSink:
        sink = RabbitmqSink(self.options(**overrides), self.context)
        self._sinks.append(sink)
        return sink

    def consume(self, count: int, within: float = 60.0) -> list[Received]:
        return [received(body) for _, _, body in self.deliveries(count, within)]

    def deliveries(self, count: int, within: float = 60.0) -> list[tuple[Any, Any, bytes]]:
        """Like `consume`, with method and properties of each message as pika gives them."""
        got: list[tuple[Any, Any, bytes]] = []

        def enough() -> bool:
            for method, properties, body in self._drain():
                got.append((method, properties, body))
                self._seen.add(int(properties.message_id.rpartition("-")[2]))
            return len(self._seen) >= count

        with contextlib.suppress(AssertionError):
            eventually(enough, within=within)
        return got

    def waiting_in_queue(self) -> int:
        """Messages that the queue holds."""
        with plain_channel(self.broker.url) as channel:
            count: int = channel.queue_declare(self.name, passive=True).method.message_count
            return count

    def stop_broker(self) -> None:
        # Not SIGKILL: RabbitMQ 3.10 writes the directory of quorum queues to disk only minutes after their
        # declaration; a crash before that gives an empty queue without a leader, whatever was confirmed.
        self.broker.stop()

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()
        with plain_channel(self.broker.url) as channel:
            channel.queue_delete(self.name)
            channel.exchange_delete(self.name)
        if self._limited:
            self._limit(_DEFAULT_LIMIT)

    def _drain(self) -> Iterator[tuple[Any, Any, bytes]]:
        with contextlib.suppress(pika.exceptions.AMQPError), plain_channel(self.broker.url) as channel:
            last = 0
            for delivery in channel.consume(self.name, inactivity_timeout=_QUIET_SECONDS):
                if delivery[0] is None:
                    break
                yield delivery
                last = delivery[0].delivery_tag
                if last % _ACKED_TOGETHER == 0:
                    channel.basic_ack(last, multiple=True)
            # What came after the last look is not acknowledged: it stays in the queue.
            if last % _ACKED_TOGETHER:
                channel.basic_ack(last, multiple=True)

    def _limit(self, size: int) -> None:
        """The largest body for channels opened from now on (16 MiB or 128 MiB where nobody changes it)."""
        self.broker.ctl("eval", f"application:set_env(rabbit, max_message_size, {size}).")
