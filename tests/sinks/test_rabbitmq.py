"""The RabbitMQ sink against a real RabbitMQ: conformance, what stands on the broker, what is refused."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

import pytest
from cloudevents.core.bindings.rabbitmq import RabbitMQMessage, from_rabbitmq_event
from cloudevents.core.formats.json import JSONFormat

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks.base import ACCEPTED, Message, Sink, Verdict
from tests.brokers import RabbitmqBroker
from tests.sinks.conformance import SinkConformance, publish_all
from tests.sinks.messages import messages
from tests.sinks.rabbitmq_harness import RabbitmqHarness, plain_channel
from tests.waiting import eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(600)]


@pytest.fixture
def harness(rabbitmq: RabbitmqBroker) -> Iterator[RabbitmqHarness]:
    made = RabbitmqHarness(rabbitmq)
    with contextlib.closing(made):
        yield made


@pytest.fixture
def binary(rabbitmq: RabbitmqBroker) -> Iterator[RabbitmqHarness]:
    made = RabbitmqHarness(rabbitmq, content_mode="binary")
    with contextlib.closing(made):
        yield made


class TestRabbitmq(SinkConformance):
    """The conformance suite."""


def test_is_a_sink(harness: RabbitmqHarness) -> None:
    """The class has the three methods of a sink."""
    assert isinstance(harness.make(), Sink)


def test_properties_of_a_structured_message(harness: RabbitmqHarness) -> None:
    """Message id, type, application, time, persistence, content type and routing key are as documented."""
    publish_connected(harness, messages(1))
    ((method, properties, body),) = harness.deliveries(1)
    assert method.routing_key == "uploads.file.written"
    assert method.exchange == harness.name
    assert properties.content_type == "application/cloudevents+json; charset=UTF-8"
    assert properties.message_id == "0192f3a4b5c6d7e8f9a0-000000000001"
    assert properties.type == "io.inotify-bridge.file.written.v1"
    assert properties.app_id == "inotify-bridge"
    assert properties.timestamp == 1763712000
    assert properties.delivery_mode == 2
    assert properties.headers is None
    assert body == messages(1)[0].body


@pytest.mark.parametrize("mode", ["harness", "binary"])
def test_cloudevents_sdk_reads_it(mode: str, request: pytest.FixtureRequest) -> None:
    """The CloudEvents SDK gets the same attributes and data from the message in either content mode."""
    made: RabbitmqHarness = request.getfixturevalue(mode)
    (message,) = messages(1)
    publish_connected(made, [message])
    ((_, properties, body),) = made.deliveries(1)
    event = from_rabbitmq_event(RabbitMQMessage(properties.headers or {}, properties.content_type, body))
    expected = JSONFormat().read(None, message.body)
    assert event.get_attributes() == expected.get_attributes()
    assert event.get_data() == expected.get_data()


def test_binary_mode_carries_data_alone(binary: RabbitmqHarness) -> None:
    """In binary mode the body is the JSON text of data, byte for byte."""
    (message,) = messages(1)
    publish_connected(binary, [message])
    ((_, properties, body),) = binary.deliveries(1)
    assert body == message.data()
    assert properties.content_type == "application/json"
    assert properties.headers["ce-id"] == "0192f3a4b5c6d7e8f9a0-000000000001"


def test_headers_larger_than_a_frame_are_rejected(binary: RabbitmqHarness) -> None:
    """A subject that no frame can carry is rejected as too large, instead of breaking the connection."""
    before, long, after = messages(3)
    long = long._replace(body=long.body.replace(b'"subject":"', b'"subject":"' + b"d/" * 70_000, 1))
    sink = binary.make()
    sink.connect()
    outcomes = sink.publish([before, long, after])
    assert [one.verdict for one in outcomes] == [Verdict.ACCEPTED, Verdict.REJECTED, Verdict.RETRY]
    assert outcomes[1].reason == "too_large"
    publish_all(sink, [after])


def test_body_larger_than_a_frame_is_split(harness: RabbitmqHarness) -> None:
    """A body over several frames arrives whole."""
    batch = messages(2, body_bytes=400_001)
    publish_connected(harness, batch)
    assert [one.body for one in harness.consume(2)] == [one.body for one in batch]


def test_queue_is_durable_quorum_and_bound(harness: RabbitmqHarness) -> None:
    """The declared exchange and queue are durable, of the types asked for, bound by the binding key."""
    harness.make().connect()
    with plain_channel(harness.broker.url) as channel:
        channel.exchange_declare(harness.name, "topic", durable=True)
        channel.queue_declare(harness.name, durable=True, arguments={"x-queue-type": "quorum"})
    bindings = harness.broker.ctl("list_bindings", "source_name", "destination_name", "routing_key")
    assert [harness.name, harness.name, "uploads.#"] in [line.split("\t") for line in bindings.splitlines()]


def test_classic_queue(harness: RabbitmqHarness) -> None:
    """A classic queue is declared where it is asked for."""
    harness.make(queue_type="classic").connect()
    with plain_channel(harness.broker.url) as channel:
        channel.queue_declare(harness.name, durable=True, arguments={"x-queue-type": "classic"})


def test_default_exchange(harness: RabbitmqHarness) -> None:
    """With an empty exchange the routing key names the queue."""
    sink = harness.make(exchange="", routing_key=harness.name)
    sink.connect()
    publish_all(sink, messages(3))
    assert [one.sequence for one in harness.consume(3)] == [1, 2, 3]


def test_exchange_of_another_type(harness: RabbitmqHarness) -> None:
    """An exchange that exists with another type is an operator's fault, in the broker's words."""
    with plain_channel(harness.broker.url) as channel:
        channel.exchange_declare(harness.name, "fanout", durable=True)
        channel.queue_declare(harness.name)
    with pytest.raises(SinkMisconfigured, match=r"inequivalent arg 'type'.*exchange_type") as caught:
        harness.make().connect()
    assert caught.value.reason == "other"


def test_unknown_exchange_type(harness: RabbitmqHarness) -> None:
    """A type that the broker does not know is an operator's fault."""
    with pytest.raises(SinkMisconfigured, match="exchange_type"):
        harness.make(exchange_type="nonsense").connect()


