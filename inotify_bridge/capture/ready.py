"""
Files that are complete: nothing about them has changed for a while.

A close is no proof: a writer may open again, mmap and truncate(2) give no close at all. So a file counts as
ready when its content was told of and then left alone for the settle time, by its inode, size and times.
"""

from __future__ import annotations

import stat

from inotify_bridge.capture.change import Stat
from inotify_bridge.capture.difference import fingerprint
from inotify_bridge.capture.doors import Doors
from inotify_bridge.capture.model import Model
from inotify_bridge.capture.port import FileSystem
from inotify_bridge.capture.tree import Directory


class Ready:
    """
    Waits for files to settle. Used by the recorder's thread only.

    Args:
        settle: seconds.
    """

    def __init__(self, model: Model, port: FileSystem, doors: Doors, settle: float) -> None:
        self._model = model
        self._port = port
        self._doors = doors
        self._settle = settle
        self._waiting: dict[tuple[Directory, bytes], tuple[float, tuple[int, int, int, int] | None]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def deadline(self) -> float | None:
        """Monotonic time of the oldest that may have settled."""
        for due, _ in self._waiting.values():
            return due  # the oldest stands first: every change puts a name behind all others
        return None

    def touched(self, node: Directory, name: bytes) -> None:
        """The content of a file changed, or it has another path."""
        self._wait(node, name, None)

    def _wait(self, node: Directory, name: bytes, as_seen: tuple[int, int, int, int] | None) -> None:
        self._waiting.pop((node, name), None)
        self._waiting[node, name] = (self._port.monotonic() + self._settle, as_seen)

    def publish(self, now: float) -> None:
        """Say ``ready`` of what has settled by `now` (monotonic seconds)."""
        due = []
        for place, (time, as_seen) in self._waiting.items():
            if time > now:
                break
            due.append((place, as_seen))
        for (node, name), as_seen in due:
            del self._waiting[node, name]
            self._look(node, name, as_seen)

    def _look(self, node: Directory, name: bytes, as_seen: tuple[int, int, int, int] | None) -> None:
        if not node.alive() or node.kids.get(name) != stat.S_IFREG:
            return
        try:
            handle = self._doors.open(node)
            if handle is None:
                self._wait(node, name, None)
                return
            seen = self._port.lstat(handle, name)
        except OSError:
            return  # gone, or not readable: a record or the coverage tells
        mark = fingerprint(seen)
        settled = mark == as_seen or self._untouched(seen)
        if not settled:
            self._wait(node, name, mark)
        elif stat.S_ISREG(seen.mode):
            self._say(node, name, seen, mark)

    def _untouched(self, seen: Stat) -> bool:
        """Whether the file's own time says that the settle time has passed since its last change."""
        return self._port.wall() - seen.ctime >= self._settle * 1e9

    def _say(self, node: Directory, name: bytes, seen: Stat, mark: tuple[int, int, int, int]) -> None:
        row = self._model.row(node, name)
        if row is None or row.ready == mark:
            return
        self._model.seen("scan")
        self._model.say("ready", node, name, stat.S_IFREG, seen)
        self._model.store(node, name, stat.S_IFREG, seen, mark)
