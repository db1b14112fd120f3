"""The RabbitMQ sink when something breaks: lost connections under a relay, TLS, alarms, frozen brokers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks.base import Verdict
from tests.brokers import Authority, RabbitmqBroker
from tests.brokers.proxy import Proxy
from tests.outbox.recording import QUICK, Recording, Watcher
from tests.sinks.conformance import Sender, publish_all
from tests.sinks.messages import assert_go_back_n, messages
from tests.sinks.rabbitmq_harness import RabbitmqHarness
from tests.waiting import eventually

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(600)]

_ACK_FRAME_BYTES = 21
_KILLS = 5
_PORTION = 2000


@pytest.fixture
def harness(rabbitmq: RabbitmqBroker) -> Iterator[RabbitmqHarness]:
    with contextlib.closing(RabbitmqHarness(rabbitmq)) as made:
        yield made


@pytest.fixture
def proxy(rabbitmq: RabbitmqBroker) -> Iterator[Proxy]:
    with contextlib.closing(Proxy(rabbitmq.port)) as made:
        yield made


@pytest.fixture(scope="module")
def secure(rabbitmq: RabbitmqBroker, authority: Authority) -> Iterator[RabbitmqBroker]:
    """A broker of this module with a TLS listener, whose alarms and users may be changed."""
    with RabbitmqBroker(certificate=authority.issue()) as broker:
        yield broker


@pytest.fixture
def own(secure: RabbitmqBroker) -> Iterator[RabbitmqHarness]:
    with contextlib.closing(RabbitmqHarness(secure)) as made:
        yield made


def through(proxy: Proxy, harness: RabbitmqHarness) -> str:
    """The broker's URL, by way of the proxy."""
    return harness.broker.url.replace(str(harness.broker.port), str(proxy.port))


def close_all_connections(broker: RabbitmqBroker) -> None:
    """As an operator would."""
    broker.ctl("close_all_connections", "closed by a test")


def test_resumes_at_the_lowest_unconfirmed(harness: RabbitmqHarness, proxy: Proxy) -> None:
    """
    When the connection is killed while 10,000 messages are unconfirmed, sending resumes at the lowest of them
    and repeats all after it: a consumer never sees 1 3 2.
    """
    watcher = Watcher()
    limits = QUICK._replace(batch_messages=12_000, batch_bytes=64 * 1024**2)
    with Recording() as recording:
        # Neither the confirms nor the heartbeats that are swallowed end the connection before the proxy does.
        patience = {"confirm_timeout": "5m", "heartbeat": "5m"}
        sink = harness.make(url=through(proxy, harness), window=10_000, **patience)
        recording.relay(sink, watcher=watcher, limits=limits)
        recording.commit(messages(5_000))
        recording.confirmed(5_000)
        proxy.hold_back()
        recording.commit(messages(15_000, 5_001))
        eventually(
            lambda: harness.waiting_in_queue() == 15_000, within=100, what="10,000 more there", poll=0.1
        )
        assert len(watcher.acked_sequences) == 5_000
        proxy.heal()
        recording.confirmed(20_000)
    assert watcher.connections == 2
    assert set(watcher.errors) == {"connection"}
    sequences = [one.sequence for one in harness.consume(20_000)]
    assert_go_back_n(sequences, 1, 20_000)
    assert sequences == [*range(1, 15_001), *range(5_001, 20_001)]


def test_killed_again_and_again_under_load(harness: RabbitmqHarness, proxy: Proxy) -> None:
    """Connections killed at any moment of a run lose nothing, and repeats always begin at a hole."""
    watcher = Watcher()
    last = 3 * _PORTION  # there is always more to be sent than one batch
    limits = QUICK._replace(batch_messages=_PORTION)
    with Recording() as recording:
        recording.commit(messages(last))
        relay = recording.relay(harness.make(url=through(proxy, harness)), watcher=watcher, limits=limits)
        while watcher.connections <= _KILLS:
            confirmed = relay.status.position.sequence
            recording.commit(messages(_PORTION, last + 1))
            last += _PORTION
            eventually(lambda before=confirmed: relay.status.position.sequence > before, within=60)  # type: ignore[misc]
            proxy.reset()
        recording.confirmed(last)
    assert_go_back_n([one.sequence for one in harness.consume(last)], 1, last)


