"""
What the capture tells whoever follows the content of files, and how that one comes to them.

The hints come in the order of the changes, published or not. They are no more than that: by the time somebody
looks, the disk may have gone on.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from inotify_bridge.capture.change import Kind, Origin, Stat
from inotify_bridge.capture.doors import Doors
from inotify_bridge.capture.filesystem import Door
from inotify_bridge.capture.tree import Root, type_of

if TYPE_CHECKING:
    from inotify_bridge.capture.model import Model


class Follower(Protocol):
    """Told on the recorder's thread; must return at once. Paths are those of the stream."""

    def content(self, path: bytes, kind: Kind, origin: Origin, seen: Stat | None) -> None:
        """A regular file appeared, or its content changed; `seen` is what lstat said, where that is known."""

    def moved(self, source: bytes, path: bytes) -> None:
        """A file, or a directory with all below it, has another path; what stood there is replaced."""

    def gone(self, path: bytes) -> None:
        """An entry is no longer in the tree."""


class Places:
    """
    The files of the tree, for reading. Used by the recorder's thread, between two batches.

    Every directory is reached by `Doors`: nothing outside a root is opened.
    """

    def __init__(self, model: Model, doors: Doors) -> None:
        self._model = model
        self._doors = doors

    def tell(self, follower: Follower) -> None:
        """Whom the capture tells from now on."""
        self._model.follower = follower

    def at(self, path: bytes) -> tuple[int, bytes] | None:
        """
        Where a file stands, or stood.

        Args:
            path: as the stream names it.

        Returns:
            The descriptor of its directory, valid until `close`, and its name there; None where the
            directory is not there (now).
        Raises:
            OSError: the directory cannot be opened, and nothing is known.
        """
        place = self._model.tree.place(path)
        if place is None:
            return None
        handle = self._doors.open(place[0])
        if handle is None:
            return None
        assert isinstance(handle, Door)
        return handle.fd, place[1]

    def holds(self, path: bytes) -> bool:
        """Whether there is such an entry in the tree: if so the capture tells when it goes."""
        place = self._model.tree.place(path)
        return place is not None and place[1] in place[0].kids

    def files(self) -> Iterator[bytes]:
        """The paths of all regular files of the tree."""
        tree = self._model.tree
        for node in tree.directories():
            names = node.only if isinstance(node, Root) and node.only is not None else {}
            top = tree.path(node)
            for name, kid in node.kids.items():
                if type_of(kid) == stat.S_IFREG:
                    told = names.get(name, name)
                    yield b"%s/%s" % (top, told) if top else told

    def known_at(self, device: int, inode: int) -> list[bytes]:
        """Paths at which an inode was published, wherever in the tree that is."""
        tree = self._model.tree
        return [
            tree.join(node, name)
            for number, name in self._model.names(device, inode)
            if (node := tree.by_number.get(number)) is not None
        ]

    def close(self) -> None:
        """Close the directories."""
        self._doors.close()
