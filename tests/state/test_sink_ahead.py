"""A state directory of which everything is an older copy: only the sink knows that there was more."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agent.arrivals import Arrivals
from tests.agent.conftest import Launch
from tests.agent.places import KafkaPlace
from tests.agent.sql_place import sql_sink, stored
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
