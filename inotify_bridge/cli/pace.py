"""How fast the figures of an agent change, from two looks at them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from inotify_bridge.web.view import AgentStatus


class Look(NamedTuple):
    """
    What was seen at a moment.

    Args:
        at: monotonic seconds.
        figures: the whole status.
        recorded: epoch and sequence by group.
        confirmed: epoch of the group and sequence by (group, sink).
    """

    at: float
    figures: AgentStatus
    recorded: Mapping[str, tuple[str, int]]
    confirmed: Mapping[tuple[str, str], tuple[str, int]]


def look(figures: AgentStatus) -> Look:
    """A look of now."""
    groups = figures["groups"]
    return Look(
        time.monotonic(),
        figures,
        {group["name"]: (group["epoch"], group["sequence"]) for group in groups},
        {
            (group["name"], sink["name"]): (group["epoch"], sink["acked_sequence"])
            for group in groups
            for sink in group["sinks"]
        },
    )


class Pace:
    """
    Events a second between two looks.

    Args:
        before: None where there was none.
    """

    def __init__(self, before: Look | None, now: Look) -> None:
        self.figures = now.figures
        self._before = before
        self._now = now

    def recorded(self, group: str) -> float | None:
        """By a group; None where that cannot be told: there was no look before, or another epoch."""
        old = self._before.recorded.get(group) if self._before else None
        return self._speed(old, self._now.recorded[group])

    def confirmed(self, group: str, sink: str) -> float | None:
        """By a sink of it."""
        old = self._before.confirmed.get((group, sink)) if self._before else None
        return self._speed(old, self._now.confirmed[group, sink])

    def _speed(self, old: tuple[str, int] | None, new: tuple[str, int]) -> float | None:
        if self._before is None or old is None or old[0] != new[0]:
            return None
        # A sink that is still in the epoch before has confirmed a higher number than it will soon.
        return max(0, new[1] - old[1]) / (self._now.at - self._before.at)
