"""The memory sink: the conformance suite, and the failures it can be told to make."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from inotify_bridge.errors import SinkUnavailable
from inotify_bridge.sinks.base import Verdict
from inotify_bridge.sinks.memory import MemoryBroker, MemorySink
from tests.sinks.conformance import SinkConformance
from tests.sinks.harness import SinkHarness
from tests.sinks.messages import Received, messages, received

_numbers = itertools.count()


class MemoryHarness(SinkHarness):
    """A memory sink with a broker of its own."""

    broker: MemoryBroker
    not_applicable: ClassVar = {
        "wrong_host": "it is reached without a network",
        "wrong_password": "it asks for none",
        "missing_target": "a broker is made at its first use",
        "unroutable": "it has no routing",
    }
    too_large_bytes = 5000
    limited = MappingProxyType({"max_message_bytes": "4kB"})

    def __init__(self) -> None:
        self._name = f"conformance-{next(_numbers)}"
        self.broker = MemoryBroker.named(self._name)
        self._sinks: list[MemorySink] = []
        self._read = 0

    def make(self, **overrides: Any) -> MemorySink:
        options = MemorySink.Options.model_validate({"broker": self._name, **overrides})
        self._sinks.append(MemorySink(options, self.context))
        return self._sinks[-1]

    def consume(self, count: int, within: float = 60.0) -> list[Received]:
        self.broker.wait(lambda held: len({one.sequence for one in held}) >= count, within)
        held = self.broker.messages
        new, self._read = held[self._read :], len(held)
        return [received(one.body) for one in new]

    def stop_broker(self) -> None:
        self.broker.stop()

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()
        self.broker.clear()


@pytest.fixture
def harness() -> Iterator[MemoryHarness]:
    made = MemoryHarness()
    yield made
    made.close()


class TestMemory(SinkConformance):
    """The conformance suite."""


def test_nack_answers_retry_and_takes_the_rest(harness: MemoryHarness) -> None:
    """A scripted nack hits one message, so many times, and what stands behind it is taken."""
    sink = harness.make()
    sink.connect()
    harness.broker.nack(2, times=1)
    verdicts = [one.verdict for one in sink.publish(messages(3))]
    assert verdicts == [Verdict.ACCEPTED, Verdict.RETRY, Verdict.ACCEPTED]
    assert [one.verdict for one in sink.publish(messages(1, 2))] == [Verdict.ACCEPTED]


def test_reject_hits_what_matches(harness: MemoryHarness) -> None:
    """A scripted rule rejects exactly the messages for which it holds, with the reason given."""
    sink = harness.make()
    sink.connect()
    harness.broker.reject(lambda message: message.sequence % 2 == 0, "too_large")
    outcomes = sink.publish(messages(4))
    assert [one.verdict is Verdict.REJECTED for one in outcomes] == [False, True, False, True]
    assert outcomes[1].reason == "too_large"


def test_break_after_takes_and_does_not_confirm(harness: MemoryHarness) -> None:
    """A connection that breaks after three messages leaves three at the broker, none of them confirmed."""
    sink = harness.make()
    sink.connect()
    harness.broker.break_after(3)
    with pytest.raises(SinkUnavailable):
        sink.publish(messages(10))
    assert [one.sequence for one in harness.broker.messages] == [1, 2, 3]
    with pytest.raises(SinkUnavailable):
        sink.publish(messages(1, 4))
    sink.connect()
    assert [one.verdict for one in sink.publish(messages(1, 4))] == [Verdict.ACCEPTED]
