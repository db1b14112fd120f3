"""
Names in doubt, checked when what explains them would have come.

Where a look and the model disagree, the records that tell why are mostly queued already. So the name waits
until the queue has been quiet for a moment, or until a barrier asks.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TypeAlias

from inotify_bridge.capture.coverage import Coverage
from inotify_bridge.capture.judge import Judge
from inotify_bridge.capture.model import Model
from inotify_bridge.capture.port import FileSystem, Handle
from inotify_bridge.capture.renames import Renames
from inotify_bridge.capture.resync import Resyncs
from inotify_bridge.capture.tree import Directory
from inotify_bridge.capture.tree import Root as TreeRoot

QUIET = 0.05
"""Seconds after which the records that explain a difference must have come."""

_DOUBTS_AT_MOST = 100_000
_PUT_OFF_AT_MOST = 1.0
"""Seconds of a quiet queue after which a directory that cannot be reached is an error of the model."""

_OVERDUE = float("-inf")

_Place: TypeAlias = tuple[Directory, bytes]


class Doubts:
    """
    Checks what is in doubt. Used by the recorder's thread only.

    Args:
        door: opens a directory of the model, or None where that cannot be.
    """

    def __init__(
        self,
        model: Model,
        judge: Judge,
        port: FileSystem,
        coverage: Coverage,
        renames: Renames,
        resyncs: Resyncs,
        door: Callable[[Directory], Handle | None],
    ) -> None:
        self.hasty = False
        self._model = model
        self._judge = judge
        self._port = port
        self._coverage = coverage
        self._renames = renames
        self._resyncs = resyncs
        self._door = door
        self._put_off: dict[Directory, float] = {}

    @property
    def deadline(self) -> float | None:
        """Monotonic time at which the oldest is to be checked."""
        oldest = next(iter(self._judge.doubts.values()), None)
        return None if oldest is None else oldest + QUIET

    def hasten(self) -> None:
        """Have all checked by the next `check`, also what looks find till then; see `hasty`."""
        self.hasty = True

    def check(self, backlog: bool) -> None:
        """
        Check the names that stayed in doubt, as far as the batch has room.

        Args:
            backlog: records are waiting that may explain them: only what was hastened, or some of too many.
        """
        if backlog:
            self._put_off.clear()  # the rename above may be among the records: only a quiet queue counts
        if backlog and not self.hasty and len(self._judge.doubts) <= _DOUBTS_AT_MOST:
            return
        if self._model.room <= 0:
            return  # the looks may not be done, and bring more of them
        if self.hasty:
            self._judge.doubts.update(dict.fromkeys(self._judge.doubts, _OVERDUE))
        self._model.seen("scan")
        for place in self._due(_OVERDUE if backlog else self._port.monotonic() - QUIET):
            if self._model.room <= 0:
                return
            del self._judge.doubts[place]
            node, name = place
            if not node.alive():
                self._put_off.pop(node, None)
            elif self._renames.at(node, name) is None:
                self._check(node, name)
        self.hasty = False

    def _due(self, latest: float) -> list[_Place]:
        due: list[_Place] = []
        for place, since in self._judge.doubts.items():
            if since > latest and len(self._judge.doubts) <= _DOUBTS_AT_MOST:
                break
            due.append(place)
        return due

    def _check(self, node: Directory, name: bytes) -> None:
        handle = self._door(node)
        if handle is not None:
            self._put_off.pop(node, None)
            self._judge.check(node, name, handle)
        elif node not in self._coverage:
            self._put_off_or_give_up(node, name)

    def _put_off_or_give_up(self, node: Directory, name: bytes) -> None:
        """
        The model's path does not lead to the directory: a rename above it is queued. Or the model is wrong.
        """
        now = self._port.monotonic()
        since = self._put_off.setdefault(node, now)
        if now - since < _PUT_OFF_AT_MOST:
            self._judge.doubt(node, name)
            return
        self._put_off.pop(node)
        top: Directory = node
        while top.parent is not None and self._door(top) is None:
            top = top.parent
        if not (isinstance(top, TreeRoot) and top.lost):
            self._coverage.degrade(node, errno.ESTALE, now)
            self._resyncs.request("internal", [top], self._model.tree.path(top))
