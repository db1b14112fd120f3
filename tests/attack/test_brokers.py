"""Names of any bytes, through the agent to both brokers and back; nothing on the way carries them raw."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pika
import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.agent.conftest import Launch
from tests.agent.places import KafkaPlace, RabbitmqPlace
from tests.agent.trees import Trees
from tests.operator.asking import TOKEN
from tests.waiting import eventually

MARK = b"H0st1le"
"""Stands in every name here, and nowhere else."""

NAMES = (
    *(MARK + bytes([byte]) for byte in range(1, 256) if byte != ord("/")),
    *(bytes([byte]) + MARK for byte in range(1, 256) if byte != ord("/")),
    bytes(byte for byte in range(1, 256) if byte != ord("/"))[: 255 - len(MARK)] + MARK,
    MARK + b"\xff" * (255 - len(MARK)),
    MARK + b"\n" * (255 - len(MARK)),
    MARK + b"\x1b]0;title\x07\x1b[31m",
    MARK + b"\r\nX-Header: forged",
    MARK + b"\xed\xa0\x80\xed\xbf\xbf",  # surrogates, as no UTF-8 may have them
    MARK + b"\xc0\xaf\xe0\x80\xaf",  # a slash in too many bytes
    MARK + "\u2028\u202e\u200b\ufeff\U000e0001\x85".encode(),
    MARK + b'","data":{"file":{"path":"forged"}}',
    MARK + b"%41%2F%00",
    MARK + b"{group}.{kind}#*.",
    MARK + "é☃🎉".encode(),
)
DIRECTORY = MARK + b"\n\x1b[2J\xff"
TARGET = MARK + b"\xff\n -> /"


class Received(NamedTuple):
    """
    A message as it came.

    Args:
        routing: routing key or key.
        headers: header names and values, of properties too.
    """

    routing: bytes
    headers: Mapping[str, bytes]
    body: bytes


def _from_rabbitmq(place: RabbitmqPlace) -> Iterator[Received]:
    connection = pika.BlockingConnection(pika.URLParameters(place.broker.url))
    channel = connection.channel()
    while True:
        method, properties, body = channel.basic_get(place.name, auto_ack=True)
        if method is None:
            break
        fixed = {key: value for key, value in vars(properties).items() if key != "headers"}
        headers = {**fixed, **(properties.headers or {})}
        texts = {key: str(value).encode() for key, value in headers.items()}
        yield Received(method.routing_key.encode(), texts, body)
    connection.close()


def _from_kafka(place: KafkaPlace) -> Iterator[Received]:
    settings = {"bootstrap.servers": place.broker.plain_address, "group.id": place.name, "log_level": 0}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    partition = TopicPartition(place.name, 0, 0)
    _, end = consumer.get_watermark_offsets(partition, timeout=30)
    consumer.assign([partition])
    for _ in range(end):
        message: Any = eventually(lambda: consumer.poll(1.0), what="a message of the topic")
        assert message.error() is None
        yield Received(message.key() or b"", dict(message.headers() or []), message.value())
    consumer.close()


def _raw(data: Mapping[str, Any], key: str) -> bytes:
    """The bytes of a path field, as the contract says to get them."""
    return base64.b64decode(data[f"{key}_b64"]) if f"{key}_b64" in data else data[key].encode()


def _data(received: Received) -> Mapping[str, Any]:
    """The event's data, in either mode."""
    body: dict[str, Any] = json.loads(received.body)
    data: dict[str, Any] = body["data"] if "specversion" in body else body
    return data


def _make(trees: Trees) -> set[bytes]:
    """A file for each name, in a directory that has one too; a link, and a rename. What there is then."""
    top = os.fsencode(trees.root)
    os.mkdir(os.path.join(top, DIRECTORY))
    for name in NAMES:
        with open(os.path.join(top, DIRECTORY, name), "wb"):
            pass
    os.symlink(TARGET, os.path.join(top, DIRECTORY, b"link"))
    os.rename(os.path.join(top, DIRECTORY, NAMES[9]), os.path.join(top, NAMES[9]))
    below = {DIRECTORY + b"/" + name for name in (*NAMES, b"link")}
    return below - {DIRECTORY + b"/" + NAMES[9]} | {DIRECTORY, NAMES[9]}


def _folded(all_received: list[Received]) -> set[bytes]:
    """The paths that the stream leaves, and on the way the target of the link."""
    paths: set[bytes] = set()
    for data in map(_data, all_received):
        if "file" not in data:
            continue
        if "move" in data:
            assert _raw(data["move"], "from") in paths
            paths.discard(_raw(data["move"], "from"))
        paths.add(_raw(data["file"], "path"))
        if data["file"]["type"] == "symlink" and "target" in data["file"]:
            assert _raw(data["file"], "target") == TARGET
    return paths


def _plain(value: bytes) -> bool:
    """Whether a text holds nothing that could break a line or drive a terminal, and is Unicode."""
    text = value.decode()
    return not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text)


def _assert_nothing_raw(all_received: list[Received], mode: str) -> None:
    """Keys and headers hold no name; in binary mode the subject does, encoded."""
    subjects = 0
    for received in all_received:
        assert MARK not in received.routing
        for name, value in received.headers.items():
            if mode == "binary" and name in ("ce-subject", "ce_subject"):
                subjects += MARK in value
                assert _plain(value)
            else:
                assert MARK not in value, name
        assert received.body.isascii() or received.body.decode()
        assert _plain(received.body)
    assert (subjects > len(NAMES)) == (mode == "binary")


@pytest.mark.rabbitmq
@pytest.mark.kafka
@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_names_of_any_bytes_arrive(
    mode: str, rabbitmq_place: RabbitmqPlace, kafka_place: KafkaPlace, trees: Trees, launch: Launch
) -> None:
    """
    Both brokers give back the very bytes, and no log line, label, header, key or routing key has a raw path.

    The console log is at the level debug for one mode, the JSON log for the other.
    """
    sinks = [rabbitmq_place.sink("rabbitmq"), kafka_place.sink("kafka")]
    format = "console" if mode == "binary" else "json"
    log = {"level": "debug", "format": format}
    # The root's own name is hostile too, and it is lost in the end: then the log has to name it.
    root = {"path": os.fspath(trees.root), "as": os.fsdecode(MARK + b"\n\x1b[31m root")}
    http = {"listen": "127.0.0.1:0", "admin_token": TOKEN}
    with launch(sinks, {"paths": [root]}, log=log, http=http, events={"content_mode": mode}) as agent:
        agent.start()
        there = _make(trees)
        assert agent.post("/-/barrier?group=g&timeout=60s", TOKEN)[0] == 200, "the events are recorded"
        for sink in ("rabbitmq", "kafka"):
            eventually(lambda sink=sink: agent.delivered(sink), what=f"{sink} has everything")  # type: ignore[misc]
        metrics = agent.get("/metrics")[1]
        os.rename(trees.root, trees.outside / "away")
        eventually(lambda: "root lost" in agent.log, what="the lost root in the log")
        agent.stop()
    as_told = os.fsencode(root["as"])
    for all_received in (list(_from_rabbitmq(rabbitmq_place)), list(_from_kafka(kafka_place))):
        assert _folded(all_received) - {as_told} == {as_told + b"/" + path for path in there}
        _assert_nothing_raw(all_received, mode)
    assert MARK.decode() not in metrics
    assert all(line.isprintable() for line in agent.log.split("\n"))
    assert MARK.decode() + "%0A%1B[31m root" in agent.log, "the log names the root, encoded"
