"""Agents that store in a database: killed, and with a database that is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.agent.conftest import Launch
from tests.agent.process import DRAINING
from tests.agent.sql_place import sql_sink, stored
from tests.agent.trees import Trees
from tests.brokers import PostgresqlServer
from tests.sinks.sql_harness import PostgresqlHarness, SqlHarness, SqliteHarness
from tests.waiting import eventually

RATE = 500
"""Of a storm, and those a second: it lasts until it is ended."""


@pytest.fixture
def postgres(postgresql: PostgresqlServer) -> Iterator[PostgresqlHarness]:
    harness = PostgresqlHarness(postgresql)
    yield harness
    harness.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database(request: pytest.FixtureRequest, scratch: Path) -> SqlHarness:
    """Each database in turn."""
    if request.param == "sqlite":
        return SqliteHarness(scratch)
    harness: SqlHarness = request.getfixturevalue("postgres")
    return harness


@pytest.mark.timeout(500)
def test_rows_of_a_killed_agent(database: SqlHarness, trees: Trees, launch: Launch, scratch: Path) -> None:
    """Killed again and again in storms: every event is one row, in order, and their fold is the disk."""
    agent = launch([sql_sink(database)], state={"dir": os.fspath(scratch / "state")}, **DRAINING).start()
    kills = 4
    for life in range(kills):
        before = database.count()
        with trees.storming(f"storm-{life}", seed=life, rate=RATE):
            eventually(lambda: database.count() > before + 100, within=60, what="some rows")  # noqa: B023
            agent.kill()
        agent.start()
    agent.stop()
    arrivals = stored(database)
    assert arrivals.repeats == 0
    assert arrivals.kinds().count("stream.started") == kills + 1
    arrivals.assert_true(trees.root, digests=1)


@pytest.mark.postgresql
@pytest.mark.timeout(500)
def test_rows_in_a_killed_server(postgres: PostgresqlHarness, trees: Trees, launch: Launch) -> None:
    """A server that crashes again and again in storms has every event as one row, in order."""
    agent = launch([sql_sink(postgres)], **DRAINING).start()
    for crash in range(2):
        before = agent.sink("sink")["acked_sequence"]
        with trees.storming(f"storm-{crash}", seed=crash, rate=RATE):
            eventually(lambda: agent.sink("sink")["acked_sequence"] > before + 100, what="some rows")  # noqa: B023
            postgres.broker.kill()
            postgres.broker.start()
        connects = partial(agent.metric, "sink_connects_total", sink="sink")
        eventually(lambda: connects() > crash + 1, within=90, what="it is connected again", poll=0.1)  # noqa: B023
        eventually(lambda: agent.delivered("sink"), within=90, what="everything is stored")
    agent.stop()
    arrivals = stored(postgres)
    assert arrivals.repeats == 0
    arrivals.assert_true(trees.root)


def test_sinks_of_two_groups_in_one_file(trees: Trees, launch: Launch, scratch: Path) -> None:
    """Two groups that write to one SQLite file wait for each other, and neither loses anything."""
    database = SqliteHarness(scratch)
    groups = [
        {"name": name, "paths": [os.fspath(path)], "sinks": ["sink"]}
        for name, path in zip(("one", "two"), trees, strict=True)
    ]
    agent = launch([sql_sink(database)], watch_groups=groups, **DRAINING).start()
    trees.files("x", 300)
    for number in range(300):
        (trees.outside / f"y-{number}").write_text("y")
    agent.stop()
    for group, root in zip(("one", "two"), trees, strict=True):
        arrivals = stored(database).of(group)
        assert arrivals.repeats == 0
        arrivals.assert_true(root)
