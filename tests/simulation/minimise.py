"""Makes a failing schedule shorter: fewer operations, and a plainer setting."""

from __future__ import annotations

from typing import Any

from tests.simulation.schedule import Schedule, Setting
from tests.simulation.tree import Operation

_PLAINER: tuple[dict[str, Any], ...] = (
    {"lives": 1},
    {"root": False},
    {"fault": 0.0},
    {"denials": False},
    {"split": 0.0},
    {"work": 0.0},
    {"queue": 16384},
    {"limit": 1 << 30},
    {"modified": False},
    {"reuse": False},
    {"before": 0},
    {"read": 4096},
)
_OTHER_SEEDS = 30


def minimise(seed: int) -> tuple[int, Setting, list[Operation]]:
    """
    Find a short failing run near that of a seed.

    Returns: seed, setting and operations of it, for `Schedule`.
    Raises: ValueError where the seed does not fail.
    """
    setting = Setting.draw(seed)
    first = Schedule(seed, setting).run()
    if not first.problems:
        raise ValueError(f"seed {seed} does not fail")
    script = list(first.script)
    found = _failing(seed, setting, script)
    if found is None:
        return seed, setting, script
    for plainer in _PLAINER:
        simple: Setting = setting._replace(**plainer)
        if (other := _failing(found, simple, script)) is not None:
            found, setting = other, simple
    size = len(script) // 2
    while size:
        at = 0
        while at < len(script):
            shorter = script[:at] + script[at + size :]
            if (other := _failing(found, setting, shorter)) is not None:
                found, script = other, shorter
            else:
                at += size
        size //= 2
    quick = setting._replace(operations=len(script))
    other = _failing(found, quick, script)
    return (found, setting, script) if other is None else (other, quick, script)


def _failing(seed: int, setting: Setting, script: list[Operation]) -> int | None:
    """A seed, this one first, with which these operations fail."""
    others: tuple[int, ...] = (seed, *range(_OTHER_SEEDS))
    for other in others:
        if Schedule(other, setting, script).run().problems:
            return other
    return None
