"""
A message as the bytes of its three AMQP 0-9-1 frames: Basic.Publish, content header, body.

pika builds these frames from objects and sends each by a send(2) of its own: 15 µs a message, of which 3 are
left when whole chunks of messages are encoded here and written at once (`benchmarks/rabbitmq.py`). The wire
format has been fixed since 2008; the tests compare every byte with what pika's own encoder writes.
"""

from __future__ import annotations

import struct
from typing import Final

from pika import spec

from inotify_bridge.sinks.base import Message, Outcome, SinkContext, Verdict, route

STRUCTURED_CONTENT_TYPE: Final = "application/cloudevents+json; charset=UTF-8"
APP_ID: Final = "inotify-bridge"
SHORT_STRING_BYTES: Final = 255
"""The longest routing key, message id, type and header name that AMQP can carry."""

_HEADER_PREFIX = "ce-"  # of the CloudEvents binding for AMQP 0-9-1 by Knative; "cloudEvents_" is AMQP 1.0
_END = bytes((spec.FRAME_END,))
_FRAME = struct.Struct(">BHI")  # type, channel, payload length
_FRAME_OVERHEAD = spec.FRAME_HEADER_SIZE + spec.FRAME_END_SIZE
_CONTENT_HEADER = struct.Struct(">HHQH")  # class, weight, body length, property flags
_TIMESTAMP = struct.Struct(">Q")
_LONG = struct.Struct(">I")
_FLAGS = (
    spec.BasicProperties.FLAG_CONTENT_TYPE
    | spec.BasicProperties.FLAG_DELIVERY_MODE
    | spec.BasicProperties.FLAG_MESSAGE_ID
    | spec.BasicProperties.FLAG_TIMESTAMP
    | spec.BasicProperties.FLAG_TYPE
    | spec.BasicProperties.FLAG_APP_ID
)
_PERSISTENT = bytes((spec.PERSISTENT_DELIVERY_MODE,))
_MANDATORY = b"\x01"  # bit 0: mandatory, bit 1: immediate


class Unsendable(Exception):
    """
    AMQP or the broker can never take this message.

    Args:
        outcome: what to tell the relay.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.detail)
        self.outcome = outcome


class Encoder:
    """
    Encodes the messages of one (group, sink) for one channel.

    Args:
        context: gives the content mode and fills the routing key.
        exchange: where to publish.
        routing_key: template for `base.route`.
        channel: AMQP channel number.
        frame_max: bytes of the largest frame, as negotiated with the broker.
        max_message_bytes: the largest body that the broker takes, where it has told; 0: unknown.
    """

    def __init__(
        self,
        context: SinkContext,
        exchange: str,
        routing_key: str,
        channel: int,
        frame_max: int,
        max_message_bytes: int = 0,
    ) -> None:
        self._context = context
        self._exchange = exchange
        self._routing_key = routing_key
        self._channel = channel
        self._payload_max = frame_max - _FRAME_OVERHEAD
        self._max_message_bytes = max_message_bytes
        self._binary = context.content_mode == "binary"
        self._of_kind: dict[str, tuple[bytes, bytes]] = {}

    def encode(self, message: Message) -> bytes:
        """
        The frames of one message.

        Raises:
            Unsendable: it is larger than AMQP or this broker allows.
        """
        body = message.data() if self._binary else message.body
        if self._max_message_bytes and len(body) > self._max_message_bytes:
            raise Unsendable(too_large(len(body), self._max_message_bytes))
        method, kind_type = self._of_kind.get(message.kind) or self._first_of_kind(message)
        properties = b"".join(
            (
                self._content(message),
                _PERSISTENT,
                _short(attribute(message, b"id")),
                _TIMESTAMP.pack(int(message.time)),
                kind_type,
                _APP_ID,
            )
        )
        return b"".join((method, self._header(properties, len(body)), self._body(body)))

    def body_size(self, message: Message) -> int:
        """Bytes of the body as the broker counts them."""
        return len(message.data() if self._binary else message.body)

    def _first_of_kind(self, message: Message) -> tuple[bytes, bytes]:
        """Routing key and type depend on the kind alone, of which there are few: encoded once, then kept."""
        key = route(self._routing_key, self._context, message).encode()
        payload = b"".join(
            (
                _LONG.pack(spec.Basic.Publish.INDEX),
                b"\0\0",
                _short(self._exchange.encode()),
                _short(key),
                _MANDATORY,
            )
        )
        encoded = self._frame(spec.FRAME_METHOD, payload), _short(attribute(message, b"type"))
        self._of_kind[message.kind] = encoded
        return encoded

    def _content(self, message: Message) -> bytes:
        """Content type, then in binary mode the header table: the first two properties on the wire."""
        if not self._binary:
            return _STRUCTURED
        attributes = message.attributes()
        content_type = attributes.pop("datacontenttype").encode()
        fields = b"".join(
            _short((_HEADER_PREFIX + name).encode()) + b"S" + _long(value.encode())
            for name, value in attributes.items()
        )
        return _short(content_type) + _long(fields)

    def _header(self, properties: bytes, body_size: int) -> bytes:
        flags = _FLAGS | spec.BasicProperties.FLAG_HEADERS if self._binary else _FLAGS
        payload = _CONTENT_HEADER.pack(spec.BasicProperties.INDEX, 0, body_size, flags) + properties
        if len(payload) > self._payload_max:  # only a body may be split: a very long subject in binary mode
            raise Unsendable(too_large(len(payload), self._payload_max, "attributes"))
        return self._frame(spec.FRAME_HEADER, payload)

    def _body(self, body: bytes) -> bytes:
        if len(body) <= self._payload_max:
            return self._frame(spec.FRAME_BODY, body)
        parts = range(0, len(body), self._payload_max)
        return b"".join(self._frame(spec.FRAME_BODY, body[at : at + self._payload_max]) for at in parts)

    def _frame(self, frame_type: int, payload: bytes) -> bytes:
        return b"".join((_FRAME.pack(frame_type, self._channel, len(payload)), payload, _END))


def too_large(size: int, limit: int, what: str = "body") -> Outcome:
    """The verdict on a message of `size` bytes where `limit` are allowed."""
    return Outcome(Verdict.REJECTED, "too_large", f"{what} of {size} bytes, the limit is {limit}")


def attribute(message: Message, name: bytes) -> bytes:
    """
    One string attribute of the envelope, found without parsing it: id or type.

    A quote inside a JSON string is always escaped, and ``data`` is the last member: the first match is the
    attribute itself.
    """
    start = message.body.index(b'"' + name + b'":"') + len(name) + 4
    value = message.body[start : message.body.index(b'"', start)]
    return value if b"\\" not in value else message.attributes()[name.decode()].encode()


def _short(value: bytes) -> bytes:
    if len(value) > SHORT_STRING_BYTES:
        raise Unsendable(too_large(len(value), SHORT_STRING_BYTES, "AMQP short string"))
    return bytes((len(value),)) + value


def _long(value: bytes) -> bytes:
    return _LONG.pack(len(value)) + value


_STRUCTURED: Final = _short(STRUCTURED_CONTENT_TYPE.encode())
_APP_ID: Final = _short(APP_ID.encode())
