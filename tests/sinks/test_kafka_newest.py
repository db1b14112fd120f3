"""What the Kafka sink tells of the end of its partition, with both clients."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka import admin as admin_module

from inotify_bridge.errors import SinkUnavailable
from inotify_bridge.sinks import kafka_confluent_tail, kafka_python, kafka_session
from inotify_bridge.sinks.base import ACCEPTED, Message, Newest, Remembering
from tests.brokers import Authority, KafkaBroker
from tests.sinks.kafka_harness import KafkaHarness
from tests.sinks.messages import EPOCH, SOURCE, messages
from tests.sinks.test_kafka import (
    PASSWORD,
    access,
    client,
    leaves_no_thread,
    library_threads,
    publish_connected,
)
from tests.waiting import eventually

__all__ = ["client"]  # the fixture

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

STRUCTURED = [("content-type", b"application/cloudevents+json")]
Foreign = tuple[bytes | None, list[tuple[str, bytes | None]]]

_parts: dict[str, Any] = vars(admin_module)  # its types do not export what they describe


@pytest.fixture
def harness(client: str, kafka: KafkaBroker) -> Iterator[KafkaHarness]:
    with contextlib.closing(KafkaHarness(kafka, client)) as made:
        yield made


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no reason not to know."""
    answer_within(monkeypatch, 20.0)


