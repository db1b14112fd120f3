"""R6: a stop loses no attempt that could still deliver."""

from __future__ import annotations

from inotify_bridge.outbox.relay import Limits, Relay
from inotify_bridge.sinks.base import SinkContext
from inotify_bridge.sinks.memory import MemoryBroker, MemorySink
from tests.outbox.recording import Recording, Watcher, soon
from tests.sinks.messages import SOURCE, messages

HOUR = 3600.0


class _StopsAtTheFirstError(Watcher):
    """The broker comes back and a stop is asked for between a failure and the wait that follows it."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__()
        self._broker = broker
        self.relay: list[Relay] = []

    def error(self, reason: str) -> None:
        """Count, and stop once."""
        super().error(reason)
        if len(self.errors) == 1:
            self._broker.start()
            self.relay[0].stop(soon(15.0))


def test_a_stop_between_a_failure_and_its_wait() -> None:
    """However long the relay would have waited, it tries once more at once, and delivers."""
    broker = MemoryBroker.named("promises-stops")
    sink = MemorySink(
        MemorySink.Options(broker="promises-stops"),
        SinkContext("orders", "uploads", SOURCE, "structured", "group", "test"),
    )
    watcher = _StopsAtTheFirstError(broker)
    with Recording() as recording:
        recording.commit(messages(1))
        first = recording.relay(sink, watcher=watcher, limits=Limits(first_pause=HOUR, longest_pause=HOUR))
        watcher.relay.append(first)
        recording.confirmed(1)
        broker.stop()
        recording.commit(messages(2, 2))
        assert first.join(), "the relay ends"
    assert watcher.errors == ["connection"]
    assert [message.sequence for message in broker.messages] == [1, 2, 3]
