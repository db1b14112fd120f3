"""What waits until every sink that remembers was asked what it holds."""

from __future__ import annotations

from inotify_bridge.errors import SinkUnavailable
from inotify_bridge.outbox.comparison import Comparison
from inotify_bridge.outbox.journal import Position
from inotify_bridge.outbox.relay_ports import Guards
from inotify_bridge.sinks.base import Newest, SinkContext
from inotify_bridge.sinks.memory import MemoryBroker, MemorySink
from tests.outbox.recording import Recording
from tests.sinks.messages import SOURCE, messages
from tests.waiting import eventually


class Later(MemorySink):
    """Holds a message of an epoch that the journal does not know."""

    def newest(self) -> Newest:
        return Newest("f" * 20, 1, None)


def options(broker: str) -> tuple[MemorySink.Options, SinkContext]:
    context = SinkContext(broker, "uploads", SOURCE, "structured", "group", "test")
    return MemorySink.Options(broker=broker), context


def late(sink: str) -> Comparison:
    """One that waits for a sink and has no time left; the journal had five messages when it was opened."""
    comparison = Comparison(Position("epoch-1", 5), seconds=0.0)
    comparison.expect([sink])
    return comparison


def test_a_sink_that_is_ahead_is_waited_for_without_a_bound() -> None:
    """Nothing new goes while a sink is known to be ahead, also where the later epoch could not begin yet."""
    comparison = late("lake")
    comparison.ahead("lake")
    assert comparison.free("epoch-1", 6, 3) == 0
    assert comparison.free("epoch-1", 4, 5) == 2, "what the journal had may go"
    assert comparison.free("epoch-2", 1, 3) == 3, "so may what the later epoch has"
    comparison.done("lake")
    assert comparison.free("epoch-1", 6, 3) == 3


def test_what_is_held_again_is_waited_for_again() -> None:
    """A sink that is found to be ahead after the time was over makes the others wait, not spin."""
    comparison = late("lake")
    assert comparison.free("epoch-1", 6, 3) == 3
    assert comparison.wait(0.0)
    comparison.ahead("lake")
    assert comparison.free("epoch-1", 6, 3) == 0
    assert not comparison.wait(0.0)
    comparison.done("lake")
    assert comparison.wait(0.0)


def test_others_wait_while_a_later_epoch_cannot_begin() -> None:
    """A relay whose sink is ahead holds up the others while the group fails to begin a later epoch."""
    refusals: list[str] = []

    def refuse(epoch: str) -> None:
        refusals.append(epoch)
        raise SinkUnavailable("the group does not run")

    with Recording(sinks=("later", "other")) as recording:
        comparison = Comparison(recording.store.end, seconds=0.0)
        comparison.expect(["later"])
        recording.commit(messages(3))
        guards = Guards(end=lambda: recording.store.end, ahead=refuse, comparison=comparison)
        recording.relay(Later(*options("later")), "later", guards=guards)
        eventually(lambda: refusals, what="the sink was compared")
        other = recording.relay(MemorySink(*options("other")), "other", guards=Guards(comparison=comparison))
        eventually(lambda: other.status.connected)
        before = len(refusals)
        eventually(lambda: len(refusals) > before + 2, what="more attempts")
        assert not MemoryBroker.named("other").messages
