"""Random operations at full speed, told by the real process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.kernel.storms import storm
from tests.kernel.watching import Ground

CROWDED = ("--names", "6", "--population", "60")

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize(("seed", "options"), [(1, ()), (2, CROWDED)])
def test_storm(ground: Ground, seed: int, options: tuple[str, ...]) -> None:
    """5,000 operations at full speed: the replay is the disk, path for path, with sizes, modes and owners."""
    assert storm(ground, seed, 5_000, options=options).differences == []


@pytest.mark.parametrize(("seed", "options"), [(3, ()), (4, CROWDED)])
def test_storm_with_a_lagging_agent(ground: Ground, seed: int, options: tuple[str, ...]) -> None:
    """The same while the agent is stopped and continued."""
    assert storm(ground, seed, 5_000, options=options, lag=True).differences == []


def test_storm_with_silent_changes(ground: Ground) -> None:
    """Changes that have no record do not mislead about paths and types."""
    assert storm(ground, 5, 5_000, untold=True).differences == []


@pytest.mark.exclusive
def test_storm_over_a_small_queue(ground: Ground, exclusive: Callable[[int], None]) -> None:
    """A queue of 256 records overflows while the agent lags: the replay is the disk all the same."""
    exclusive(256)
    told = storm(ground, 6, 20_000, lag=True)
    assert told.overflows > 0
    assert told.differences == []