def answer_within(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """How long the sink waits for an answer about the end of its partition."""
    for module in (kafka_python, kafka_confluent_tail):
        patch.setattr(module, "ANSWER_SECONDS", seconds)


def held(message: Message) -> Newest:
    """What a sink says that holds this message last."""
    return Newest(EPOCH, message.sequence, message.body)


def write_foreign(harness: KafkaHarness, records: Sequence[Foreign], transactional: bool = False) -> None:
    """Somebody else writes to the topic."""
    settings: dict[str, Any] = {"bootstrap.servers": harness.broker.plain_address, "log_level": 0}
    with contextlib.closing(
        Producer(settings | ({"transactional.id": harness.topic} if transactional else {}))
    ) as producer:
        if transactional:
            producer.init_transactions(60)
            producer.begin_transaction()
        for value, headers in records:
            producer.produce(harness.topic, value, b"key", 0, headers=headers)  # type: ignore[arg-type]
        if transactional:
            producer.commit_transaction(60)
        assert producer.flush(60) == 0


def event(**attributes: object) -> bytes:
    """A CloudEvent like ours, but for some attributes."""
    (message,) = messages(1, 900)
    return json.dumps({**json.loads(message.body), **attributes}).encode()


def test_remembers(harness: KafkaHarness) -> None:
    """The sink has the method by which a relay knows that it can be asked."""
    assert isinstance(harness.make(), Remembering)


def test_empty_topic(harness: KafkaHarness) -> None:
    """An empty topic holds nothing, and the session goes on."""
    sink = harness.make()
    sink.connect()
    assert sink.newest() is None
    assert sink.publish(messages(1)) == [ACCEPTED]


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_own_messages(harness: KafkaHarness, compression: str) -> None:
    """It is the last message, byte for byte, also of many in one batch; and no thread stays behind."""
    sink = harness.make(compression=compression)
    batch = messages(2000)
    publish_connected(sink, batch)
    before = library_threads()
    assert sink.newest() == held(batch[-1])
    leaves_no_thread(before)
    assert sink.publish(messages(1, 2001)) == [ACCEPTED]


def test_repeats(harness: KafkaHarness) -> None:
    """Where a crash has made the stream begin again further back, what stands furthest counts."""
    sink = harness.make()
    batch = messages(100)
    publish_connected(sink, batch)
    publish_connected(sink, batch[40:60])
    assert sink.newest() == held(batch[-1])


def test_a_place_that_came_again(harness: KafkaHarness) -> None:
    """Of two messages under one number the later one counts: it took the place of one that was parked."""
    sink = harness.make()
    (first,), (second,) = messages(1), messages(1, body_bytes=2000)
    publish_connected(sink, [first])
    publish_connected(sink, [second])
    assert sink.newest() == held(second)


def test_binary_mode(client: str, kafka: KafkaBroker) -> None:
    """In binary mode epoch and sequence are known, and no body."""
    with contextlib.closing(KafkaHarness(kafka, client, content_mode="binary")) as harness:
        sink = harness.make()
        publish_connected(sink, messages(20))
        assert sink.newest() == Newest(EPOCH, 20, None)


def test_foreign_messages_last(harness: KafkaHarness) -> None:
    """Behind ours may stand what others wrote, in transactions too, whatever it is: it is passed over."""
    sink = harness.make()
    batch = messages(30)
    publish_connected(sink, batch)
    number = f"{EPOCH}-000000000900"
    foreign: list[Foreign] = [
        (event(source="inotify://test/another"), list(STRUCTURED)),
        (event(sequence=900), list(STRUCTURED)),
        (event(sequence="900"), list(STRUCTURED)),
        (event(sequence=f"{EPOCH.upper()}-000000000900"), list(STRUCTURED)),
        (event(), []),
        (b"[" * 100_000, list(STRUCTURED)),
        (b'"text"', list(STRUCTURED)),
        (b"\xff\xfe", list(STRUCTURED)),
        (None, list(STRUCTURED)),
        (None, []),
        (b"{}", [("ce_source", b"inotify://test/another"), ("ce_sequence", number.encode())]),
        (b"{}", [("ce_source", SOURCE.encode()), ("ce_sequence", None)]),
        (b"{}", [("ce_source", SOURCE.encode()), ("ce_sequence", b"\xff")]),
        (b"{}", [("ce_source", SOURCE.encode())]),
    ]
    write_foreign(harness, foreign * 10)
    write_foreign(harness, foreign, transactional=True)
    assert sink.newest() == held(batch[-1])


def test_too_far_back(harness: KafkaHarness) -> None:
    """Where the last some hundred records are all of others, nothing is told."""
    sink = harness.make()
    publish_connected(sink, messages(10))
    write_foreign(harness, [(b"{}", [])] * 600)
    assert sink.newest() is None


def test_large_messages(harness: KafkaHarness) -> None:
    """The last one is found behind many that are far larger together than what is read."""
    sink = harness.make()
    batch = messages(40, body_bytes=200_000)
    publish_connected(sink, batch)
    assert sink.newest() == held(batch[-1])


def test_its_own_partition(client: str, kafka: KafkaBroker) -> None:
    """Only the configured partition is looked at; where messages are spread over all, nothing is told."""
    with contextlib.closing(KafkaHarness(kafka, client, partitions=3)) as harness:
        batch = messages(20)
        sink = harness.make(partition=2)
        publish_connected(sink, batch)
        publish_connected(harness.make(partition=1), messages(1, 21))
        assert sink.newest() == held(batch[-1])
        harness.context = harness.context._replace(partition_by="path")
        spread = harness.make()
        spread.connect()
        assert spread.newest() is None


# -- failures ----------------------------------------------------------------------------------------------


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was said in place of an answer."""
    said: list[str] = []
    monkeypatch.setattr(kafka_session._log, "debug", lambda text, *values: said.append(text % values))
    return said


@pytest.fixture(scope="module")
def strict(authority: Authority) -> Iterator[KafkaBroker]:
    """A broker that lets alice do what she was granted, and nothing else; it may be silent for a while."""
    if missing := KafkaBroker.missing():
        pytest.skip(missing)
    with KafkaBroker(
        security="SASL_SSL",
        users={"alice": PASSWORD},
        certificate=authority.issue(name="strict"),
        properties={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "broker.session.timeout.ms": "60000",
        },
    ) as broker:
        yield broker


@pytest.fixture
def patient(client: str, strict: KafkaBroker) -> Iterator[KafkaHarness]:
    """A topic on a broker that its controller does not take for dead after a short silence."""
    with contextlib.closing(KafkaHarness(strict, client)) as made:
        yield made


def test_a_silent_broker(patient: KafkaHarness, unknown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that does not answer makes it unknown, and the session goes on when it does again."""
    sink = patient.make(bootstrap_servers=[patient.broker.plain_address])
    publish_connected(sink, messages(5))
    with patient.frozen(), monkeypatch.context() as patch:
        answer_within(patch, 0.5)
        assert sink.newest() is None
    assert len(unknown) == 1
    before = library_threads()

    def taken() -> bool:
        return sink.publish(messages(1, 6)) == [ACCEPTED]

    assert taken()
    leaves_no_thread(before)
    eventually(lambda: sink.newest() == held(*messages(1, 6)), within=60, what="it is known again")


@pytest.fixture
def grant(client: str, strict: KafkaBroker) -> Callable[[KafkaHarness, str], None]:
    """Give alice a right on the harness's topic."""
    administrator = _parts["AdminClient"]({"bootstrap.servers": strict.plain_address, "log_level": 0})
    operations, topics, literal = (
        _parts[name] for name in ("AclOperation", "ResourceType", "ResourcePatternType")
    )

    def grant(harness: KafkaHarness, operation: str) -> None:
        binding = _parts["AclBinding"](
            topics.TOPIC,
            harness.topic,
            literal.LITERAL,
            "User:alice",
            "*",
            operations[operation],
            _parts["AclPermissionType"].ALLOW,
        )
        for future in administrator.create_acls([binding], request_timeout=60).values():
            future.result(60)

    return grant


def test_no_right_to_read(
    client: str,
    strict: KafkaBroker,
    authority: Authority,
    grant: Callable[[KafkaHarness, str], None],
    unknown: list[str],
) -> None:
    """Who may only write is not hindered, and not told; with READ on the topic, and no more, it is told."""
    with contextlib.closing(KafkaHarness(strict, client)) as harness:
        grant(harness, "WRITE")
        sink = harness.make(**access(authority))
        batch = messages(5)
        eventually(lambda: _connects(sink), within=60, what="the right is known")
        assert list(sink.publish(batch)) == [ACCEPTED] * 5
        assert sink.newest() is None
        assert len(unknown) == 1
        assert sink.publish(messages(1, 6)) == [ACCEPTED]
        grant(harness, "READ")
        eventually(lambda: sink.newest() == held(*messages(1, 6)), within=60, what="it is told")


def _connects(sink: Any) -> bool:
    with contextlib.suppress(SinkUnavailable):
        sink.connect()
        return True
    return False
