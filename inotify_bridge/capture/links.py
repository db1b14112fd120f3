"""
Files with several names: a record names one of them, and the others changed as well.

A file may have tens of thousands of names, each with something to tell: they are looked at one by one, as
far as the batch has room.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator

from inotify_bridge.capture.change import Kind
from inotify_bridge.capture.index import Index
from inotify_bridge.capture.judge import GONE, Judge
from inotify_bridge.capture.model import Model
from inotify_bridge.capture.port import FileSystem, Handle, Identity
from inotify_bridge.capture.tree import Directory


class Links:
    """
    Looks at the other names. Used by the recorder's thread only.

    Args:
        door: opens a directory of the model, or None where that cannot be.
    """

    def __init__(
        self,
        model: Model,
        judge: Judge,
        port: FileSystem,
        index: Index,
        door: Callable[[Directory], Handle | None],
    ) -> None:
        self._model = model
        self._judge = judge
        self._port = port
        self._index = index
        self._door = door
        self._looks: Iterator[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether some are still to be looked at."""
        return self._looks is not None or bool(self._judge.links_changed)

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
                    again = identity in self._judge.links_changed
                    self._look_at(node, name, identity, kind, identity in closed)
                    if not again:  # what is told of one name is what the others are being looked at for
                        self._judge.links_changed.pop(identity, None)
                    yield

    def _look_at(
        self, node: Directory, name: bytes, identity: Identity, kind: Kind | None, closed: bool
    ) -> None:
        """
        Compare one name of an inode that changed through another name.

        Args:
            kind: what was told of its content; None where its attributes changed.
            closed: whether it was, after writing, through a name that is none any more.
        """
        kid, handle = node.kids.get(name), self._door(node)
        try:
            seen = None if handle is None else self._port.lstat(handle, name)
        except OSError as error:
            if error.errno in GONE:
                return  # its own record tells
            seen = None
        if seen is None:
            self._judge.doubt(node, name)
            self._model.suspect(node, name, kind or "attributes_changed", told=kind is None)
            return
        if not isinstance(kid, int) or (seen.device, seen.inode) != identity:
            return
        if kid != stat.S_IFMT(seen.mode):
            self._judge.doubt(node, name)
        elif closed and kid == stat.S_IFREG:
            self._model.say("written", node, name, kid, seen)
            self._model.store(node, name, kid, seen)
        elif kind is None:
            self._judge.compare(node, name, kid, seen, self._model.row(node, name), audit=False, times=True)
        else:
            row = self._model.row(node, name)
            self._judge.compare_told(node, name, kid, seen, row, kind)
