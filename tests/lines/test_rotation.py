"""Rotation by the real logrotate, for a few seconds; `python -m tests.rotation` does it for minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rotation.places import FilePlace, Place, TablePlace
from tests.rotation.torture import LOGROTATE, Plan, run
from tests.sinks.sql_harness import PostgresqlHarness, SqliteHarness

pytestmark = pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not installed")


@pytest.mark.parametrize(
    ("mode", "sink", "kills", "every"),
    [
        ("create", "sqlite", 1, 0.5),
        ("dateext", "jsonl", 0, 1.1),
        ("copytruncate", "jsonl", 1, 0.5),
        pytest.param("delaycompress", "postgresql", 0, 0.5, marks=pytest.mark.postgresql),
        ("compress", "sqlite", 1, 0.5),
    ],
)
def test_rotation(
    request: pytest.FixtureRequest, mode: str, sink: str, kills: int, every: float, tmp_path: Path
) -> None:
    """
    Under writers that do not wait every line arrives once, also as a row of a table, those of each writer in
    their order. What was compressed while the agent was down is told to be lost, to the byte.
    """
    outcome = run(
        Plan(mode, lines=6_000, kills=kills, writers=3, rotate_every=every, rate=3_000, rotations=2),
        tmp_path,
        _place(request, sink, tmp_path),
    )
    assert outcome.kills == kills
    assert (outcome.doubled, outcome.disordered, outcome.torn) == (0, 0, 0)
    assert outcome.lost_bytes == outcome.left_bytes, "what is told to be lost is what lies there"
    if mode != "compress":
        assert outcome.left == 0
    if mode not in ("compress", "copytruncate"):  # they destroy what is written while they copy
        assert outcome.missing == 0


def _place(request: pytest.FixtureRequest, sink: str, directory: Path) -> Place:
    if sink == "jsonl":
        return FilePlace(directory / "events.jsonl")
    if sink == "sqlite":
        return TablePlace(SqliteHarness(directory))
    database = PostgresqlHarness(request.getfixturevalue("postgresql"))
    request.addfinalizer(database.close)
    return TablePlace(database)
