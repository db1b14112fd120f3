"""
Files with several names: a record names one of them, and the others changed as well.

A file may have tens of thousands of names, each with something to tell: they are looked at one by one, as
far as the batch has room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from inotify_bridge.capture.index import Index
from inotify_bridge.capture.judge import Judge
from inotify_bridge.capture.model import Model
from inotify_bridge.capture.port import Handle
from inotify_bridge.capture.tree import Directory


class Links:
    """
    Looks at the other names. Used by the recorder's thread only.

    Args:
        door: opens a directory of the model, or None where that cannot be.
    """

    def __init__(
        self, model: Model, judge: Judge, index: Index, door: Callable[[Directory], Handle | None]
    ) -> None:
        self._model = model
        self._judge = judge
        self._index = index
        self._door = door
        self._looks: Iterator[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether there was no room for all of them."""
        return self._looks is not None

    def look(self) -> None:
        """Look at what changed until now, or go on with it, as long as there is room."""
        if self._looks is None and self._judge.links_changed:
            self._looks = self._all()
        while self._looks is not None and self._model.room > 0:
            if next(self._looks, self) is self:
                self._looks = None

    def _all(self) -> Iterator[None]:
        changed, self._judge.links_changed = self._judge.links_changed, {}
        closed, self._judge.closed_elsewhere = self._judge.closed_elsewhere, set()
        pending = self._model.pending_names(frozenset(identity.inode for identity in changed))
        for identity, kind in changed.items():
            places = (*self._index.names(*identity), *pending.get(identity.inode, ()))
            for number, name in dict.fromkeys(places):
                node = self._model.tree.by_number.get(number)
                if node is not None:
                    handle = self._door(node)
                    self._judge.look_at_link(node, name, handle, identity, kind, identity in closed)
                    yield
