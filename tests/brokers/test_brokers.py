"""The brokers that the other tests rely on: they are real, keep their data, and die when told to."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import uuid

import pika
import pika.exceptions
import pytest
from confluent_kafka import KafkaError, Producer
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from tests.brokers import Authority, Broker, BrokerError, Certificate, KafkaBroker, RabbitmqBroker
from tests.brokers.kafka import MECHANISMS
from tests.conftest import BrokerFactory
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(600)

BODY = b"a.csv was written"
AMQP_HEADER = b"AMQP\x00\x00\x09\x01"
API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)  # length, request, version, correlation, no client id


def send_to_rabbitmq(url: str, queue: str, tls: ssl.SSLContext | None = None) -> None:
    """Put `BODY` into a durable queue, confirmed."""
    parameters = pika.URLParameters(url)
    if tls:
        parameters.ssl_options = pika.SSLOptions(tls, parameters.host)
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True)
        channel.confirm_delivery()
        channel.basic_publish("", queue, BODY, pika.BasicProperties(delivery_mode=2))


def received_from_rabbitmq(url: str, queue: str) -> bytes | None:
    """The first message of a queue, which stays in it."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        body: bytes | None = connection.channel().basic_get(queue, auto_ack=False)[2]
        return body


def send_to_kafka(address: str, topic: str, **security: str) -> None:
    """Put `BODY` into a topic, confirmed."""
    producer = KafkaProducer(bootstrap_servers=address, **security)
    try:
        producer.send(topic, BODY).get(timeout=90)
    finally:
        producer.close()


def received_from_kafka(address: str, topic: str) -> bytes | None:
    """The first message of a topic."""
    consumer = KafkaConsumer(
        bootstrap_servers=address, auto_offset_reset="earliest", consumer_timeout_ms=90000
    )
    try:
        consumer.assign([TopicPartition(topic, 0)])
        return next((bytes(record.value) for record in consumer), None)
    finally:
        consumer.close()


@pytest.fixture
def name() -> str:
    """A queue or topic of the test's own."""
    return f"test-{uuid.uuid4().hex[:8]}"


@pytest.mark.rabbitmq
def test_rabbitmq_keeps_what_it_confirmed(rabbitmq: RabbitmqBroker, name: str) -> None:
    """A confirmed message survives an orderly stop and a crash."""
    send_to_rabbitmq(rabbitmq.url, name)
    rabbitmq.stop()
    assert not rabbitmq.alive
    rabbitmq.start()
    assert received_from_rabbitmq(rabbitmq.url, name) == BODY
    rabbitmq.kill()
    assert not rabbitmq.alive
    rabbitmq.start()
    assert received_from_rabbitmq(rabbitmq.url, name) == BODY


@pytest.mark.kafka
def test_kafka_keeps_what_it_confirmed(kafka: KafkaBroker, name: str) -> None:
    """A confirmed message survives an orderly stop and a crash."""
    kafka.create_topic(name)
    send_to_kafka(kafka.address, name)
    kafka.stop()
    assert not kafka.alive
    kafka.start()
    assert received_from_kafka(kafka.address, name) == BODY
    kafka.kill()
    assert not kafka.alive
    kafka.start()
    assert received_from_kafka(kafka.address, name) == BODY


@pytest.mark.rabbitmq
@pytest.mark.kafka
@pytest.mark.parametrize(("kind", "request_bytes"), [("rabbitmq", AMQP_HEADER), ("kafka", API_VERSIONS)])
def test_a_frozen_broker_is_silent(request: pytest.FixtureRequest, kind: str, request_bytes: bytes) -> None:
    """A frozen broker is alive and takes connections, but does not answer until it is thawed."""
    broker: Broker = request.getfixturevalue(kind)
    broker.freeze()
    assert broker.alive
    with socket.create_connection(("127.0.0.1", broker.port), timeout=0.5) as client:
        client.sendall(request_bytes)
        with pytest.raises(TimeoutError):
            client.recv(1)
        broker.thaw()
        client.settimeout(30)
        assert client.recv(1)


@pytest.mark.rabbitmq
def test_rabbitmqctl_speaks_to_this_node(rabbitmq: RabbitmqBroker, name: str) -> None:
    """`ctl` asks the broker that the test uses, and raises with rabbitmqctl's words."""
    send_to_rabbitmq(rabbitmq.url, name)
    eventually(
        lambda: f"{name}\t1" in rabbitmq.ctl("list_queues", "name", "messages"), what="the queue is listed"
    )
    with pytest.raises(BrokerError, match="no-such-command"):
        rabbitmq.ctl("no-such-command")


