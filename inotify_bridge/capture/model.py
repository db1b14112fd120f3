"""
The model: the tree, and the batch of changes that is being made of it.

Every operation here changes the tree, puts down what is to be published, and notes what is to be written into
the index, all three or none: so the tree in memory, the stream and the index never disagree. That holds
between any two of them, so a batch that grows too large is cut there.
"""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from inotify_bridge.capture.change import Change, Item, Kind, Notice, Origin, Stat
from inotify_bridge.capture.fallen import Fallen, weight
from inotify_bridge.capture.following import Follower
from inotify_bridge.capture.index import Index, Key, Row, Writes
from inotify_bridge.capture.suspects import Suspects
from inotify_bridge.capture.tree import ROOT_DIRECTORY, Directory, Fresh, Kid, Root, Tree, type_of, walk

BATCH_BYTES = 4 << 20
"""About how many bytes of messages one batch holds at the most: all that is in the making at once."""

_CONTENT = frozenset(("created", "written", "modified"))


class Batch(NamedTuple):
    """
    What belongs into one transaction.

    Args:
        items: changes and notices in the order of the stream.
        writes: the rows of the index that follow from them.
    """

    items: list[Item]
    writes: dict[Key, Row | None]


_Part: TypeAlias = "Batch | Iterator[Batch]"


