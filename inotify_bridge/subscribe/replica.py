"""The fold: events to the tree that they describe."""

from __future__ import annotations

from collections.abc import Iterator

from inotify_bridge.events.digest import Digest
from inotify_bridge.subscribe.event import Entry, Event


class _Node:
    """A name in the replica. One without an entry only leads to others below it."""

    __slots__ = ("children", "entry")

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self.children: dict[bytes, _Node] = {}


class Replica:
    """
    The tree of one source, as its events tell it.

    Takes the events that a `GapDetector` let pass, in their order. The move of a directory costs as much as
    its path is deep, however much is below it. Belongs to one thread.

    Attributes:
        epoch: of the last event; empty before the first.
        sequence: of the last event.
        invalid: why the replica is known to be wrong, or empty. Then nothing is applied until the next epoch:
            ask the sender for a snapshot.
    """

    def __init__(self) -> None:
        self.epoch = ""
        self.sequence = 0
        self.invalid = ""
        self._source = ""
        self._top = _Node()

    def apply(self, event: Event) -> bool:
        """
        Fold one event.

        Returns:
            True if the replica stands at this event now; False while it is invalid, or becomes so by it.

        Raises:
            ValueError: the event is of another source than those before it, or of a lower epoch.
        """
        self._source = self._source or event.source
        if event.source != self._source:
            raise ValueError(
                f"a replica holds one source: this is {self._source}, the event of {event.source}"
            )
        if event.epoch < self.epoch:
            raise ValueError(f"an event of epoch {event.epoch} after one of {self.epoch}")
        if event.epoch > self.epoch:
            self.epoch, self.invalid, self._top = event.epoch, "", _Node()
        if not self.invalid:
            self._fold(event)
        if self.invalid:
            return False
        self.sequence = event.sequence
        return True

    def digest(self) -> str:
        """The digest of all entries (32 hexadecimal digits); reads the whole replica."""
        digest = Digest()
        for directory, children in self._walk():
            digest.add_names(directory, ((name, c.entry.type) for name, c in children.items() if c.entry))
        if self._top.entry is not None:
            digest.add(b"", self._top.entry.type)
        return digest.hexdigest()

    def items(self) -> Iterator[tuple[bytes, Entry]]:
        """Every path with its entry, in any order. Not to be changed meanwhile."""
        if self._top.entry is not None:
            yield b"", self._top.entry
        for directory, children in self._walk():
            prefix = directory + b"/" if directory else b""
            for name, child in children.items():
                if child.entry is not None:
                    yield prefix + name, child.entry

    def get(self, path: bytes) -> Entry | None:
        """What stands at a path, or None."""
        node: _Node | None = self._top
        for name in _names(path):
            node = node.children.get(name) if node is not None else None
        return None if node is None else node.entry

    def __contains__(self, path: bytes) -> bool:
        return self.get(path) is not None

    def __len__(self) -> int:
        """The number of entries; reads the whole replica."""
        return sum(1 for _ in self.items())

    def _fold(self, event: Event) -> None:
        family, _, verb = event.original_kind.partition(".")
        if event.data.get("omitted"):
            self.invalid = f"parked event {event.id} could not carry its path"
        elif event.kind == "stream.resync_completed":
            self._check(event)
        elif family not in ("file", "directory"):
            return
        elif event.path is None or event.entry is None:
            self.invalid = f"event {event.id} has no path"
        elif verb == "deleted":
            self._take(event.path)
        else:
            if verb == "moved" and event.from_path is not None:
                self._put(event.path, self._take(event.from_path))
            self._upsert(event.path, event.entry)

    def _check(self, event: Event) -> None:
        expected = event.data.get("digest")
        if expected is not None and self.digest() != expected:
            self.invalid = f"the digest of the replica is not that of {event.id}"

    def _upsert(self, path: bytes, entry: Entry) -> None:
        node = self._top
        for name in _names(path):
            node = node.children.setdefault(name, _Node())
        known = node.entry
        # An event about a path that was already gone tells no more than its type.
        if entry.size is not None or known is None or known.type != entry.type:
            node.entry = entry

    def _put(self, path: bytes, node: _Node) -> None:
        """Put a name with all below it at a path, over whatever is there."""
        *above, last = _names(path) or [b""]
        parent = self._top
        for name in above:
            parent = parent.children.setdefault(name, _Node())
        parent.children[last] = node

    def _take(self, path: bytes) -> _Node:
        """Take a path with all below it out; an unknown one gives an empty node."""
        parts = _names(path)
        if not parts:
            taken, self._top = self._top, _Node()
            return taken
        above = [self._top]
        for name in parts[:-1]:
            child = above[-1].children.get(name)
            if child is None:
                return _Node()
            above.append(child)
        taken = above[-1].children.pop(parts[-1], _Node())
        # Names that only led here lead nowhere now.
        while len(above) > 1 and above[-1].entry is None and not above[-1].children:
            above.pop()
            del above[-1].children[parts[len(above) - 1]]
        return taken

    def _walk(self) -> Iterator[tuple[bytes, dict[bytes, _Node]]]:
        """Every directory's path with what is in it."""
        # A stack, not recursion: trees are thousands of levels deep.
        waiting = [(b"", self._top)]
        while waiting:
            path, node = waiting.pop()
            yield path, node.children
            prefix = path + b"/" if path else b""
            waiting.extend((prefix + name, child) for name, child in node.children.items() if child.children)


def _names(path: bytes) -> list[bytes]:
    return path.split(b"/") if path else []
