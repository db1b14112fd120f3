"""The short form: the agent is killed at every point once, under load, by a handful of campaigns."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from tests.agent.conftest import scratch, trees
from tests.agent.trees import Trees
from tests.failpoints.campaign import Campaign
from tests.failpoints.points import POINTS, Drive
from tests.failpoints.witness import FileDestination

__all__ = ["scratch", "trees"]

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
