"""The Kafka sink against a real Apache Kafka, with both clients."""

from __future__ import annotations

import contextlib
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from cloudevents.core.formats.json import JSONFormat

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks import kafka, kafka_python
from inotify_bridge.sinks.base import Message, Sink, Verdict
from inotify_bridge.sinks.kafka import KafkaSink
from tests.brokers import Authority, KafkaBroker
from tests.brokers.ports import free_port
from tests.sinks.conformance import SinkConformance, publish_all
from tests.sinks.kafka_harness import KafkaHarness, Relay
from tests.sinks.messages import assert_go_back_n, messages
from tests.waiting import eventually

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

CLIENTS = ("kafka-python", "confluent")
PASSWORD = "open-sesame-right"


@pytest.fixture(scope="module")
def guarded(authority: Authority) -> Iterator[KafkaBroker]:
    """A broker that asks for TLS and a password, and makes every topic that somebody asks for."""
    if missing := KafkaBroker.missing():
        pytest.skip(missing)
    with KafkaBroker(
        security="SASL_SSL",
        users={"alice": PASSWORD},
        certificate=authority.issue(name="guarded"),
        properties={"auto.create.topics.enable": "true"},
    ) as broker:
        yield broker


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def harness(
    client: str, kafka: KafkaBroker, guarded: KafkaBroker, authority: Authority
) -> Iterator[KafkaHarness]:
    refused = {
        "bootstrap_servers": [guarded.address],
        "tls": {"ca_file": str(authority.certificate)},
        "sasl": {"mechanism": "PLAIN", "username": "alice", "password": KafkaHarness.password},
    }
    with contextlib.closing(KafkaHarness(kafka, client, password_settings=refused)) as made:
        yield made


@pytest.fixture
def secured(client: str, guarded: KafkaBroker) -> Iterator[KafkaHarness]:
    """A topic on the guarded broker."""
    with contextlib.closing(KafkaHarness(guarded, client)) as made:
        yield made


def access(authority: Authority, mechanism: str = "PLAIN", password: str = PASSWORD) -> dict[str, object]:
    """Options that let the sink in at the guarded broker."""
    return {
        "tls": {"ca_file": str(authority.certificate)},
        "sasl": {"mechanism": mechanism, "username": "alice", "password": password},
    }


class TestKafka(SinkConformance):
    """The conformance suite, with each client."""


def test_is_a_sink(harness: KafkaHarness) -> None:
    """The class has the three methods of a sink."""
    assert isinstance(harness.make(), Sink)


# -- the messages on the broker ----------------------------------------------------------------------------


