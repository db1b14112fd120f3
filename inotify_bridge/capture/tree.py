"""
The tree as the stream has told it: directories with parent pointers.

A path is built by walking up, so that renaming a directory moves one pointer and rewrites nothing below it. A
file is only a name and a type in its directory; its stat fields are in the index.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from typing import TypeAlias

ROOT_DIRECTORY = 0
"""Number of the directory under which the roots themselves stand in the index."""

_PATHS_CACHED_BYTES = 1 << 20
_PATH_OVERHEAD = 150  # of an entry of the cache, besides the path itself


class Fresh:
    """
    A non-directory whose creation was told by the kernel, which does not tell its type: lstat will.

    Args:
        batch: number of the batch that publishes it; from the next on it is what was published.
    """

    __slots__ = ("batch", "type")

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.type = stat.S_IFREG


class Directory:
    """
    A directory of the tree.

    Args:
        parent: the directory it stands in; None for a root, and for one that has left the tree.
        name: raw bytes.
        number: its key in the index, never used again within an epoch.
    """

    __slots__ = ("device", "inode", "kids", "name", "number", "parent", "wd")

    def __init__(self, parent: Directory | None, name: bytes, number: int) -> None:
        self.parent = parent
        self.name = name
        self.number = number
        self.wd: int | None = None
        self.device = 0
        self.inode = 0
        self.kids: dict[bytes, Kid] = {}

    def __repr__(self) -> str:
        return f"<Directory {self.name!r} {self.number} wd={self.wd}>"

    def directories(self) -> Iterator[Directory]:
        """Its subdirectories."""
        return (kid for kid in self.kids.values() if isinstance(kid, Directory))

    def alive(self) -> bool:
        """Whether it is still in the tree."""
        return self.parent is not None


class Root(Directory):
    """
    A directory that the operator named.

    Args:
        place: absolute path, raw bytes.
        name: what its paths in the stream begin with; empty for the only root of a group.
        only: where the operator named files: their names here, to those in the stream; nothing else in this
            directory counts.
    """

    __slots__ = ("blind", "lost", "only", "place")

    def __init__(
        self, place: bytes, name: bytes, number: int, only: Mapping[bytes, bytes] | None = None
    ) -> None:
        super().__init__(None, name, number)
        self.place = place
        self.only = only
        self.lost = True
        self.blind = ""

    def alive(self) -> bool:
        """A root is always part of the tree, also while it is lost."""
        return True

    @property
    def key(self) -> bytes:
        """Its name in the index; see `root_key`."""
        return root_key(self.name, self.place, self.only is not None)

    def become_file(self) -> None:
        """What the operator named turned out to be a file: it is followed by its name in its directory."""
        directory, _, base = self.place.rpartition(b"/")
        self.only = {base: self.name or base}
        self.place, self.name = directory or b"/", b""


def root_key(name: bytes, path: bytes, files: bool) -> bytes:
    """
    The name of a root in the index, which like every name there holds no slash.

    Args:
        files: whether single files of the directory count: then it is known by its path.
    """
    return path.replace(b"%", b"%25").replace(b"/", b"%2F") if files else name


Kid: TypeAlias = "int | Fresh | Directory"
"""What a name is: the S_IFMT type of a non-directory, the same not yet known, or a directory."""


def type_of(kid: Kid) -> int:
    """S_IFMT type of a kid (a regular file while it is not known)."""
    if isinstance(kid, int):
        return kid
    return stat.S_IFDIR if isinstance(kid, Directory) else kid.type


def inside(node: Directory | None, ancestor: Directory) -> bool:
    """Whether `node` is `ancestor` or stands below it."""
    while node is not None and node is not ancestor:
        node = node.parent
    return node is ancestor


def _below(root: bytes, path: bytes) -> bytes | None:
    """A path without the name of its root: empty for the root itself, None for what is in another one."""
    path = path.strip(b"/")
    if not root or path == root:
        return path.removeprefix(root)
    return path.removeprefix(root + b"/") if path.startswith(root + b"/") else None


def _descend(node: Directory, names: list[bytes]) -> Directory | None:
    for name in names:
        kid = node.kids.get(name)
        if not isinstance(kid, Directory):
            return None
        node = kid
    return node


def walk(top: Directory) -> Iterator[Directory]:
    """`top` and every directory below it, parents first."""
    waiting = [top]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.directories())


class Tree:
    """All roots of a group, and which watch belongs to which directory."""

    def __init__(self) -> None:
        self.roots: list[Root] = []
        self.by_wd: dict[int, Directory] = {}
        self.by_number: dict[int, Directory] = {}
        self._last_number = ROOT_DIRECTORY
        self._paths: dict[Directory, bytes] = {}
        self._paths_bytes = 0

    def directory(self, parent: Directory, name: bytes, number: int | None = None) -> Directory:
        """A new directory, not yet a kid of its parent; `number` where the index has one for it."""
        node = Directory(parent, name, self._next(number))
        self.by_number[node.number] = node
        return node

    def root(
        self, place: bytes, name: bytes, only: Mapping[bytes, bytes] | None, number: int | None = None
    ) -> Root:
        """A new root."""
        node = Root(place, name, self._next(number), only)
        self.by_number[node.number] = node
        self.roots.append(node)
        return node

    def _next(self, number: int | None) -> int:
        if number is None:
            number = self._last_number + 1
        self._last_number = max(self._last_number, number)
        return number

    def path(self, node: Directory) -> bytes:
        """Path of a directory as the stream names it; empty for a root without a name."""
        path = self._paths.get(node)
        if path is None:
            path = b"/".join(part for part in self._parts(node) if part)
            if self._paths_bytes >= _PATHS_CACHED_BYTES:  # bytes, not entries: a deep path takes many
                self.paths_changed()
            self._paths[node] = path
            self._paths_bytes += len(path) + _PATH_OVERHEAD
        return path

    @staticmethod
    def _parts(node: Directory) -> list[bytes]:
        parts: list[bytes] = []
        at: Directory | None = node
        while at is not None:
            parts.append(at.name)
            at = at.parent
        parts.reverse()
        return parts

    def join(self, node: Directory, name: bytes) -> bytes:
        """Path of a name in a directory."""
        path = self._paths.get(node) or self.path(node)
        if path:
            return path + b"/" + name
        return node.only.get(name, name) if isinstance(node, Root) and node.only is not None else name

    def place(self, path: bytes) -> tuple[Directory, bytes] | None:
        """Where a path of the stream belongs: the directory, and its name there. It may be gone."""
        for root in self.roots:
            if root.only is not None:
                for name, told in root.only.items():
                    if told == path:
                        return root, name
            elif below := _below(root.name, path):
                *above, name = below.split(b"/")
                if (node := _descend(root, above)) is not None:
                    return node, name
        return None

    def directory_at(self, path: bytes) -> Directory | None:
        """The directory that the stream calls `path`."""
        for root in self.roots:
            below = _below(root.name, path)
            node = _descend(root, below.split(b"/") if below else []) if below is not None else None
            if node is not None:
                return node
        return None

    def paths_changed(self) -> None:
        """Forget cached paths: a directory has another place."""
        self._paths.clear()
        self._paths_bytes = 0

    def bind(self, node: Directory, wd: int, device: int, inode: int) -> None:
        """Say that `wd` watches `node`."""
        if node.wd is not None and node.wd != wd and self.by_wd.get(node.wd) is node:
            del self.by_wd[node.wd]
        node.wd, node.device, node.inode = wd, device, inode
        self.by_wd[wd] = node

    def unbind(self, node: Directory) -> int | None:
        """Take the watch off `node`. Returns the number that was its own."""
        wd, node.wd = node.wd, None
        if wd is not None and self.by_wd.get(wd) is node:
            del self.by_wd[wd]
            return wd
        return None

    @staticmethod
    def lost(node: Directory) -> bool:
        """Whether the root above a directory is lost."""
        while node.parent is not None:
            node = node.parent
        return isinstance(node, Root) and node.lost

    def directories(self) -> Iterator[Directory]:
        """Every directory of every root, the roots first among their own."""
        for root in self.roots:
            yield from walk(root)