@pytest.mark.rabbitmq
@pytest.mark.kafka
@pytest.mark.parametrize("kind", ["rabbitmq", "kafka"])
def test_only_loopback_listens(request: pytest.FixtureRequest, kind: str) -> None:
    """Every TCP socket on which a broker listens is bound to 127.0.0.1."""
    broker: Broker = request.getfixturevalue(kind)
    addresses = listening_addresses(broker.pid)
    assert addresses
    assert all(address.endswith("0100007F") for address in addresses)


def listening_addresses(pid: int) -> set[str]:
    """Local addresses, as in /proc/net/tcp, of the sockets that a process listens on."""
    links = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            links.add(os.readlink(entry.path))
    listening = set()
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{table}") as lines:
            for line in list(lines)[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                if state == "0A" and f"socket:[{inode}]" in links:
                    listening.add(local.partition(":")[0])
    return listening


@pytest.mark.rabbitmq
def test_rabbitmq_over_tls(
    own_rabbitmq: BrokerFactory[RabbitmqBroker], authority: Authority, name: str
) -> None:
    """A client that trusts the private authority gets in, with the right password only."""
    broker = own_rabbitmq(user="bridge", password="s3cret", certificate=authority.issue())
    context = ssl.create_default_context(cafile=str(authority.certificate))
    send_to_rabbitmq(broker.tls_url, name, context)
    assert received_from_rabbitmq(broker.url, name) == BODY
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        send_to_rabbitmq(broker.tls_url.replace("s3cret", "wrong"), name, context)


@pytest.mark.rabbitmq
def test_a_certificate_for_another_host(
    own_rabbitmq: BrokerFactory[RabbitmqBroker], authority: Authority
) -> None:
    """A client refuses a certificate that stands for another host, though it trusts the authority."""
    broker = own_rabbitmq(certificate=authority.issue("elsewhere.test", name="elsewhere"))
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with (
        socket.create_connection(("127.0.0.1", broker.tls_port), timeout=30) as plain,
        pytest.raises(ssl.SSLCertVerificationError, match="match"),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


@pytest.mark.kafka
def test_kafka_with_passwords_over_tls(
    own_kafka: BrokerFactory[KafkaBroker], authority: Authority, name: str
) -> None:
    """SASL over TLS lets the right password in and the wrong one not, with each mechanism."""
    certificate = authority.issue()
    broker = own_kafka(security="SASL_SSL", users={"bridge": "s3cret"}, certificate=certificate)
    for mechanism in MECHANISMS:
        topic = f"{name}-{mechanism}"
        broker.create_topic(topic)
        send_to_kafka(
            broker.address,
            topic,
            security_protocol="SASL_SSL",
            ssl_cafile=str(certificate.authority),
            sasl_mechanism=mechanism,
            sasl_plain_username="bridge",
            sasl_plain_password="s3cret",
        )
        assert received_from_kafka(broker.plain_address, topic) == BODY
        assert refusal(broker, certificate, mechanism, password="wrong") == KafkaError._AUTHENTICATION


def refusal(broker: KafkaBroker, certificate: Certificate, mechanism: str, password: str) -> int:
    """The first code by which librdkafka tells why (kafka-python leaks sockets when it is refused)."""
    errors: list[int] = []
    late = {KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN}
    producer = Producer(
        {
            "bootstrap.servers": broker.address,
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(certificate.authority),
            "sasl.mechanism": mechanism,
            "sasl.username": "bridge",
            "sasl.password": password,
            "error_cb": lambda error: None if error.code() in late else errors.append(error.code()),
            "log_level": 0,
        }
    )
    eventually(lambda: producer.poll(0.1) or errors, what="an error is reported")
    return errors[0]


@pytest.mark.rabbitmq
@pytest.mark.kafka
@pytest.mark.parametrize("kind", [RabbitmqBroker, KafkaBroker])
def test_nothing_is_left(
    kind: type[Broker], own_rabbitmq: BrokerFactory[RabbitmqBroker], own_kafka: BrokerFactory[KafkaBroker]
) -> None:
    """After `close` neither the process nor the temporary directory is there."""
    broker = own_rabbitmq() if kind is RabbitmqBroker else own_kafka()
    pid, directory = broker.pid, broker.directory
    broker.close()
    assert not os.path.exists(f"/proc/{pid}")
    assert not directory.exists()
