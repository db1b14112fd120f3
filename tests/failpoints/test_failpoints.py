"""The short form: the agent is killed at every point once, under load, by a handful of campaigns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from tests.agent.conftest import scratch, trees
from tests.agent.trees import Trees
from tests.failpoints.campaign import Campaign
from tests.failpoints.points import BY_NAME, POINTS, Drive, Point
from tests.failpoints.witness import FileDestination

__all__ = ["scratch", "trees"]

KILLS = 3
MOST_KILLS = 15
"""A kill shows it only where what comes before its time is there by then: some threads are not that fast."""

DRIVES: tuple[Drive, ...] = get_args(Drive)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("drive", DRIVES)
def test_killed_everywhere(drive: Drive, trees: Trees, scratch: Path) -> None:
    """
    Killed at every point: numbered without a hole, nothing under an old number, replay equal to the disk.
    """
    points = [point for point in POINTS if point.drive == drive]
    result = Campaign(trees, scratch, FileDestination(scratch), seed=1, rate=250).run(points)
    assert result.wrong == []
    assert result.kills == {point.name: 1 for point in points}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("mutant", "point", "most"),
    [
        ("events outside the index transaction", "journal written, not committed", KILLS),
        ("published before the commit", "before commit", MOST_KILLS),
        ("watermark ahead of confirm", "before publish", MOST_KILLS),
    ],
)
def test_a_mutant_is_caught(mutant: str, point: str, most: int, trees: Trees, scratch: Path) -> None:
    """An agent that breaks a promise does not survive the campaign at the place where that counts."""
    campaign = Campaign(trees, scratch, FileDestination(scratch), seed=1, rate=250, mutant=mutant)
    kills: list[Point] = []

    def until_caught() -> Iterator[Point]:
        while not campaign.wrong and len(kills) < most:
            kills.append(BY_NAME[point])
            yield kills[-1]

    result = campaign.run(until_caught())
    assert result.kills[point] == len(kills)
    assert result.wrong != []
