"""What a relay shows of itself: pictures that fit together."""

from __future__ import annotations

from typing import Any

import pytest

from inotify_bridge.sinks.memory import MemoryBroker, MemorySink
from tests.outbox.recording import Recording
from tests.outbox.test_relay import broker, recording, sink
from tests.waiting import eventually

__all__ = ["broker", "recording", "sink"]  # the fixtures


def test_a_connection_heals_at_once(
    recording: Recording, broker: MemoryBroker, sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No picture shows a sink as connected and still in trouble with connecting."""
    broker.stop()
    relay = recording.relay(sink)
    eventually(lambda: relay.status.error)
    pictures = []

    def change(real: Any = relay._set, **changes: Any) -> None:
        real(**changes)
        pictures.append(relay.status)

    monkeypatch.setattr(relay, "_set", change)
    broker.start()
    eventually(lambda: any(one.connected for one in pictures))
    assert not [one for one in pictures if one.connected and one.error]
