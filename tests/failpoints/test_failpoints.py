"""The short form: the agent is killed at every point once, under load, by a handful of campaigns."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from tests.agent.conftest import scratch, trees
from tests.agent.trees import Trees
from tests.failpoints.campaign import Campaign
from tests.failpoints.points import BY_NAME, POINTS, Drive
from tests.failpoints.witness import FileDestination

__all__ = ["scratch", "trees"]

MUTANT_KILLS = 3
DRIVES: tuple[Drive, ...] = get_args(Drive)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("drive", DRIVES)
def test_killed_everywhere(drive: Drive, trees: Trees, scratch: Path) -> None:
    """
    Killed at every point: numbered without a hole, nothing under an old number, replay equal to the disk.
    """
    points = [point for point in POINTS if point.drive == drive]
    result = Campaign(trees, scratch, FileDestination(scratch), seed=1, rate=250).run(points)
    assert result.wrong == []
    assert result.kills == {point.name: 1 for point in points}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mutant", "point"),
    [
        ("events outside the index transaction", "journal written, not committed"),
        ("published before the commit", "before commit"),
        ("watermark ahead of confirm", "before publish"),
    ],
)
def test_a_mutant_is_caught(mutant: str, point: str, trees: Trees, scratch: Path) -> None:
    """An agent that breaks a promise does not survive the campaign at the place where that counts."""
    campaign = Campaign(trees, scratch, FileDestination(scratch), seed=1, rate=250, mutant=mutant)
    result = campaign.run([BY_NAME[point]] * MUTANT_KILLS)
    assert result.kills[point] == MUTANT_KILLS
    assert result.wrong != []
