"""
Directories that inotify does not cover, and why: the stream says so, and they are polled.

ENOSPC (no watch left), ENOMEM, EACCES (not readable), EMFILE; ENOTSUP for file systems where changes are made
out of the kernel's sight; EEXIST for a second mount of a directory that is watched elsewhere in the tree, and
ELOOP for a directory that is mounted below itself: its contents are not repeated.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

from inotify_bridge.capture.model import Model
from inotify_bridge.capture.tree import Directory

RETRY = 1.0
"""Seconds at the most until another attempt to watch after the first failure of a row."""


class Coverage:
    """The uncovered directories of a group. Used by the recorder's thread only."""

    def __init__(self, model: Model, poll_interval: float) -> None:
        self._model = model
        self._interval = poll_interval
        self._codes: dict[Directory, int] = {}
        self._due: float | None = None

    def __len__(self) -> int:
        return len(self._codes)

    def __contains__(self, node: Directory) -> bool:
        return node in self._codes

    def __iter__(self) -> Iterator[tuple[Directory, str]]:
        """Each uncovered directory with the name of its errno."""
        return iter([(node, name_of(code)) for node, code in self._codes.items() if node.alive()])

    @property
    def deadline(self) -> float | None:
        """Monotonic time of the next poll."""
        return self._due

    def degrade(self, node: Directory, code: int, now: float) -> None:
        """A directory cannot be watched or read. Said once, until it is restored."""
        if self._codes.get(node) == code:
            return
        self._codes[node] = code
        if self._due is None:
            self._due = now + min(self._interval, RETRY)
        path = self._model.tree.path(node)
        self._model.notice("coverage_degraded", path, error=name_of(code), fallback="poll")

    def restore(self, node: Directory) -> bool:
        """A directory is watched and readable again. Returns whether it was not."""
        if self._codes.pop(node, None) is None:
            return False
        self._model.notice("coverage_restored", self._model.tree.path(node))
        return True

    def is_loop(self, node: Directory) -> bool:
        """Whether the directory is one of its own ancestors, mounted below itself."""
        return self._codes.get(node) == errno.ELOOP

    def is_blind(self, node: Directory) -> bool:
        """Whether the directory is on a file system that inotify does not see all changes of."""
        return self._codes.get(node) == errno.ENOTSUP

    def due(self, now: float) -> list[Directory]:
        """The directories to poll now."""
        if self._due is None or now < self._due:
            return []
        for gone in [node for node in self._codes if not node.alive()]:
            del self._codes[gone]
        self._due = now + self._interval if self._codes else None
        return [node for node in self._codes if not self._below_another(node)]

    def left(self, moved: Sequence[tuple[Directory, Directory]]) -> list[Directory]:
        """
        Those that stood below an uncovered directory: its next poll would have come to them.

        Args:
            moved: directories that are elsewhere now, each with the one that it stood in, in their order.
        """
        found: set[Directory] = set()
        while self._codes:
            more = {node for node, source in moved if node not in found and self._leads(source, found)}
            if not more:
                break
            found |= more
        return [node for node, _ in moved if node in found and node.alive()]

    def _leads(self, node: Directory | None, others: set[Directory]) -> bool:
        while node is not None and node not in self._codes and node not in others:
            node = node.parent
        return node is not None

    def _below_another(self, node: Directory) -> bool:
        """Whether the poll of an uncovered directory above, which goes all the way down, reaches it."""
        above = node.parent
        return above is not None and self._codes.get(above, errno.ELOOP) != errno.ELOOP


def name_of(code: int) -> str:
    """Name of an errno value."""
    return errno.errorcode.get(code, f"errno {code}")
