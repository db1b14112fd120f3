"""The frames of a message, held against pika's own encoder."""

from __future__ import annotations

import json

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame, spec

from inotify_bridge.sinks.base import Message, SinkContext, Verdict, route
from inotify_bridge.sinks.rabbitmq_frames import Encoder, Unsendable, attribute
from tests.sinks.messages import messages

FRAME_MAX = 4096
EXCHANGE = "inotify-bridge"
ROUTING_KEY = "{group}.{kind}"


def context(content_mode: str) -> SinkContext:
    return SinkContext("orders", "uploads", "inotify://test/uploads", content_mode, "group", "test")


def encoder(content_mode: str = "structured", channel: int = 1, **arguments: int) -> Encoder:
    return Encoder(context(content_mode), EXCHANGE, ROUTING_KEY, channel, FRAME_MAX, **arguments)


def by_pika(message: Message, content_mode: str, channel: int) -> bytes:
    """What pika writes for the same message."""
    attributes = message.attributes()
    binary = content_mode == "binary"
    body = message.data() if binary else message.body
    headers = {f"ce-{name}": value for name, value in attributes.items() if name != "datacontenttype"}
    properties = pika.BasicProperties(
        content_type="application/json" if binary else "application/cloudevents+json; charset=UTF-8",
        headers=headers if binary else None,
        delivery_mode=2,
        message_id=attributes["id"],
        timestamp=int(message.time),
        type=attributes["type"],
        app_id="inotify-bridge",
    )
    key = route(ROUTING_KEY, context(content_mode), message)
    method = spec.Basic.Publish(exchange=EXCHANGE, routing_key=key, mandatory=True)
    size = FRAME_MAX - 8
    frames = [frame.Method(channel, method), frame.Header(channel, len(body), properties)]
    frames += [frame.Body(channel, body[at : at + size]) for at in range(0, len(body), size)]
    return b"".join(one.marshal() for one in frames)


@pytest.mark.parametrize("content_mode", ["structured", "binary"])
@pytest.mark.parametrize("body_bytes", [0, FRAME_MAX - 8, FRAME_MAX - 7, 20_000])
def test_frames_are_those_of_pika(content_mode: str, body_bytes: int) -> None:
    """Every byte is what pika's own encoder writes, for bodies of one and of several frames."""
    ours = encoder(content_mode, channel=3)
    for message in messages(5, body_bytes=body_bytes):
        assert ours.encode(message) == by_pika(message, content_mode, 3)


def test_a_body_beyond_the_limit_is_unsendable() -> None:
    """A body one byte above the broker's limit is rejected as too large, one of the limit is not."""
    (message,) = messages(1, body_bytes=1000)
    encoder(max_message_bytes=1000).encode(message)
    with pytest.raises(Unsendable) as caught:
        encoder(max_message_bytes=999).encode(message)
    assert caught.value.outcome.verdict is Verdict.REJECTED
    assert caught.value.outcome.reason == "too_large"
    assert caught.value.outcome.detail == "body of 1000 bytes, the limit is 999"


def test_a_type_beyond_a_short_string_is_unsendable() -> None:
    """A type of more than 255 bytes is rejected: AMQP cannot carry it."""
    (message,) = messages(1)
    long = message._replace(body=message.body.replace(b'"type":"io', b'"type":"' + b"x" * 250))
    with pytest.raises(Unsendable, match="AMQP short string of 281 bytes"):
        encoder().encode(long)


def test_headers_beyond_a_frame_are_unsendable() -> None:
    """In binary mode attributes that fill more than a frame are rejected; structured they are body."""
    (message,) = messages(1)
    long = message._replace(body=message.body.replace(b'"subject":"', b'"subject":"' + b"d" * FRAME_MAX, 1))
    encoder().encode(long)
    with pytest.raises(Unsendable, match="attributes of"):
        encoder("binary").encode(long)


@given(
    prefix=st.text(st.characters(codec="utf-8"), max_size=20),
    subject=st.sampled_from(['","id":"wrong', '"id":"wrong"', 'id":"x', "\\", "type", '","type":"x']),
)
def test_attributes_are_found_without_parsing(prefix: str, subject: str) -> None:
    """Id and type are those of the envelope, whatever stands in the other attributes."""
    value = {
        "specversion": "1.0",
        "subject": prefix + subject,
        "id": "e-1",
        "type": prefix + "t",
        "data": {"id": "2"},
    }
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    message = Message(1, 0.0, "file.created", b"", body)
    assert attribute(message, b"id") == b"e-1"
    assert attribute(message, b"type") == (prefix + "t").encode()
