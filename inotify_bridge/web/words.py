"""Figures in words, for pages and terminals."""

from __future__ import annotations

from datetime import datetime


def duration(seconds: float) -> str:
    """Seconds in the unit that a person would use."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{max(1, round(1000 * seconds))} ms" if 0 < seconds < 0.1 else f"{seconds:.1f} s"


def size(count: float) -> str:
    """Bytes in the unit that a person would use."""
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count:.0f} B"


def plural(count: int, noun: str, more: str = "") -> str:
    """``1 watch`` and ``2 watches``; `more` is the noun for other numbers where that is not with an s."""
    return f"{count:,} {noun if count == 1 else more or noun + 's'}"


def moment(timestamp: str) -> datetime | None:
    """A time of the status; None where it is none."""
    try:
        found = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
