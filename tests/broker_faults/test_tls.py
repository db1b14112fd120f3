"""TLS to real brokers with a private authority: who is not who he says he is gets nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inotify_bridge.errors import SinkMisconfigured
from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.brokers import Authority, KafkaBroker, RabbitmqBroker
from tests.brokers.proxy import Proxy
from tests.sinks.conformance import publish_all
from tests.sinks.harness import SinkHarness
from tests.sinks.kafka_harness import KafkaHarness
from tests.sinks.messages import messages
from tests.sinks.rabbitmq_harness import RabbitmqHarness
from tests.waiting import eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.kafka, pytest.mark.timeout(600)]

KINDS = ("rabbitmq", "kafka-python", "confluent")
OTHER_ADDRESS = "127.0.0.2"  # stands in no certificate

Open = Callable[[str, bool], SinkHarness]


@pytest.fixture(scope="module")
def harness_of(authority: Authority) -> Iterator[Open]:
    """Gives a harness for a kind of sink, at a broker with a good certificate or with an expired one."""
    brokers: dict[tuple[bool, bool], Any] = {}
    with contextlib.ExitStack() as stack:

        def broker(is_kafka: bool, expired: bool) -> Any:
            if (is_kafka, expired) not in brokers:
                if missing := (KafkaBroker if is_kafka else RabbitmqBroker).missing():
                    pytest.skip(missing)
                certificate = authority.issue(name=f"tls-{is_kafka}-{expired}", expired=expired)
                made: Any = (
                    KafkaBroker(security="SSL", certificate=certificate)
                    if is_kafka
                    else RabbitmqBroker(certificate=certificate)
                )
                brokers[is_kafka, expired] = stack.enter_context(made)
            return brokers[is_kafka, expired]

        def harness(kind: str, expired: bool) -> SinkHarness:
            found = broker(kind != "rabbitmq", expired)
            made = RabbitmqHarness(found) if kind == "rabbitmq" else KafkaHarness(found, kind)
            return stack.enter_context(contextlib.closing(made))

        yield harness


def address(harness: SinkHarness, host: str = "localhost", port: int = 0) -> dict[str, Any]:
    """Options that lead to the TLS port of the harness's broker, or to another place."""
    broker = harness.broker
    if isinstance(broker, RabbitmqBroker):
        return {"url": f"amqps://{broker.user}:{broker.password}@{host}:{port or broker.tls_port}/%2F"}
    return {"bootstrap_servers": [f"{host}:{port or broker.port}"]}


@pytest.mark.parametrize("kind", KINDS)
def test_right_host(harness_of: Open, authority: Authority, kind: str) -> None:
    """A certificate of the private authority for the right host is trusted, and messages arrive."""
    harness = harness_of(kind, False)
    sink = harness.make(**address(harness), tls={"ca_file": str(authority.certificate)})
    sink.connect()
    publish_all(sink, messages(10))
    assert len(harness.consume(10)) == 10


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_authority(harness_of: Open, kind: str) -> None:
    """A certificate of an authority that nobody named is refused."""
    harness = harness_of(kind, False)
    assert_distrusted(harness, tls={})


@pytest.mark.parametrize("kind", KINDS)
def test_other_host(harness_of: Open, authority: Authority, kind: str) -> None:
    """A trusted certificate for another host is refused."""
    harness = harness_of(kind, False)
    port = harness.broker.tls_port if kind == "rabbitmq" else harness.broker.port
    with contextlib.closing(Proxy(port, OTHER_ADDRESS)) as proxy:
        place = address(harness, OTHER_ADDRESS, proxy.port)
        assert_distrusted(harness, **place, tls={"ca_file": str(authority.certificate)})
        assert proxy.happened["connections"]


@pytest.mark.parametrize("kind", KINDS)
def test_expired(harness_of: Open, authority: Authority, kind: str) -> None:
    """A trusted certificate that has expired is refused."""
    harness = harness_of(kind, True)
    assert_distrusted(harness, tls={"ca_file": str(authority.certificate)})


@pytest.mark.parametrize("kind", KINDS)
def test_insecure_is_loud(harness_of: Open, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """With `insecure` even an expired certificate of a stranger is taken, and one warning says so."""
    harness = harness_of(kind, True)
    sink = harness.make(**address(harness), tls={"insecure": True})
    sink.connect()
    publish_all(sink, messages(10))
    assert len(harness.consume(10)) == 10
    warnings = [one for one in caplog.records if "insecure" in one.getMessage()]
    assert [one.levelname for one in warnings] == ["WARNING"]


def test_insecure_sets_a_gauge(
    harness_of: Open, authority: Authority, trees: Trees, launch: Callable[..., AgentProcess]
) -> None:
    """An agent shows by a gauge which of its sinks verify nobody, and warns of them in its log, once each."""
    rabbitmq, kafka = harness_of("rabbitmq", False), harness_of("kafka-python", False)
    name, topic = rabbitmq.context.client_id, kafka.topic  # type: ignore[attr-defined]
    verified, blind = {"ca_file": str(authority.certificate)}, {"insecure": True}
    queue = {"type": "rabbitmq", **address(rabbitmq), "exchange": name, "queue": name}
    stream = {"type": "kafka", **address(kafka), "topic": topic}
    agent = launch(
        [
            {"name": "queue", **queue, "tls": verified},
            {"name": "blind-queue", **queue, "tls": blind},
            {"name": "stream", **stream, "tls": verified},
            {"name": "blind-stream", **stream, "tls": blind},
        ]
    ).start()
    trees.files("quiet", 3)
    for sink in ("queue", "blind-queue", "stream", "blind-stream"):
        eventually(lambda sink=sink: agent.delivered(sink), within=60, what=f"delivery to {sink}", poll=0.1)  # type: ignore[misc]
        assert agent.metric("sink_insecure", sink=sink) == sink.startswith("blind")
        assert agent.log.count(f"sink {sink}: tls.insecure") == sink.startswith("blind")
    agent.stop()


def assert_distrusted(harness: SinkHarness, **options: Any) -> None:
    """Connecting is refused as an operator's fault, over the certificate, and nothing was sent."""
    sink = harness.make(**{**address(harness), **options})
    with pytest.raises(SinkMisconfigured, match=r"(?i)certificate"):
        sink.connect()
    with pytest.raises(Exception, match="not connected"):
        sink.publish(messages(1))
    assert harness.consume(0) == []
