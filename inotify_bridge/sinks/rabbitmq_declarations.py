"""What the RabbitMQ sink makes on the broker before it publishes: exchange, queue, binding."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from inotify_bridge.sinks.base import Message, SinkContext, route
from inotify_bridge.sinks.rabbitmq_options import RabbitmqOptions

Then: TypeAlias = Callable[..., None]
"""What to call with the broker's answer."""

Step: TypeAlias = Callable[[Any, Then], None]
"""One request to a channel, of pika's."""

_ANY_KIND: Final = Message(1, 0.0, "", b"", b"")  # a binding key does not depend on a message


def declarations(options: RabbitmqOptions, context: SinkContext) -> list[Step]:
    """What to ask of a new channel, one after the other, each at the answer to the one before."""
    steps: list[Step] = []
    if options.exchange:  # the default exchange is always there, and cannot be bound to
        steps.append(functools.partial(_declare_exchange, options))
    if options.queue is not None:
        steps.append(functools.partial(_declare_queue, options.queue, options.queue_type))
        if options.exchange:
            key = route(options.binding_key, context, _ANY_KIND)
            steps.append(functools.partial(_bind, options.queue, options.exchange, key))
    return steps


def _declare_exchange(options: RabbitmqOptions, channel: Any, then: Then) -> None:
    channel.exchange_declare(
        options.exchange,
        options.exchange_type,
        passive=not options.declare_exchange,
        durable=True,
        callback=then,
    )


def _declare_queue(queue: str, queue_type: str, channel: Any, then: Then) -> None:
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": queue_type}, callback=then)


def _bind(queue: str, exchange: str, key: str, channel: Any, then: Then) -> None:
    channel.queue_bind(queue, exchange, key, callback=then)