class Model:
    """
    The tree and the batch in hand. Used by the recorder's thread only.

    Args:
        index: what was committed before this batch.
        kinds: the kinds of changes that are published; all others only change tree and index.
        unwatch: called with the number of a watch that nothing needs any more.
        wall: Unix time in nanoseconds.
        batch_bytes: of messages in one batch, about.
    """

    def __init__(
        self,
        index: Index,
        kinds: frozenset[Kind],
        unwatch: Callable[[int], None],
        wall: Callable[[], int],
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        self.tree = Tree()
        self.kinds = kinds
        self.room = batch_bytes  # for more in the batch in hand; what adds to it stops at 0
        self.silent = False
        self.batch = 0
        self.content_changed: Callable[[Directory, bytes], None] | None = None
        self.follower: Follower | None = None
        self.moved_directories: list[tuple[Directory, Directory]] = []  # each with where it stood
        self.marked: dict[Directory, dict[bytes, list[Change]]] = {}
        self._suspects = Suspects()
        self._index = index
        self._unwatch = unwatch
        self._wall = wall
        self._batch_bytes = batch_bytes
        self._parts: list[_Part] = []  # of the batch in hand, where it had to be cut
        self._closed: deque[_Part] = deque()
        self._items: list[Item] = []
        self._writes: dict[Key, Row | None] = {}
        self._born: set[Key] = set()
        self._retracted: set[Item] = set()
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

    # -- batches

    def close(self) -> None:
        """End the batch in hand and begin the next."""
        self._cut()
        self._closed.extend(self._parts)
        self._parts.clear()
        self.batch += 1
        self.room = self._batch_bytes

    @property
    def pending(self) -> bool:
        """Whether something is left to `take`."""
        return bool(self._closed)

    @property
    def cut(self) -> bool:
        """Whether the batch in hand will come in several."""
        return bool(self._parts)

    def take(self) -> Batch:
        """
        What is to be committed next, of what was closed: one batch, or several where it grew too large.

        Each is committed before the next is taken. Empty where nothing is `pending`.
        """
        while self._closed:
            part = self._closed[0]
            if isinstance(part, Batch):
                self._closed.popleft()
                return self._without_retracted(part)
            if (batch := next(part, None)) is not None:
                return batch
            self._closed.popleft()
        return Batch([], {})

    def _without_retracted(self, batch: Batch) -> Batch:
        if not self._retracted:
            return batch
        told = [item for item in batch.items if item not in self._retracted]
        if not (self._closed or self._parts or self._items):
            self._retracted = set()
        return Batch(told, batch.writes)

    def _cut(self) -> None:
        """What follows is committed after all that came before."""
        self._parts.append(Batch(self._items, self._writes))
        self._items, self._writes, self._born = [], {}, set()

    # -- marks: names to look at when the batch closes, with their changes that lack the fields of a stat

    def mark(self, node: Directory, name: bytes) -> list[Change]:
        """Have a name looked at. Returns its changes in this batch."""
        if name not in self.marked.get(node, ()):
            self.room -= weight(len(self.tree.path(node)) + len(name))  # the look may have something to tell
        return self._marks(node, name)

    def _marks(self, node: Directory, name: bytes) -> list[Change]:
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

    def suspect(self, node: Directory, name: bytes, kind: Kind, told: bool = False) -> None:
        """
        A file was recorded to have changed, at a time when its path was not known for sure.

        Args:
            told: it was told, but without the fields of a stat.
        """
        self._suspects.add(node, name, kind, told)

    def suspicion(self, node: Directory, name: bytes) -> Kind | None:
        """What was suspected of a name, and is no more: it is being looked at."""
        found = self._suspects.take(node, name)
        return None if found is None else found.kind

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
        path = self.tree.join(node, name)
        self.room -= weight(len(path))
        change = Change(kind, path, entry, self._origin, self._time, None, seen)
        if kind in self.kinds and not self._muted:
            self._items.append(change)
        if seen is None:
            self._marks(node, name).append(change)
        if (
            self.content_changed is not None
            and entry == stat.S_IFREG
            and kind in _CONTENT
            and not self._muted
        ):
            self.content_changed(node, name)
        if self.follower is not None and entry == stat.S_IFREG and kind in _CONTENT:
            self.follower.content(path, kind, self._origin, seen)
        return change

    def written_to(self, node: Directory, name: bytes) -> None:
        """A write that nothing is published of: only whoever follows the content hears of it."""
        if self.follower is not None:
            self.follower.content(self.tree.join(node, name), "modified", self._origin, None)

    def retract(self, change: Change) -> None:
        """Take back a change of this batch that turned out not to have happened."""
        self._retracted.add(change)

    def drop(self, node: Directory, name: bytes) -> None:
        """A name is gone: a deletion for it and, deepest first, for all below it."""
        kid = node.kids.get(name)
        if kid is None:
            return
        if isinstance(kid, Directory):
            self._drop_below(kid)
        del node.kids[name]
        self._gone(node, name, kid)

    def _drop_below(self, top: Directory) -> None:
        fallen = Fallen(top, self.tree.path(top)) if top.kids else None
        self.forget(top)
        if fallen is None:
            return
        if fallen.weight > self.room:
            self._cut()
            self._parts.append(self._falling(fallen, self._origin, self._time or self._wall(), self._muted))
            self.room = 0
            return
        for key, path, entry in fallen.entries():
            self._tell_gone(key, path, entry)

    def _falling(self, fallen: Fallen, origin: Origin, time: int, muted: bool) -> Iterator[Batch]:
        """The deletions of what was too much for the batch that it fell in."""
        told = "deleted" in self.kinds and not muted
        items: list[Item] = []
        writes: dict[Key, Row | None] = {}
        room = self._batch_bytes
        for key, path, entry in fallen.entries():
            if self.follower is not None:
                self.follower.gone(path)
            if told:
                items.append(Change("deleted", path, entry, origin, time))
            writes[key] = None
            room -= weight(len(path))
            if room <= 0:
                yield Batch(items, writes)
                items, writes, room = [], {}, self._batch_bytes
        if writes:
            yield Batch(items, writes)

    def _gone(self, node: Directory, name: bytes, kid: Kid) -> None:
        self._tell_gone((node.number, name), self.tree.join(node, name), type_of(kid))
        self._suspects.take(node, name)
        names = self.marked.get(node)
        if names is not None and names.get(name):
            names[name] = []  # what the batch said about it before happened to something that is gone

    def _tell_gone(self, key: Key, path: bytes, entry: int) -> None:
        self._erase(key)
        self.room -= weight(len(path))
        if self.follower is not None:
            self.follower.gone(path)
        if "deleted" in self.kinds and not self._muted:
            self._items.append(Change("deleted", path, entry, self._origin, self._time or self._wall()))

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
        self._suspects.forget()

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
        self._suspects.move(node, name, to, to_name)
        self.mark(node, name)  # RENAME_EXCHANGE: something may stand there now
        key = (to.number, to_name)
        if key not in self._writes and to_name not in to.kids:
            self._born.add(key)
        to.kids[to_name] = kid
        if isinstance(kid, Directory):
            kid.parent, kid.name = to, to_name
            self.tree.paths_changed()
            self.moved_directories.append((kid, node))
        elif self.content_changed is not None:
            self.content_changed(to, to_name)
        entry = type_of(kid)
        self._writes[key] = Row(entry, kid.number if isinstance(kid, Directory) else 0, None)
        change = Change("moved", self.tree.join(to, to_name), entry, self._origin, self._time, source)
        self.room -= weight(len(change.path) + len(source))
        if self.follower is not None:
            self.follower.moved(source, change.path)
        if "moved" in self.kinds and not self._muted:
            self._items.append(change)
        marks = self._marks(to, to_name)
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
        """
        Give the changes of a name, and its row, what lstat says now; and tell of a close that was recorded
        while the path of the file was not certain, if they do not.
        """
        for change in changes:
            change.stat = seen
        self.store(node, name, kid, seen)
        suspected = self._suspects.take(node, name)
        if suspected is None or suspected.told or type_of(kid) != stat.S_IFREG:
            return
        if not {change.kind for change in changes} & {suspected.kind, "written"}:
            self.say(suspected.kind, node, name, stat.S_IFREG, seen)

    def tell_content(
        self, node: Directory, name: bytes, kid: int, seen: Stat, row: Row | None, kind: Kind | None
    ) -> bool:
        """Publish `kind` of a file whose content is not what was published. Returns whether it was."""
        before = row.stat if row else None
        changed = before is not None and (before.size, before.mtime) != (seen.size, seen.mtime)
        if not changed or kind is None or kind == "attributes_changed" or kind not in self.kinds:
            return False
        self.say(kind, node, name, kid, seen)
        self.store(node, name, kid, seen)
        return True

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
        if key in self._writes:
            return self._writes[key]
        if self._parts or self._closed:
            for part in (*reversed(self._parts), *reversed(self._closed)):
                if isinstance(part, Batch) and key in part.writes:
                    return part.writes[key]
        return self._index.row(*key)

    def names(self, device: int, inode: int) -> list[Key]:
        """Where an inode stands, as committed."""
        return self._index.names(device, inode)

    def rows(self, node: Directory, names: Sequence[bytes]) -> dict[bytes, Row]:
        """The same for some names of one directory at once, as far as there are any."""
        rows = self._index.rows(node.number, names)
        for writes in self._uncommitted():
            for name in names if writes else ():
                if (node.number, name) not in writes:
                    continue
                row = writes[node.number, name]
                if row is not None:
                    rows[name] = row
                else:
                    rows.pop(name, None)
        return rows

    def pending_names(self, inodes: frozenset[int]) -> dict[int, list[Key]]:
        """Where these inodes stand by the rows that are not committed yet."""
        names: dict[int, list[Key]] = {}
        for writes in self._uncommitted():
            for key, row in writes.items():
                if row and row.stat and row.stat.inode in inodes:
                    names.setdefault(row.stat.inode, []).append(key)
        return names

    def _uncommitted(self) -> Iterator[Writes]:
        """The rows of batches that were closed, and of the one in hand, the oldest first."""
        yield from (part.writes for part in (*self._closed, *self._parts) if isinstance(part, Batch))
        yield self._writes

    def resolve(self, node: Directory, name: bytes, fresh: Fresh, changes: list[Change], entry: int) -> int:
        """The type of a freshly created name is known now; what an earlier batch published of it stands."""
        if fresh.batch != self.batch or not changes:
            entry = fresh.type
        fresh.type = entry
        node.kids[name] = entry
        if entry != stat.S_IFREG:
            for change in changes:
                change.type = entry
                if change.kind == "written":
                    self.retract(change)
            for part in self._parts:  # a batch that was cut since may be the last that is committed
                if isinstance(part, Batch) and (row := part.writes.get((node.number, name))):
                    part.writes[node.number, name] = row._replace(type=entry)
        return entry

    def notice(self, kind: str, path: bytes | None = None, /, **data: object) -> None:
        """Let the stream say something about itself."""
        self.room -= weight(len(path or b""))
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