def test_confirmed_before_the_loss_is_told(harness: RabbitmqHarness, proxy: Proxy) -> None:
    """A lost connection keeps the verdicts that had come, the rest is to be sent again; then it raises."""
    sink = harness.make(url=through(proxy, harness), window=1)
    sink.connect()
    proxy.hold_back(after=_ACK_FRAME_BYTES)
    sender = Sender(sink, messages(5))
    sender.start()
    eventually(lambda: harness.waiting_in_queue() == 2, what="the second message with the broker", poll=0.1)
    proxy.heal()
    sender.finish()
    assert [one.verdict for one in sender.outcomes] == [Verdict.ACCEPTED] + [Verdict.RETRY] * 4
    assert {one.reason for one in sender.outcomes[1:]} == {"connection"}
    with pytest.raises(SinkUnavailable):
        sink.publish(messages(1, 2))


def test_closed_by_the_broker(harness: RabbitmqHarness) -> None:
    """A connection that an operator closes is unavailable, with the operator's words."""
    sink = harness.make()
    sink.connect()
    close_all_connections(harness.broker)
    with pytest.raises(SinkUnavailable, match=r"CONNECTION_FORCED - closed by a test") as caught:
        sink.publish(messages(1))
    assert caught.value.reason == "connection"
    assert not isinstance(caught.value, SinkMisconfigured)


def test_no_confirm_in_time(harness: RabbitmqHarness) -> None:
    """A broker that takes messages and confirms none is given up at the confirm deadline."""
    sink = harness.make(confirm_timeout="1s")
    sink.connect()
    with harness.frozen():
        with pytest.raises(SinkUnavailable, match=r"no confirm within 1 s for 20 messages") as caught:
            sink.publish(messages(20))
        sink.close()
    assert caught.value.reason == "timeout"


def test_frozen_while_connecting(harness: RabbitmqHarness) -> None:
    """A broker that accepts connections and says nothing is given up at the connect deadline."""
    sink = harness.make(connect_timeout="1s")
    with harness.frozen(), pytest.raises(SinkUnavailable, match="no answer within 1 s") as caught:
        sink.connect()
    assert caught.value.reason == "timeout"


def test_silent_connection_ends_by_heartbeat(harness: RabbitmqHarness) -> None:
    """A connection that falls silent is given up after the heartbeat, also while nothing is published."""
    sink = harness.make(heartbeat="2s")
    sink.connect()
    with harness.frozen():
        sender = Sender(sink, messages(1))
        sender.start()
        sender.finish()
    assert isinstance(sender.error, SinkUnavailable)
    assert "has fallen silent" in str(sender.error)


def test_memory_alarm_blocks_and_recovers(own: RabbitmqHarness) -> None:
    """While the broker's memory alarm blocks publishers a publish waits, and ends well when it is over."""
    sink = own.make(confirm_timeout="3s", blocked_connection_timeout="2m")
    sink.connect()
    sender = Sender(sink, messages(500))
    with memory_alarm(own.broker):
        sender.start()
        sender.join(4)  # longer than the confirm deadline, which does not count while blocked
        assert sender.is_alive(), (sender.error, sender.outcomes)
    sender.finish()
    assert [one.verdict for one in sender.outcomes] == [Verdict.ACCEPTED] * 500
    assert [one.sequence for one in own.consume(500)] == list(range(1, 501))


