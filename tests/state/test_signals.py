"""What an operator asks of a running group: a new epoch, the parked messages, messages sent again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from inotify_bridge.errors import ConfigError, UnavailableError
from inotify_bridge.events.parking import About, about
from inotify_bridge.outbox.journal import Position
from inotify_bridge.outbox.parked import Parked
from inotify_bridge.sinks.base import Message
from tests.agent.arrivals import Arrivals
from tests.agent.embedded import Embedded
from tests.agent.trees import Trees
from tests.waiting import eventually

PARKED = "stream.event_parked"


def about_path(path: str, kind: str = "file.written") -> Callable[[Message], bool]:
    """Whether a message is about a path, and of a kind."""
    return lambda message: message.kind == kind and message.body.find(f'"path":"{path}"'.encode()) > 0


def nothing(_: Message) -> bool:
    """Rejects no message."""
    return False


def said_about(one: Parked) -> About:
    """What a parked message is about."""
    return about(Message.unpack(one.record).body)


def reaches(embedded: Embedded, position: Position) -> None:
    """Wait until everything up to a position is confirmed."""
    relay = embedded.group.relays["memory"]
    eventually(lambda: relay.status.position >= position, within=60.0, what=f"{position}")


def test_new_epoch(trees: Trees) -> None:
    """
    A new epoch begins with ``stream.started{new_epoch}`` and a full snapshot in a bracket ``requested``; what
    was recorded before it arrives first, and the stream goes on in it.
    """
    with Embedded(trees) as embedded:
        trees.files("before", 30)
        old = embedded.settled().all[-1].position[0]
        embedded.broker.freeze()
        trees.files("late", 20)
        embedded.group.barrier(30.0)
        epoch = embedded.group.new_epoch(30.0)
        assert epoch > old == embedded.agent.groups["g"].relays["memory"].status.position.epoch
        assert embedded.group.store.epoch == epoch
        embedded.broker.thaw()
        trees.files("after", 10)
        arrivals = embedded.settled()
        assert embedded.get("/readyz")[0] == 200
    of_old = Arrivals(one for one in arrivals.all if one.position[0] == old)
    of_new = Arrivals(one for one in arrivals.all if one.position[0] == epoch)
    assert arrivals.all == [*of_old.all, *of_new.all]
    assert len([path for path in of_old.paths("file.created") if path.startswith("late")]) == 20
    started, begun = of_new.all[0], of_new.all[1]
    assert started.event["data"]["new_epoch"] is True
    assert begun.event["data"]["reason"] == "requested"
    assert len(of_new.paths("file.created", origin="resync")) >= 50
    of_new.assert_true(trees.root, digests=1)
    arrivals.assert_true(trees.root, digests=2)


def test_new_epoch_under_load(trees: Trees) -> None:
    """Epochs that begin in the middle of a storm: each is dense, and the last folds to the disk."""
    with Embedded(trees) as embedded:
        with trees.storming("storm", rate=300):
            epochs = [embedded.group.new_epoch(60.0) for _ in range(3)]
        # Directories that moved away under a scan are polled until they are watched.
        eventually(
            lambda: not embedded.group.recorder.reconciler.uncovered_count, within=60.0, what="coverage"
        )
        arrivals = embedded.settled()
        assert epochs == sorted(epochs)
    assert {one.position[0] for one in arrivals.all} >= set(epochs)
    arrivals.assert_true(trees.root, digests=4)


def test_parked_retry(trees: Trees) -> None:
    """
    Retrying a parked message publishes the present state of its path under a new sequence and removes it;
    the message itself never comes, and a path that is gone is left alone.
    """
    with Embedded(trees) as embedded:
        embedded.broker.reject(lambda message: message.kind == "file.written", detail="not today")
        trees.write("kept", "gone")
        embedded.settled()
        trees.write("kept", text="much longer than before")
        (trees.root / "gone").unlink()
        embedded.settled()
        parked = embedded.group.parked()
        assert {said_about(one) for one in parked} == {
            About("file.written", (b"kept",)),
            About("file.written", (b"gone",)),
        }
        assert embedded.agent.registry.get_sample_value(
            "inotify_bridge_parked_events", {"watch_group": "g", "sink": "memory"}
        ) == len(parked)
        embedded.broker.reject(nothing)
        end = embedded.group.store.end
        assert embedded.group.retry_parked("other", None) == 0
        one = parked[0]
        assert embedded.group.retry_parked("memory", one.position) == 1
        assert embedded.group.retry_parked(None, None) == len(parked) - 1
        assert embedded.group.parked() == []
        arrivals = embedded.settled()
    again = arrivals.after(*end)
    assert set(again.paths("file.written", origin="resync")) == {"kept"}
    assert again.all[-1].event["data"]["file"]["size"] == len("much longer than before")
    assert not any(
        one.kind == "file.written" and one.position in {p.position for p in parked} for one in arrivals.all
    )
    arrivals.assert_true(trees.root)


def test_parked_drop_keeps_the_place(trees: Trees, tmp_path: Path) -> None:
    """
    A dropped message is counted and forgotten; sent again, its place still holds what stood there, not it.
    """
    state = {"dir": os.fspath(tmp_path / "state"), "retain": "1h"}
    trees.write("refused")  # of that size already: without what is dropped a replica still has it
    with Embedded(trees, state=state) as embedded:
        embedded.settled()
        embedded.broker.reject(about_path("refused"))
        trees.write("refused", "taken")
        embedded.settled()
        (parked,) = embedded.group.parked()
        embedded.broker.reject(nothing)
        assert embedded.group.drop_parked(None, Position(parked.position.epoch, 1)) == 0
        assert embedded.group.drop_parked("memory", None) == 1
        assert embedded.group.parked() == []
        labels = {"watch_group": "g", "sink": "memory"}
        value = embedded.agent.registry.get_sample_value
        assert value("inotify_bridge_events_dropped_total", labels) == 1
        assert value("inotify_bridge_parked_events", labels) == 0
        before = len(embedded.broker.messages)
        assert embedded.group.replay(1, None) == Position(parked.position.epoch, 1)
        end = embedded.group.store.end
        assert embedded.broker.wait(lambda messages: len(messages) >= before + end.sequence, 30.0)
        arrivals = embedded.arrivals()
    kinds = {one.kind for one in arrivals.all if one.position == parked.position}
    assert kinds == {PARKED}
    arrivals.assert_true(trees.root)


def test_replay(trees: Trees, tmp_path: Path) -> None:
    """
    Messages that are kept are sent again from a number on, in order, and the stream goes on behind them;
    what was never sent, and what is not kept any more, is refused in words.
    """
    state = {"dir": os.fspath(tmp_path / "state"), "retain": "1h"}
    with Embedded(trees, state=state) as embedded:
        trees.files("first", 200)
        end = embedded.group.barrier(30.0)
        reaches(embedded, end)
        with pytest.raises(ConfigError, match=f"no message {end.sequence + 1} "):
            embedded.group.replay(end.sequence + 1, None)
        with pytest.raises(ConfigError, match="no sink 'other'"):
            embedded.group.replay(1, "other")
        assert embedded.group.replay(11, "memory") == Position(end.epoch, 11)
        again = 2 * end.sequence - 10
        assert embedded.broker.wait(lambda messages: len(messages) >= again, 30.0)
        trees.files("second", 50)
        arrivals = embedded.settled()
    numbers = [one.position[1] for one in arrivals.all]
    assert arrivals.repeats == end.sequence - 10
    assert numbers[end.sequence : again] == list(range(11, end.sequence + 1))
    arrivals.assert_true(trees.root)


def test_replay_that_is_confirmed_at_once(trees: Trees, tmp_path: Path) -> None:
    """What a sink confirms again, however soon, counts: nothing is left waiting behind a replay."""
    state = {"dir": os.fspath(tmp_path / "state"), "retain": "1h"}
    with Embedded(trees, state=state) as embedded:
        trees.files("first", 20)
        end = embedded.group.barrier(30.0)
        relay = embedded.group.relays["memory"]
        reaches(embedded, end)
        before = len(embedded.broker.messages)

        def again(position: Position, note: Callable[[], None]) -> bool:
            done = relay.rewind(position, note)
            assert embedded.broker.wait(lambda messages: len(messages) >= before + end.sequence, 30.0)
            reaches(embedded, end)
            return done

        embedded.group.recorder.desk.replay(1, {"memory": again})
        eventually(lambda: embedded.group.store.watermark("memory") == end, what="the confirmation counts")


def test_replay_of_what_is_not_kept(trees: Trees) -> None:
    """Without `state.retain` a confirmed message is soon gone, and asking for it names the oldest."""
    with Embedded(trees) as embedded:
        trees.files("first", 20)
        reaches(embedded, embedded.group.barrier(30.0))
        eventually(lambda: embedded.group.store.live_bytes == 0, what="the journal is pruned")
        with pytest.raises(ConfigError, match="not kept any more") as refused:
            embedded.group.replay(1, None)
        assert "resync --snapshot" in refused.value.hint


def test_signals_from_many_threads(trees: Trees) -> None:
    """Operators who ask at the same time, under load, each get their answer, and the stream stays true."""
    errors: list[BaseException] = []

    def asked(act: Callable[[], object]) -> None:
        try:
            for _ in range(5):
                act()
        except BaseException as error:
            errors.append(error)

    with Embedded(trees) as embedded:
        group = embedded.group
        embedded.broker.reject(lambda message: message.sequence % 50 == 0 and message.kind == "file.written")
        acts: list[Callable[[], object]] = [
            group.parked,
            lambda: group.retry_parked(None, None),
            lambda: group.resync(None),
            lambda: group.barrier(60.0),
        ]
        threads = [threading.Thread(target=asked, args=(act,)) for act in acts]
        with trees.storming("storm", rate=300):
            eventually(group.parked, what="a parked message")
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        embedded.broker.reject(nothing)
        reaches(embedded, group.barrier(60.0))  # what comes behind a parked message comes early, and again
        arrivals = embedded.arrivals()
    assert errors == []
    assert PARKED in arrivals.kinds()
    arrivals.assert_dense()


def test_after_the_end(trees: Trees) -> None:
    """A group that has ended refuses in words."""
    with Embedded(trees) as embedded:
        group = embedded.group
    for act in (group.parked, lambda: group.retry_parked(None, None), lambda: group.new_epoch(5.0)):
        with pytest.raises(UnavailableError, match="group g"):
            act()
