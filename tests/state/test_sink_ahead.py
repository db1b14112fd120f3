"""A state directory of which everything is an older copy: only the sink knows that there was more."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from inotify_bridge import group
from inotify_bridge.outbox.comparison import Comparison
from inotify_bridge.sinks.memory import MemoryBroker
from tests.agent.arrivals import Arrival, Arrivals
from tests.agent.conftest import Launch
from tests.agent.embedded import Embedded
from tests.agent.places import KafkaPlace
from tests.agent.sql_place import sql_sink, stored
from tests.agent.test_problems import problems
from tests.agent.trees import Trees
from tests.sinks.sql_harness import SqliteHarness
from tests.state.files import assert_no_number_twice, jsonl, kept
from tests.waiting import eventually

Sink = tuple[dict[str, object], Callable[[int], Arrivals]]


@pytest.fixture(
    params=[
        "jsonl",
        "sqlite",
        pytest.param("kafka-python", marks=pytest.mark.kafka),
        pytest.param("confluent", marks=pytest.mark.kafka),
    ]
)
def sink(request: pytest.FixtureRequest, scratch: Path) -> Sink:
    """The sink, and what it holds after so many clean ends."""
    if request.param == "jsonl":
        return dict(jsonl(scratch)), lambda stops: kept(scratch)
    if request.param == "sqlite":
        harness = SqliteHarness(scratch)
        return sql_sink(harness), lambda stops: stored(harness)
    place = KafkaPlace(request.getfixturevalue("kafka"), scratch, client=request.param)
    return place.sink(), place.consumed


def test_all_of_it_restored(sink: Sink, launch: Launch, trees: Trees, tmp_path: Path) -> None:
    """Put back with its note, the database agrees with itself; by what the sink holds a new epoch begins."""
    configuration, held = sink
    state = tmp_path / "state"
    agent = launch([configuration], state={"dir": os.fspath(state)})

    def lived(name: str) -> None:
        agent.start()
        trees.files(name, 40)
        eventually(lambda: agent.group()["sequence"] >= 40 and agent.delivered("sink"))
        agent.stop()

    lived("first")
    files = [path for path in state.iterdir() if path.suffix in {".db", ".note"}]
    backup = {path: path.read_bytes() for path in files}
    assert len(backup) == 2
    lived("second")
    for path, data in backup.items():
        path.write_bytes(data)
    agent.start()
    assert agent.metric("epochs_total", reason="rolled_back") == 0
    eventually(lambda: agent.metric("epochs_total", reason="sink_ahead") == 1, what="a new epoch")
    trees.files("third", 40)
    eventually(lambda: agent.delivered("sink"))
    agent.stop()
    arrivals = held(3)
    assert len({one.position[0] for one in arrivals.all}) == 2
    assert_no_number_twice(arrivals)
    arrivals.assert_true(trees.root)


class TwoSinks:
    """A group that publishes to memory, which remembers nothing, and into a file, whose directory may go."""

    def __init__(self, trees: Trees, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broker = MemoryBroker.named(uuid.uuid4().hex)
        self.state, self.lake, self.away = (directory / name for name in ("state", "lake", "away"))
        self.lake.mkdir()
        self._trees = trees
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(MemoryBroker, "named", lambda _: self.broker)

    def run(self, seconds: float = 300.0) -> Embedded:
        """One life; the file is waited for so many seconds."""
        self._monkeypatch.setattr(group, "Comparison", partial(Comparison, seconds=seconds))
        file = {"name": "file", "type": "jsonl", "path": os.fspath(self.lake / "events.jsonl")}
        root = os.fspath(self._trees.root)
        return Embedded(
            self._trees,
            watch_groups=[{"name": "g", "paths": [root], "sinks": ["memory", "file"]}],
            sinks=[{"name": "memory", "type": "memory", "broker": "ours"}, file],
            state={"dir": os.fspath(self.state)},
        )

    def lived(self, name: str) -> None:
        """A life of 20 files, all of which both sinks get."""
        with self.run() as embedded:
            self._trees.files(name, 20)
            embedded.settled()
            eventually(lambda: embedded.group.lag("file") == 0)

    def restored(self, life: str) -> None:
        """All of the state directory as it was before a life, of which only the file tells."""
        backup = {path: path.read_bytes() for path in self.state.iterdir() if path.suffix in {".db", ".note"}}
        assert len(backup) == 2
        self.lived(life)
        for path, data in backup.items():
            path.write_bytes(data)

    def arrivals(self) -> Arrivals:
        """What the memory holds."""
        return Arrivals(Arrival(0, one.body, json.loads(one.body)) for one in self.broker.messages)


@pytest.fixture
def two(trees: Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TwoSinks:
    return TwoSinks(trees, tmp_path, monkeypatch)


def test_others_wait_for_the_one_that_remembers(two: TwoSinks, trees: Trees) -> None:
    """No sink is given a number with other contents before the one that can tell was asked."""
    two.lived("first")
    two.restored("second")
    two.lake.rename(two.away)
    held = len(two.broker.messages)
    with two.run() as embedded:
        trees.files("third", 20)
        epoch = embedded.group.barrier(30.0).epoch
        eventually(lambda: embedded.group.relays["memory"].status.connected)
        eventually(lambda: embedded.group.relays["file"].status.error, what="the file is away")
        assert len(two.broker.messages) == held, "published before the comparison"
        two.away.rename(two.lake)
        eventually(lambda: embedded.metric("epochs_total", reason="sink_ahead"), within=60)
        eventually(lambda: embedded.group.recorder.alive and not embedded.group._at_rest, what="the restart")
        eventually(lambda: embedded.group.lag("memory") == 0 and embedded.group.store.epoch > epoch)
        embedded.settled()
    arrivals = two.arrivals()
    assert_no_number_twice(arrivals)
    arrivals.assert_true(trees.root)


def test_one_that_cannot_be_reached(two: TwoSinks, trees: Trees, caplog: pytest.LogCaptureFixture) -> None:
    """A sink that remembers and is away for longer than the bound holds up the others no more."""
    two.lived("first")
    two.lake.rename(two.away)
    with two.run(seconds=0.2) as embedded:
        trees.files("second", 20)
        embedded.settled()
        assert not embedded.group.relays["file"].status.connected
        assert "what sink file holds is not known after 0.2 s" in caplog.text
        unknown = "sink file could not be asked since the start what it holds"
        assert unknown in problems(embedded)
        two.away.rename(two.lake)
        eventually(lambda: embedded.group.lag("file") == 0, within=60)
        assert unknown not in problems(embedded)
    assert len({one.position[0] for one in two.arrivals().all}) == 1
    two.arrivals().assert_true(trees.root)
