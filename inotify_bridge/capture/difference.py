"""How an entry differs from what was published about it."""

from __future__ import annotations

import stat
from typing import Literal

from inotify_bridge.capture.change import Stat
from inotify_bridge.capture.index import Row


def difference(
    before: Stat | None, seen: Stat, audit: bool, times: bool = False
) -> Literal["written", "attributes_changed"] | None:
    """
    What an entry that kept its name and type went through.

    Args:
        before: as published; None where nothing could be published of it.
        audit: whether content that changed without a close counts.
        times: whether it is known that attributes of the file changed: its times may be all of it.
    """
    regular = stat.S_ISREG(seen.mode)
    if before is None:
        return "written" if regular else "attributes_changed"
    if regular and before.inode != seen.inode:
        return "written"
    if regular and audit and (before.size, before.mtime) != (seen.size, seen.mtime):
        return "written"
    if (before.mode, before.uid, before.gid) != (seen.mode, seen.uid, seen.gid):
        return "attributes_changed"
    if stat.S_ISDIR(seen.mode) and before.inode != seen.inode:
        return "attributes_changed"  # replaced while nobody looked: what is below it is compared by itself
    if regular and (audit or times) and before.ctime != seen.ctime:
        return "attributes_changed"
    return None


def fingerprint(seen: Stat) -> tuple[int, int, int, int]:
    """What must stay the same for a file to be complete: at most one ``ready`` for each."""
    return (seen.inode, seen.size, seen.mtime, seen.ctime)


def replaced(before: Stat, seen: Stat) -> bool:
    """Whether what has no content of its own is another one under the same name."""
    return before.inode != seen.inode or before.target != seen.target


def set_by_hand(before: Stat, seen: Stat) -> bool:
    """
    Whether the time of modification was set (tar, cp -p, touch -d): no write gives one from before the last
    known change.
    """
    return before.size == seen.size and before.mtime != seen.mtime <= before.ctime


def published(row: Row | None, seen: Stat) -> Stat:
    """
    The stat to remember where only attributes were published.

    Size and time stay as they were where the content may have changed as well: the next resync shall find
    it.
    """
    before = row.stat if row else None
    if before is None or not stat.S_ISREG(seen.mode):
        return seen
    if set_by_hand(before, seen):
        return seen
    return seen._replace(size=before.size, mtime=before.mtime)
