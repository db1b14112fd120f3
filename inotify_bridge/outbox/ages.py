"""How long messages have waited for their confirmation."""

from __future__ import annotations

from collections import deque
from typing import Final

from inotify_bridge.outbox.journal import Position

_PARTS: Final = 1000
"""To how fine a part of itself the age of the oldest is known."""


class Ages:
    """
    When what is not confirmed was recorded: every batch while few wait; while a sink is away for long, marks
    that are a thousandth of the oldest one's age apart. There may be millions of batches then, and this is in
    memory.

    Used by one thread, but for `oldest`.
    """

    def __init__(self) -> None:
        self._marks: deque[tuple[Position, float]] = deque()

    def __len__(self) -> int:
        return len(self._marks)

    def add(self, end: Position, now: float) -> None:
        """A batch was recorded up to a position, at a time in Unix seconds."""
        if self._marks:
            first, last = self._marks[0][1], self._marks[-1][1]
            if 0.0 <= now - last < abs(now - first) / _PARTS:
                self._marks[-1] = (end, last)
                return
        self._marks.append((end, now))

    def confirm(self, position: Position) -> None:
        """Every sink has confirmed what is up to a position."""
        while self._marks and self._marks[0][0] <= position:
            self._marks.popleft()

    def oldest(self) -> float | None:
        """When the oldest was recorded, Unix seconds; None where nothing waits. From any thread."""
        try:
            return self._marks[0][1]
        except IndexError:
            return None