def test_memory_alarm_for_too_long(own: RabbitmqHarness) -> None:
    """A broker that blocks publishers for too long is unavailable, and the error says why."""
    sink = own.make(blocked_connection_timeout="1s")
    sink.connect()
    with (
        memory_alarm(own.broker),
        pytest.raises(SinkUnavailable, match=r"publishers blocked for 1 s: low on memory") as caught,
    ):
        sink.publish(messages(5))
    assert caught.value.reason == "timeout"


@contextlib.contextmanager
def memory_alarm(broker: RabbitmqBroker) -> Iterator[None]:
    """Set the broker's memory alarm; cleared at the end."""
    broker.ctl("set_vm_memory_high_watermark", "0.00001")
    try:
        yield
    finally:
        broker.ctl("set_vm_memory_high_watermark", "0.4")


def test_tls_with_the_right_authority(own: RabbitmqHarness, authority: Authority) -> None:
    """Over TLS with the broker's authority messages arrive."""
    sink = own.make(url=own.broker.tls_url, tls={"ca_file": str(authority.certificate)})
    sink.connect()
    publish_all(sink, messages(2_000))
    assert [one.sequence for one in own.consume(2_000)] == list(range(1, 2_001))


def test_tls_with_an_unknown_authority(own: RabbitmqHarness) -> None:
    """A certificate of an authority that is not trusted is refused."""
    with pytest.raises(SinkMisconfigured, match=r"certificate is not accepted: .*ca_file") as caught:
        own.make(url=own.broker.tls_url).connect()
    assert caught.value.reason == "auth"


def test_tls_of_another_host(own: RabbitmqHarness, authority: Authority) -> None:
    """A certificate for another host name is refused, also with a trusted authority."""
    with contextlib.closing(Proxy(own.broker.tls_port, "127.0.0.2")) as proxy:
        url = own.broker.tls_url.replace("localhost", "127.0.0.2")
        url = url.replace(str(own.broker.tls_port), str(proxy.port))
        with pytest.raises(SinkMisconfigured, match=r"not accepted: IP address mismatch.*127\.0\.0\.2"):
            own.make(url=url, tls={"ca_file": str(authority.certificate)}).connect()


def test_tls_insecure(own: RabbitmqHarness) -> None:
    """Only with tls.insecure a certificate of an unknown authority is taken."""
    sink = own.make(url=own.broker.tls_url, tls={"insecure": True})
    sink.connect()
    publish_all(sink, messages(1))


def test_tls_to_a_port_without(own: RabbitmqHarness) -> None:
    """TLS spoken to a port without TLS, and the other way round, is explained."""
    with pytest.raises(SinkMisconfigured, match="TLS port"):
        own.make(url=own.broker.url.replace("amqp:", "amqps:")).connect()
    with pytest.raises(SinkUnavailable, match="amqps"):
        own.make(url=own.broker.tls_url.replace("amqps:", "amqp:"), connect_timeout="3s").connect()


def test_rotated_password(own: RabbitmqHarness, tmp_path: Path) -> None:
    """The password file is read again at every connect: a rotated password needs no restart."""
    file = tmp_path / "password"
    own.broker.ctl("add_user", "rotating", "first")
    own.broker.ctl("set_permissions", "rotating", ".*", ".*", ".*")
    file.write_text("first\n")
    sink = own.make(url=f"amqp://rotating@{own.broker.address}/%2F", password_file=str(file))
    sink.connect()
    publish_all(sink, messages(1))
    own.broker.ctl("change_password", "rotating", "second")
    with pytest.raises(SinkMisconfigured, match="wrong user name or password for user 'rotating'"):
        sink.connect()
    file.write_text("second\n")
    sink.connect()
    publish_all(sink, messages(1, 2))
    assert [one.sequence for one in own.consume(2)] == [1, 2]


def test_unknown_host(harness: RabbitmqHarness) -> None:
    """A host name that nobody knows is named."""
    with pytest.raises(SinkUnavailable, match=r"nowhere\.invalid:5672.*cannot be resolved") as caught:
        harness.make(url="amqp://guest:guest@nowhere.invalid").connect()
    assert caught.value.reason == "connection"
