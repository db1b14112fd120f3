"""Rotation by the real logrotate, for a few seconds; `python -m tests.rotation` does it for minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rotation.torture import LOGROTATE, Plan, run

pytestmark = pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not installed")


@pytest.mark.parametrize(
    ("mode", "kills", "every"),
    [
        ("create", 1, 0.5),
        ("dateext", 0, 1.1),
        ("copytruncate", 1, 0.5),
        ("delaycompress", 0, 0.5),
        ("compress", 1, 0.5),
    ],
)
def test_rotation(mode: str, kills: int, every: float, tmp_path: Path) -> None:
    """
    Under writers that do not wait every line arrives once, those of each writer in their order. What was
    compressed while the agent was down is told to be lost, to the byte.
    """
    outcome = run(
        Plan(
            mode, lines=6_000 if every < 1 else 12_000, kills=kills, writers=3, rotate_every=every, rate=3_000
        ),
        tmp_path,
    )
    assert outcome.rotations >= 2
    assert outcome.kills == kills
    assert (outcome.doubled, outcome.disordered) == (0, 0)
    assert outcome.lost_bytes == outcome.left_bytes, "what is told to be lost is what lies there"
    if mode != "compress":
        assert outcome.left == 0
    if mode not in ("compress", "copytruncate"):  # they destroy what is written while they copy
        assert outcome.missing == 0
