"""What a session that ended has left on its way to Kafka never comes between what the next one sends."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest

from inotify_bridge.errors import SinkUnavailable
from inotify_bridge.sinks import kafka_python, kafka_session
from inotify_bridge.sinks.base import ACCEPTED, Message, Outcome
from inotify_bridge.sinks.kafka import KafkaOptions, KafkaSink
from inotify_bridge.sinks.kafka_records import Record
from inotify_bridge.sinks.kafka_tail import Tail
from tests.brokers import KafkaBroker
from tests.sinks.kafka_harness import KafkaHarness, Relay
from tests.sinks.messages import assert_go_back_n, messages
from tests.sinks.test_kafka import client, guarded, harness, library_threads, publish_connected
from tests.waiting import eventually

__all__ = ["client", "guarded", "harness"]  # the fixtures

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]


def test_abandoned_records_never_come_late(harness: KafkaHarness) -> None:
    """What a session left in a frozen broker never comes between what the next session sends."""
    before = library_threads()
    # Long enough for a client that has just connected to a broker that has just thawed.
    sink = harness.make(delivery_timeout="4s")
    for first in range(1, 50, 10):
        published(sink, messages(1, first))
        harness.broker.freeze()
        try:
            with pytest.raises(SinkUnavailable):
                sink.publish(messages(5, first + 1))
            sink.close()
            eventually(lambda: library_threads() <= before, what="the end of its threads", within=90.0)
        except BaseException:
            harness.broker.thaw()
            raise
        # As close behind the old session as can be: the new one dials while the broker is still frozen.
        runner = Relay(sink, messages(9, first + 1))
        runner.start()
        harness.broker.thaw()
        runner.join(120)
        assert runner.confirmed == 9
        sink.close()
    arrived = [one.sequence for one in harness.consume(50)]
    assert len(arrived) > 50, "nothing was left in the frozen broker: the fault did not happen"
    assert_go_back_n(arrived, 1, 50)


def test_late_request_of_an_old_session_is_refused(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With kafka-python the broker itself refuses what an old session sends after a new one has written."""
    with contextlib.closing(KafkaHarness(kafka, "kafka-python")) as harness:
        old, new = (Record(0, b"k", body, (), 1) for body in (b"old", b"new"))
        client = kafka_python.PythonClient(harness.options(), harness.topic, "late")
        client.open()
        assert client.send([old]) == [ACCEPTED]
        connection, late = client._leaders[0], kafka_python._Parcel(0, [0])
        client._encode([late], [old])
        request = client._produce_request([late])
        # The network keeps the connection and delivers later: nothing that a client could prevent.
        with monkeypatch.context() as patch:
            patch.setattr(type(connection), "abort", lambda self: None)
            patch.setattr(type(connection), "interrupt", lambda self: None)
            client.close()
        client.open()
        assert client.send([new]) == [ACCEPTED]
        answer = connection.call(request, 10)
        client.close()
        connection.abort()
        assert answer.responses[0].partition_responses[0].error_code == 47  # INVALID_PRODUCER_EPOCH
        assert [record.value for record in harness.read()] == [b"old", b"new"]


def published(sink: KafkaSink, batch: list[Message]) -> None:
    """Connect and publish, as often as it takes: a broker that was frozen leads nothing for a while."""

    def attempt() -> bool:
        try:
            publish_connected(sink, batch)
        except SinkUnavailable:
            sink.close()
            return False
        return True

    eventually(attempt, within=120, what="a broker that takes messages again")


class Session(kafka_session.Session):
    """One whose parts are not looked at."""

    def _is_open(self) -> bool:
        raise AssertionError

    def _begin(self) -> int:
        raise AssertionError("begun after the close")

    def _send(self, records: Sequence[Record]) -> Sequence[Outcome]:
        raise AssertionError

    def _check(self) -> None:
        raise AssertionError

    def _tail(self, partition: int) -> AbstractContextManager[Tail]:
        raise AssertionError

    def _drop(self, unconfirmed: bool = False) -> None:
        """There is nothing."""


def test_a_close_while_it_opens() -> None:
    """A session that is closed while its opening waits for the one before is not begun."""
    session = Session(KafkaOptions(bootstrap_servers=("localhost:1",), topic="t"), "t", "test")
    session.close()
    with ThreadPoolExecutor() as pool:
        with session._in_use:
            opening = pool.submit(session.open)
            eventually(lambda: not session._closed.is_set(), what="the opening has begun")
            closing = pool.submit(session.close)
            eventually(session._closed.is_set, what="the close has come")
        closing.result(60)
        with pytest.raises(SinkUnavailable, match="being closed"):
            opening.result(60)
