"""Rotation by the real logrotate, for a few seconds; `python -m tests.rotation` does it for minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rotation.torture import LOGROTATE, Plan, run

pytestmark = pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not installed")


@pytest.mark.parametrize(
    ("mode", "kills", "every"),
    [("create", 1, 0.5), ("dateext", 0, 1.1), ("copytruncate", 1, 0.5), ("delaycompress", 0, 0.5)],
)
def test_rotation(mode: str, kills: int, every: float, tmp_path: Path) -> None:
    """
    Under writers that do not wait every line that rotation left on the disk arrives once, those of each in
    their order; with `create` and its like that is every line.
    """
    outcome = run(Plan(mode, lines=9_000, kills=kills, writers=3, rotate_every=every, rate=3_000), tmp_path)
    assert outcome.rotations >= 2
    assert outcome.kills == kills
    assert (outcome.doubled, outcome.disordered, outcome.left) == (0, 0, 0)
    if mode != "copytruncate":  # which loses what is written between its copy and its truncation
        assert (outcome.missing, outcome.lost_bytes) == (0, 0)