def test_missing_vhost(harness: RabbitmqHarness) -> None:
    """A vhost that does not exist is named."""
    with pytest.raises(SinkMisconfigured, match="vhost nope: no such vhost") as caught:
        harness.make(url=harness.broker.url.replace("%2F", "nope")).connect()
    assert caught.value.reason == "not_found"


def test_vhost_without_permission(harness: RabbitmqHarness) -> None:
    """A user without permissions on the vhost is told so."""
    with (
        user(harness.broker, "stranger") as url,
        pytest.raises(SinkMisconfigured, match="stranger") as caught,
    ):
        harness.make(url=url).connect()
    assert caught.value.reason == "authorization"


def test_no_permission_to_declare(harness: RabbitmqHarness) -> None:
    """A user who may not make the exchange is told so, with what to do."""
    with user(harness.broker, "reader", ("", "", ".*")) as url:
        with pytest.raises(SinkMisconfigured, match=r"ACCESS_REFUSED.*permissions") as caught:
            harness.make(url=url).connect()
        assert caught.value.reason == "authorization"


def test_no_permission_to_publish(harness: RabbitmqHarness) -> None:
    """A user who may not write to the exchange gets nothing accepted."""
    harness.make().connect()
    with user(harness.broker, "reader", ("", "", ".*")) as url:
        sink = harness.make(url=url, queue=None, declare_exchange=False)
        sink.connect()
        with pytest.raises(SinkMisconfigured, match="ACCESS_REFUSED") as caught:
            sink.publish(messages(10))
        assert caught.value.reason == "authorization"
        sink.close()


def test_exchange_deleted_under_way(harness: RabbitmqHarness) -> None:
    """An exchange deleted under an open connection is reported as missing; a new connect makes it again."""
    sink = harness.make()
    sink.connect()
    with plain_channel(harness.broker.url) as channel:
        channel.exchange_delete(harness.name)
    with pytest.raises(SinkMisconfigured, match="no exchange") as caught:
        sink.publish(messages(10))
    assert caught.value.reason == "not_found"
    sink.connect()
    publish_all(sink, messages(10))
    assert {one.sequence for one in harness.consume(10)} == set(range(1, 11))


def test_nothing_goes_out_behind_an_unroutable_message(harness: RabbitmqHarness) -> None:
    """A message without a queue is retried with the routing key named; what is behind it is not sent."""
    sink = harness.make(window=1, binding_key="{group}.file.#")
    sink.connect()
    batch = messages(5)  # the third is a directory's
    outcomes = sink.publish(batch)
    assert outcomes[:2] == [ACCEPTED, ACCEPTED]
    assert {one.verdict for one in outcomes[2:]} == {Verdict.RETRY}
    assert "NO_ROUTE: no queue takes routing key uploads.directory.created" in outcomes[2].detail
    assert [one.sequence for one in harness.consume(2)] == [1, 2]


