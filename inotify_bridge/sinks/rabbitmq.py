"""The sink for RabbitMQ: AMQP 0-9-1 with publisher confirms, every message persistent and mandatory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from inotify_bridge.errors import ConfigError, SinkUnavailable
from inotify_bridge.sinks.base import Message, Outcome, SinkContext, route
from inotify_bridge.sinks.rabbitmq_connection import Connection
from inotify_bridge.sinks.rabbitmq_frames import SHORT_STRING_BYTES
from inotify_bridge.sinks.rabbitmq_options import RabbitmqOptions
from inotify_bridge.sinks.registry import warn_insecure

_LONGEST_KIND: Final = Message(1, 0.0, "directory.attributes_changed", b"", b"")


class RabbitmqSink:
    """
    Publishes to an exchange of RabbitMQ.

    A message is accepted when the broker has confirmed it: a quorum queue then holds it on the disks of a
    majority. A message that no queue takes is returned by the broker and has to be sent again.

    Args:
        options: see `RabbitmqOptions`.
        context: the (group, sink) pair it serves.
    Raises:
        ConfigError: a routing or binding key would be longer than AMQP allows.
    """

    Options = RabbitmqOptions

    def __init__(self, options: RabbitmqOptions, context: SinkContext) -> None:
        for name, template in (("routing_key", options.routing_key), ("binding_key", options.binding_key)):
            _check_length(name, template, context)
        if options.tls is not None and options.tls.insecure:
            warn_insecure(context.name, options.place)
        self._options = options
        self._context = context
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def connect(self) -> None:
        """
        Open the connection, make what is to be made on the broker, and wait until messages can be taken.

        Raises:
            SinkUnavailable: with what failed, where, and what to do; at most `connect_timeout` later.
        """
        self.close()
        connection = Connection(self._options, self._context)
        with self._lock:
            self._connection = connection
        try:
            connection.ready()
        except SinkUnavailable:
            self.close()
            raise

    def publish(self, batch: Sequence[Message]) -> list[Outcome]:
        """
        Send in order, at most `window` unconfirmed, and wait for every confirm.

        Nothing is sent behind the first message that is refused; what was under way then keeps its verdict.
        When the connection is lost after the first messages were confirmed, these are accepted and the rest
        is to be sent again; the next call raises.

        Raises:
            SinkUnavailable: not connected; connection lost or closed; no confirm within `confirm_timeout`;
                blocked by the broker for `blocked_connection_timeout`; refused as a whole.
        """
        connection = self._connection
        if connection is None:
            raise SinkUnavailable(f"{self._options.place}: not connected")
        return connection.publish(batch) if batch else []

    def check(self) -> None:
        """Raises: SinkUnavailable, the connection has ended: closed by the broker, cut, or silent."""
        connection = self._connection
        if connection is None:
            raise SinkUnavailable(f"{self._options.place}: not connected")
        connection.check()

    def close(self) -> None:
        """Close the connection and join its thread, within seconds; idempotent, from any thread."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _check_length(name: str, template: str, context: SinkContext) -> None:
    length = len(route(template, context, _LONGEST_KIND).encode())
    if length > SHORT_STRING_BYTES:
        where = f"sink '{context.name}' with group '{context.group}'"
        raise ConfigError(
            f"{where}: {name} '{template}' gives up to {length} bytes",
            f"AMQP allows {SHORT_STRING_BYTES}: shorten {name}",
        )
