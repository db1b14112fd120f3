"""
The model: the tree, and the batch of changes that is being made of it.

Every operation here changes the tree, puts down what is to be published, and notes what is to be written into
the index, all three or none: so the tree in memory, the stream and the index never disagree.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import NamedTuple

from inotify_bridge.capture.change import Change, Item, Kind, Notice, Origin, Stat
from inotify_bridge.capture.index import Index, Key, Row, Writes
from inotify_bridge.capture.tree import ROOT_DIRECTORY, Directory, Fresh, Kid, Root, Tree, type_of, walk

_CONTENT = frozenset(("created", "written", "modified"))


class Batch(NamedTuple):
    """
    What belongs into one transaction.

    Args:
        items: changes and notices in the order of the stream.
        writes: the rows of the index that follow from them.
    """

    items: list[Item]
    writes: Writes


class Model:
    """
    The tree and the batch in hand. Used by the recorder's thread only.

    Args:
        index: what was committed before this batch.
        kinds: the kinds of changes that are published; all others only change tree and index.
        unwatch: called with the number of a watch that nothing needs any more.
        wall: Unix time in nanoseconds.
    """

    def __init__(
        self, index: Index, kinds: frozenset[Kind], unwatch: Callable[[int], None], wall: Callable[[], int]
    ) -> None:
        self.tree = Tree()
        self.kinds = kinds
        self.silent = False
        self.batch = 0
        self.content_changed: Callable[[Directory, bytes], None] | None = None
        self.moved_directories: list[Directory] = []
        self.marked: dict[Directory, dict[bytes, list[Change]]] = {}
        self.suspects: dict[tuple[Directory, bytes], Kind] = {}
        self._index = index
        self._unwatch = unwatch
        self._wall = wall
        self._items: list[Item] = []
        self._writes: dict[Key, Row | None] = {}
        self._born: set[Key] = set()
        self._origin: Origin = "kernel"
        self._time = 0

    # -- where the knowledge comes from

    def told(self, time: int) -> None:
        """What follows was told by the kernel, in a read at `time` (Unix nanoseconds)."""
        self._origin, self._time = "kernel", time

    def seen(self, origin: Origin) -> None:
        """What follows is seen on the disk now."""
        self._origin, self._time = origin, self._wall()

    @property
    def _muted(self) -> bool:
        """A first scan's finds are no news where no snapshot is wanted; what the kernel tells is."""
        return self.silent and self._origin == "resync"

    @property
    def size(self) -> int:
        """How many items the batch holds."""
        return len(self._items)

    def take(self) -> Batch:
        """End the batch in hand and begin the next."""
        batch = Batch(self._items, self._writes)
        self._items, self._writes, self._born = [], {}, set()
        self.batch += 1
        return batch

    # -- marks: names to look at when the batch closes, with their changes that lack the fields of a stat

    def mark(self, node: Directory, name: bytes) -> list[Change]:
        """Have a name looked at. Returns its changes in this batch."""
        names = self.marked.get(node)
        if names is None:
            names = self.marked[node] = {}
        changes = names.get(name)
        if changes is None:
            changes = names[name] = []
        return changes

    def unmark(self, node: Directory, name: bytes) -> list[Change]:
        """Let a name be. Returns its changes in this batch."""
        names = self.marked.get(node)
        return names.pop(name, []) if names is not None else []

    def suspect(self, node: Directory, name: bytes, kind: Kind) -> None:
        """The content of a file was told to have changed, at a time when its path was not known for sure."""
        if self.suspects.get((node, name)) != "written":
            self.suspects[node, name] = kind

    # -- changes

    def put(
        self, node: Directory, name: bytes, kid: Kid, seen: Stat | None = None, whole: bool = False
    ) -> None:
        """
        A name came into being.

        Args:
            seen: what lstat says; None where only the kernel told of it: the name is marked.
            whole: a regular file that is there with its content, so that no close will tell of it.
        """
        node.kids[name] = kid
        key = (node.number, name)
        if key not in self._writes:
            self._born.add(key)
        number = kid.number if isinstance(kid, Directory) else 0
        entry = type_of(kid)
        self._writes[key] = Row(entry, number, seen)
        kinds: tuple[Kind, ...] = ("created", "written") if whole and entry == stat.S_IFREG else ("created",)
        for kind in kinds:
            self.say(kind, node, name, entry, seen)

    def say(self, kind: Kind, node: Directory, name: bytes, entry: int, seen: Stat | None = None) -> Change:
        """
        Publish something about a name that stays; without `seen` it waits for the look at the batch's end.
        """
        change = Change(kind, self.tree.join(node, name), entry, self._origin, self._time, None, seen)
        if kind in self.kinds and not self._muted:
            self._items.append(change)
        if seen is None:
            self.mark(node, name).append(change)
        if (
            self.content_changed is not None
            and entry == stat.S_IFREG
            and kind in _CONTENT
            and not self._muted
        ):
            self.content_changed(node, name)
        return change

    def retract(self, change: Change) -> None:
        """Take back a change of this batch that turned out not to have happened."""
        if change in self._items:
            self._items.remove(change)

    def drop(self, node: Directory, name: bytes) -> None:
        """A name is gone: a deletion for it and, deepest first, for all below it."""
        kid = node.kids.get(name)
        if kid is None:
            return
        if isinstance(kid, Directory):
            for parent, below, child in self.tree.below(kid):
                self._gone(parent, below, child)
            self.forget(kid)
        del node.kids[name]
        self._gone(node, name, kid)

    def _gone(self, node: Directory, name: bytes, kid: Kid) -> None:
        self._erase((node.number, name))
        change = Change(
            "deleted", self.tree.join(node, name), type_of(kid), self._origin, self._time or self._wall()
        )
        if "deleted" in self.kinds and not self._muted:
            self._items.append(change)
        self.suspects.pop((node, name), None)
        names = self.marked.get(node)
        if names is not None and names.get(name):
            names[name] = []  # what the batch said about it before happened to something that is gone

    def _erase(self, key: Key) -> None:
        if key in self._born:
            self._born.discard(key)
            del self._writes[key]
        else:
            self._writes[key] = None

    def forget(self, top: Directory) -> None:
        """Nothing below `top`, nor itself, is in the tree any more: end its watches."""
        for node in list(walk(top)):
            self.unwatch(node)
            self.tree.by_number.pop(node.number, None)
            node.parent = None
            node.kids = {}
        self.tree.paths_changed()
        if self.suspects:
            self.suspects = {place: kind for place, kind in self.suspects.items() if place[0].alive()}

    def unwatch(self, node: Directory) -> None:
        """End the watch of one directory."""
        wd = self.tree.unbind(node)
        if wd is not None:
            self._unwatch(wd)

    def move(self, node: Directory, name: bytes, to: Directory, to_name: bytes) -> None:
        """A name has another place, and all below it with it; what was there is replaced."""
        kid = node.kids[name]
        source = self.tree.join(node, name)
        self._clear_way(kid, to, to_name)
        del node.kids[name]
        self._erase((node.number, name))
        earlier = self.unmark(node, name)
        self.mark(node, name)  # RENAME_EXCHANGE: something may stand there now
        key = (to.number, to_name)
        if key not in self._writes and to_name not in to.kids:
            self._born.add(key)
        to.kids[to_name] = kid
        if isinstance(kid, Directory):
            kid.parent, kid.name = to, to_name
            self.tree.paths_changed()
            self.moved_directories.append(kid)
        elif self.content_changed is not None:
            self.content_changed(to, to_name)
        entry = type_of(kid)
        self._writes[key] = Row(entry, kid.number if isinstance(kid, Directory) else 0, None)
        change = Change("moved", self.tree.join(to, to_name), entry, self._origin, self._time, source)
        if "moved" in self.kinds and not self._muted:
            self._items.append(change)
        marks = self.mark(to, to_name)
        marks[:] = [
            *earlier,
            change,
        ]  # changes before the rename are of the same file: they get the same fields

    def _clear_way(self, kid: Kid, to: Directory, to_name: bytes) -> None:
        """
        A file replaces a file, and a directory an empty one, in silence: whoever folds the stream replaces
        too.
        """
        there = to.kids.get(to_name)
        if isinstance(there, Directory):
            if isinstance(kid, Directory) and not there.kids:
                self.forget(there)
            else:
                self.drop(to, to_name)
        elif there is not None and isinstance(kid, Directory):
            self.drop(to, to_name)

    def fill(self, node: Directory, name: bytes, kid: Kid, changes: list[Change], seen: Stat) -> None:
        """Give the changes of a name, and its row, what lstat says now."""
        for change in changes:
            change.stat = seen
        self.store(node, name, kid, seen)

    def store(
        self,
        node: Directory,
        name: bytes,
        kid: Kid,
        seen: Stat | None,
        ready: tuple[int, int, int, int] | None = None,
    ) -> None:
        """Note a row for the index. What was said to be ready stays so unless `ready` says otherwise."""
        if (
            ready is None
            and self.content_changed is not None
            and (before := self.row(node, name)) is not None
        ):
            ready = before.ready
        self._writes[node.number, name] = Row(
            type_of(kid), kid.number if isinstance(kid, Directory) else 0, seen, ready
        )

    def store_root(self, root: Root) -> None:
        """Note the number of a root."""
        self._writes[ROOT_DIRECTORY, root.key] = Row(stat.S_IFDIR, root.number, None)

    def row(self, node: Directory, name: bytes) -> Row | None:
        """What was published about a name, this batch included."""
        key = (node.number, name)
        return self._writes[key] if key in self._writes else self._index.row(*key)

    def pending_names(self, inode: int) -> list[Key]:
        """Names of an inode among the rows of this batch."""
        return [key for key, row in self._writes.items() if row and row.stat and row.stat.inode == inode]

    def resolve(self, node: Directory, name: bytes, fresh: Fresh, changes: list[Change], entry: int) -> int:
        """
        The type of a freshly created name is known now; what was published of it in an earlier batch
        stands.
        """
        if fresh.batch != self.batch or not changes:
            entry = fresh.type
        fresh.type = entry
        node.kids[name] = entry
        if entry != stat.S_IFREG:
            for change in changes:
                change.type = entry
                if change.kind == "written":
                    self.retract(change)
        return entry

    def notice(self, kind: str, path: bytes | None = None, /, **data: object) -> None:
        """Let the stream say something about itself."""
        self._items.append(Notice(kind, self._time or self._wall(), path, data))

    # -- the model at a start

    def load(self) -> None:
        """Build what stands below the roots from the index."""
        below: dict[int, list[tuple[bytes, int]]] = {}
        for directory, name, _, number in self._index.entries():
            if number and directory != ROOT_DIRECTORY:
                below.setdefault(directory, []).append((name, number))
        waiting: list[Directory] = list(self.tree.roots)
        while waiting:
            node = waiting.pop()
            for name, number in below.get(node.number, ()):
                kid = node.kids[name] = self.tree.directory(node, name, number)
                waiting.append(kid)
        for directory, name, entry, number in self._index.entries():
            if not number and (parent := self.tree.by_number.get(directory)) is not None:
                parent.kids[name] = entry