def test_unroutable_inside_a_window(harness: RabbitmqHarness) -> None:
    """Only what has no queue is retried of a batch that was under way as a whole; the connection goes on."""
    sink = harness.make(binding_key="{group}.file.#")
    sink.connect()
    batch = messages(500)
    outcomes = sink.publish(batch)
    retried = [
        message.kind for message, one in zip(batch, outcomes, strict=True) if one.verdict is Verdict.RETRY
    ]
    assert set(retried) == {"directory.created"}
    assert len(retried) == 100
    publish_all(sink, [one for one in messages(50, 501) if one.kind.startswith("file")])


def test_full_queue_nacks(harness: RabbitmqHarness) -> None:
    """A message that a full queue refuses is retried as nacked, and accepted when there is room again."""
    arguments = {"x-max-length": 3, "x-overflow": "reject-publish"}
    with plain_channel(harness.broker.url) as channel:
        channel.exchange_declare(harness.name, "topic", durable=True)
        channel.queue_declare(harness.name, durable=True, arguments=arguments)
        channel.queue_bind(harness.name, harness.name, "#")
    sink = harness.make(queue=None, window=1)
    sink.connect()
    outcomes = sink.publish(messages(6))
    assert [one.verdict for one in outcomes] == [Verdict.ACCEPTED] * 3 + [Verdict.RETRY] * 3
    assert outcomes[3].reason == "nacked"
    assert [one.sequence for one in harness.consume(3)] == [1, 2, 3]
    publish_all(sink, messages(3, 4))
    assert [one.sequence for one in harness.consume(6)] == [4, 5, 6]


def test_batch_larger_than_the_window(harness: RabbitmqHarness) -> None:
    """A batch of many windows arrives whole and in order."""
    sink = harness.make(window=7)
    sink.connect()
    publish_all(sink, messages(1000))
    assert [one.sequence for one in harness.consume(1000)] == list(range(1, 1001))


def test_threads_end_with_the_sink(harness: RabbitmqHarness) -> None:
    """The I/O thread carries the names of group and sink and is gone after close."""
    before = set(threading.enumerate())
    sink = harness.make()
    sink.connect()
    assert "rabbitmq uploads/orders" in {one.name for one in threading.enumerate()}
    sink.close()
    eventually(lambda: set(threading.enumerate()) <= before, what="the end of its thread")


def test_unexpected_error_ends_the_publish(harness: RabbitmqHarness) -> None:
    """An error on the I/O thread ends a waiting publish with its cause, and leaves no thread or socket."""
    before = set(threading.enumerate())
    sink = harness.make()
    sink.connect()
    with pytest.raises(SinkUnavailable, match="connection lost") as caught:
        sink.publish([messages(1)[0]._replace(body=b"no envelope")])
    assert isinstance(caught.value.__cause__, ValueError)
    sink.close()
    eventually(lambda: set(threading.enumerate()) <= before, what="the end of its thread")
    gc.collect()  # a socket left open would warn here, and warnings are errors


def test_failed_connect_leaves_nothing(harness: RabbitmqHarness) -> None:
    """A connect that failed leaves no thread, though nobody calls close."""
    before = set(threading.enumerate())
    for wrong in (harness.wrong_host, harness.wrong_password, harness.missing_target):
        with pytest.raises(SinkUnavailable):
            harness.make(**wrong).connect()
    eventually(
        lambda: {one for one in threading.enumerate() if one.name.startswith("rabbitmq")} <= before,
        what="the end of their threads",
    )


def test_connection_shows_its_client_id(harness: RabbitmqHarness) -> None:
    """The broker shows the connection under the client id."""
    sink = harness.make()
    sink.connect()
    properties = harness.broker.ctl("list_connections", "client_properties")
    assert harness.name in properties
    assert "inotify-bridge" in properties


def publish_connected(harness: RabbitmqHarness, batch: list[Message]) -> None:
    """Connect a new sink and publish."""
    sink = harness.make()
    sink.connect()
    publish_all(sink, batch)


@contextlib.contextmanager
def user(broker: RabbitmqBroker, name: str, permissions: tuple[str, ...] = ()) -> Iterator[str]:
    """A user of the broker with permissions to configure, write, read; gives the URL."""
    broker.ctl("add_user", name, "secret")
    try:
        if permissions:
            broker.ctl("set_permissions", name, *permissions)
        yield f"amqp://{name}:secret@{broker.address}/%2F"
    finally:
        broker.ctl("delete_user", name)