def test_structured_record(harness: KafkaHarness) -> None:
    """A structured record has the partition key as key, one header, no ce_ header, and the event's time."""
    (message,) = messages(1)
    publish_connected(harness.make(), [message])
    (record,) = harness.read()
    assert record.headers == [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    assert (record.key, record.value, record.partition) == (message.key, message.body, 0)
    assert record.timestamp == 1763712000123


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_cloudevents_sdk_reads_it(client: str, kafka: KafkaBroker, mode: str) -> None:
    """The CloudEvents SDK gets the same attributes and data from the record in either content mode."""
    with contextlib.closing(KafkaHarness(kafka, client, content_mode=mode)) as harness:
        (message,) = messages(1)
        publish_connected(harness.make(), [message])
        (record,) = harness.read()
    event = from_kafka_event(KafkaMessage(dict(record.headers), record.key, record.value))
    expected = JSONFormat().read(None, message.body)
    assert event.get_attributes() == expected.get_attributes()
    assert event.get_data() == expected.get_data()


def test_binary_record(client: str, kafka: KafkaBroker) -> None:
    """In binary mode the value is the JSON text of data, and every attribute a ce_ header."""
    with contextlib.closing(KafkaHarness(kafka, client, content_mode="binary")) as harness:
        (message,) = messages(1)
        publish_connected(harness.make(), [message])
        (record,) = harness.read()
    headers = dict(record.headers)
    assert record.value == message.data()
    assert headers.pop("content-type") == b"application/json"
    assert "ce_datacontenttype" not in headers
    assert headers["ce_id"] == b"0192f3a4b5c6d7e8f9a0-000000000001"
    assert headers["ce_subject"] == '2026/ä "1".csv'.encode()


def test_explicit_partition(client: str, kafka: KafkaBroker) -> None:
    """The whole stream of a group goes to the one configured partition."""
    with contextlib.closing(KafkaHarness(kafka, client, partitions=3)) as harness:
        publish_connected(harness.make(partition=2), messages(20))
        assert {record.partition for record in harness.read()} == {2}


def test_spread_over_partitions(client: str, kafka: KafkaBroker) -> None:
    """By path, a key stays on one partition in order, and what concerns the stream goes to all."""
    batch = [one._replace(key=b"path-%d" % (one.sequence % 10)) for one in messages(100)]
    batch[50] = batch[50]._replace(kind="stream.resync_started")
    with contextlib.closing(KafkaHarness(kafka, client, partitions=3, partition_by="path")) as harness:
        publish_connected(harness.make(), batch)
        records = harness.read()
    places: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for record in records:
        places[record.partition].append(number_of(record.value, batch))
    assert all(numbers == sorted(numbers) for numbers in places.values())
    for one in batch:
        expected = {0, 1, 2} if one.kind.startswith("stream.") else {zlib.crc32(one.key) % 3}
        assert {place for place, numbers in places.items() if one.sequence in numbers} == expected
    assert len(records) == 99 + 3


@pytest.mark.parametrize("compression", ["gzip"])
def test_compression(harness: KafkaHarness, compression: str) -> None:
    """Compressed batches arrive as they were sent."""
    batch = messages(1000)
    publish_connected(harness.make(compression=compression), batch)
    assert [one.body for one in harness.consume(1000)] == [one.body for one in batch]


# -- the topic ---------------------------------------------------------------------------------------------


def test_missing_topic_is_not_made(client: str, guarded: KafkaBroker, authority: Authority) -> None:
    """Even where the broker makes topics by itself, connecting does not bring one into being."""
    sink = make(client, guarded, topic="typo-{group}", **access(authority))
    with pytest.raises(SinkMisconfigured, match=r"'typo-uploads' does not exist") as caught:
        sink.connect()
    assert caught.value.reason == "not_found"
    assert "create_topic" in caught.value.hint
    assert "typo-uploads" not in guarded.topics.names()


def test_create_topic(client: str, kafka: KafkaBroker) -> None:
    """With create_topic a missing topic is made with so many partitions, and used at once."""
    name = f"made-{client}"
    sink = make(
        client, kafka, topic=name, partition=4, create_topic={"partitions": 5, "replication_factor": 1}
    )
    with contextlib.closing(sink):
        publish_connected(sink, messages(3))
        assert name in kafka.topics.names()
        sink.connect()


def test_create_topic_that_cannot_be(client: str, kafka: KafkaBroker) -> None:
    """More replicas than brokers is an operator's fault, and said so."""
    sink = make(client, kafka, topic=f"no-{client}", create_topic={"replication_factor": 3})
    with contextlib.closing(sink), pytest.raises(SinkMisconfigured) as caught:
        sink.connect()
    assert "replication_factor" in caught.value.hint


def test_partition_out_of_range(harness: KafkaHarness) -> None:
    """A partition that the topic does not have is named before anything is sent."""
    with pytest.raises(SinkMisconfigured, match="has no partition 7") as caught:
        harness.make(partition=7).connect()
    assert caught.value.reason == "not_found"


def test_topic_deleted_while_running(harness: KafkaHarness) -> None:
    """A topic deleted under a session ends it; once it is made again the next session writes to it."""
    sink = harness.make(delivery_timeout="3s")
    publish_connected(sink, messages(5))
    harness.delete_topic()
    with pytest.raises(SinkUnavailable):
        sink.publish(messages(5, 6))
    sink.close()
    eventually(lambda: is_refused(sink), what="a connect that finds no topic", poll=0.1)
    harness.create_topic()
    publish_connected(sink, messages(5, 6))
    assert [one.sequence for one in harness.consume(5)] == [6, 7, 8, 9, 10]


# -- identity ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_password(secured: KafkaHarness, authority: Authority, mechanism: str) -> None:
    """With the right password and a trusted certificate messages are taken."""
    publish_connected(secured.make(**access(authority, mechanism)), messages(10))
    assert len(secured.consume(10)) == 10


def test_password_file_is_read_again(secured: KafkaHarness, authority: Authority, tmp_path: Path) -> None:
    """A password that was corrected in its file is used by the next connect."""
    file = tmp_path / "password"
    file.write_text("wrong\n")
    given = access(authority)
    given["sasl"] = {"mechanism": "PLAIN", "username": "alice", "password_file": str(file)}
    sink = secured.make(**given)
    with pytest.raises(SinkMisconfigured):
        sink.connect()
    file.write_text(f"{PASSWORD}\n")
    publish_connected(sink, messages(1))


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_secrets_are_never_shown(
    secured: KafkaHarness, authority: Authority, mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither errors nor logs at the finest level show a password, right or wrong, or a message."""
    caplog.set_level(0)
    right = secured.make(**access(authority, mechanism))
    publish_connected(right, messages(1))
    wrong = secured.make(**access(authority, mechanism, "the-wrong-one"))
    with pytest.raises(SinkMisconfigured) as caught:
        wrong.connect()
    options = KafkaSink.Options.model_validate({"bootstrap_servers": ["h"], **access(authority, mechanism)})
    shown = f"{caught.value} {caught.value!r} {caught.value.__cause__!r} {right!r} {options!r} {caplog.text}"
    assert caught.value.reason == "auth"
    for secret in (PASSWORD, "the-wrong-one", "2026/", "partitionkey"):
        assert secret not in shown


def test_unknown_authority(secured: KafkaHarness, authority: Authority, tmp_path: Path) -> None:
    """A certificate of an authority that is not trusted is refused, unless verification is switched off."""
    stranger = Authority(tmp_path)
    given = access(authority) | {"tls": {"ca_file": str(stranger.certificate)}}
    with pytest.raises(SinkMisconfigured, match=r"(?i)certificate") as caught:
        secured.make(**given).connect()
    assert "ca_file" in caught.value.hint
    publish_connected(secured.make(**given | {"tls": {"insecure": True}}), messages(1))


def test_certificate_of_another_host(client: str, authority: Authority, own_kafka: object) -> None:
    """A certificate that was issued for another name is refused."""
    certificate = authority.issue("other.test", name="other")
    broker = own_kafka(security="SSL", certificate=certificate)  # type: ignore[operator]
    sink = make(client, broker, tls={"ca_file": str(authority.certificate)})
    with contextlib.closing(sink), pytest.raises(SinkMisconfigured) as caught:
        sink.connect()
    assert "host name" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        pytest.param({}, SinkUnavailable, id="no-tls-no-sasl"),
        pytest.param({"tls": {"insecure": True}}, SinkUnavailable, id="no-sasl"),
    ],
)
def test_security_that_does_not_match(
    client: str, guarded: KafkaBroker, options: dict[str, object], kind: type[Exception]
) -> None:
    """A listener that wants more than is configured is an error within the time-out, with its address."""
    sink = make(client, guarded, connect_timeout="3s", **options)
    with contextlib.closing(sink), pytest.raises(kind, match=guarded.address):
        sink.connect()


def test_tls_at_a_plain_port(client: str, kafka: KafkaBroker) -> None:
    """TLS to a listener without it is an error within the time-out."""
    sink = make(client, kafka, connect_timeout="3s", tls={"insecure": True})
    with contextlib.closing(sink), pytest.raises(SinkUnavailable, match=kafka.address):
        sink.connect()


def test_name_that_does_not_resolve(client: str, kafka: KafkaBroker) -> None:
    """A host name that nobody knows is said to be that."""
    sink = make(client, kafka, bootstrap_servers=["no-such-host.invalid:9092"])
    with contextlib.closing(sink), pytest.raises(SinkUnavailable, match=r"no-such-host\.invalid") as caught:
        sink.connect()
    assert "bootstrap_servers" in caught.value.hint


def test_a_session_that_was_not_begun_leaves_no_thread(client: str, kafka: KafkaBroker) -> None:
    """Whoever keeps the error of a failed connection keeps nothing of it alive."""
    sink = make(client, kafka, bootstrap_servers=[f"127.0.0.1:{free_port()}"])
    before = library_threads()
    with contextlib.closing(sink), pytest.raises(SinkUnavailable) as kept:
        sink.connect()
    leaves_no_thread(before)
    assert kept.value.__traceback__ is not None, "the error is kept until here"


def test_second_server_is_tried(harness: KafkaHarness) -> None:
    """One bootstrap server that is down does not matter while another answers."""
    down = harness.wrong_host["bootstrap_servers"]
    publish_connected(harness.make(bootstrap_servers=[*down, harness.broker.address]), messages(1))


# -- refusals ----------------------------------------------------------------------------------------------


def test_too_large_for_the_broker(client: str, kafka: KafkaBroker) -> None:
    """What only the broker finds too large is rejected alone, and its neighbours are taken in order."""
    with contextlib.closing(
        KafkaHarness(kafka, client, topic_config={"max.message.bytes": "20000"})
    ) as harness:
        sink = harness.make()
        sink.connect()
        batch = [*messages(100), *messages(1, 101, body_bytes=50_000), *messages(100, 102)]
        outcomes = sink.publish(batch)
        assert outcomes[100].verdict is Verdict.REJECTED
        assert outcomes[100].reason == "too_large"
        assert {one.verdict for place, one in enumerate(outcomes) if place != 100} == {Verdict.ACCEPTED}
        publish_all(sink, messages(10, 202))
        arrived = [one.sequence for one in harness.consume(210)]
    assert set(arrived) == set(range(1, 212)) - {101}
    # In the numbers without the rejected one, repeats go back and take all after it again.
    assert_go_back_n([number if number < 101 else number - 1 for number in arrived], 1, 210)


def test_batches_too_large_for_the_broker(client: str, kafka: KafkaBroker) -> None:
    """A topic that takes less at once than the client sends together still takes everything."""
    with contextlib.closing(
        KafkaHarness(kafka, client, topic_config={"max.message.bytes": "30000"})
    ) as harness:
        sink = harness.make()
        sink.connect()
        publish_all(sink, messages(1000))
        publish_all(sink, messages(1000, 1001))
        arrived = [one.sequence for one in harness.consume(2000)]
    assert_go_back_n(arrived, 1, 2000)


# -- failures ----------------------------------------------------------------------------------------------


def test_broker_crash_in_the_middle(harness: KafkaHarness) -> None:
    """Over a crash of the broker a relay's loop delivers everything, in order, with repeats at most."""
    sink = harness.make()
    runner = Relay(sink, messages(5000), goes_on=True)
    runner.start()
    eventually(lambda: runner.confirmed > 3000, what="some are confirmed", within=60)
    harness.stop_broker()
    eventually(lambda: runner.failures > 0, what="the relay notices", within=60)
    before = runner.confirmed
    harness.start_broker()
    eventually(lambda: runner.confirmed > before + 3000, what="more are confirmed", within=120)
    runner.goes_on = False
    runner.join(60)
    assert not runner.is_alive()
    last = runner.confirmed
    assert_go_back_n([one.sequence for one in harness.consume(last)], 1, last)


def test_connection_that_died_while_idle(harness: KafkaHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that was restarted while nothing was sent costs no failed publish."""
    monkeypatch.setattr(kafka_python, "_IDLE_SECONDS", 0.0)
    sink = harness.make()
    publish_connected(sink, messages(1))
    harness.stop_broker()
    harness.start_broker()
    publish_all(sink, messages(1, 2))
    assert [one.sequence for one in harness.consume(2)] == [1, 2]


def test_clock_ahead(harness: KafkaHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a clock stamped that is ahead is refused with advice, never for good; then it is taken."""
    now = time.time()
    batch = [message._replace(time=now + 86_400.0) for message in messages(5)]
    sink = harness.make()
    with monkeypatch.context() as patch:
        patch.setattr(kafka, "time", SimpleNamespace(time=lambda: now + 86_400.0))
        publish_connected(sink, messages(1, 100))
        with pytest.raises(SinkUnavailable, match="this machine's clock") as refused:
            sink.publish(batch)
    assert "LogAppendTime" in refused.value.hint
    sink.close()
    eventually(lambda: connects(sink), what="nothing of the session before is on its way")
    publish_all(sink, batch)
    assert [one.sequence for one in harness.consume(6)] == [100, 1, 2, 3, 4, 5]


def test_threads_end(harness: KafkaHarness) -> None:
    """After close no thread of the client library is left."""
    before = library_threads()
    sink = harness.make()
    publish_connected(sink, messages(10))
    sink.close()
    leaves_no_thread(before)


# -- helpers -----------------------------------------------------------------------------------------------


def is_refused(sink: KafkaSink) -> bool:
    """Whether the broker has something against what is configured; it may also not be reached just now."""
    try:
        sink.connect()
    except SinkMisconfigured:
        return True
    except SinkUnavailable:
        return False
    finally:
        sink.close()
    raise AssertionError("connected")


def connects(sink: KafkaSink) -> bool:
    """Whether it could be connected now."""
    try:
        sink.connect()
    except SinkUnavailable:
        return False
    return True


def publish_connected(sink: KafkaSink, batch: list[Message]) -> None:
    """Connect, and publish what must be accepted."""
    sink.connect()
    publish_all(sink, batch)


def make(client: str, broker: KafkaBroker, **options: object) -> KafkaSink:
    """A sink without a topic of its own."""
    settings = {"bootstrap_servers": [broker.address], "client": client, "connect_timeout": "30s", **options}
    return KafkaSink(KafkaSink.Options.model_validate(settings), KafkaHarness.context)


def number_of(body: bytes, batch: list[Message]) -> int:
    """The sequence of the message with this body."""
    return next(one.sequence for one in batch if one.body == body)


def library_threads() -> set[str]:
    """
    The main thread of every client of librdkafka, which ends last, and Python threads of kafka-python.

    Threads for single brokers come and go with the clients that the tests use themselves.
    """
    native = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
            if task.joinpath("comm").read_text().startswith("rdk:main"):
                native.add(str(task))
    return native | {repr(thread) for thread in threading.enumerate() if "kafka" in thread.name}


def leaves_no_thread(before: set[str]) -> None:
    """Fail unless all threads that are new have ended; the kernel forgets one only after its join."""
    eventually(lambda: library_threads() <= before, what="no thread of a client library is left")
