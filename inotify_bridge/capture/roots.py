"""
Roots: the directories that the operator named, and what may happen to them.

A lost root is not an empty tree: where its path no longer leads to the directory that is watched, nothing is
said about its contents until there is something to compare with.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

from inotify_bridge.capture.coverage import Coverage, name_of
from inotify_bridge.capture.judge import Judge
from inotify_bridge.capture.model import Model
from inotify_bridge.capture.port import FileSystem, Handle, Identity, Volume
from inotify_bridge.capture.tree import Directory, Root, walk

CHECK_INTERVAL = 2.0
"""Seconds: an unmounted or over-mounted root gives no record at all, so it is looked for."""

_OF_A_NEW_WATCH = frozenset((errno.ENOSPC, errno.ENOMEM))
"""They say that there is no watch yet: one that is there would have been changed (inotify_add_watch(2))."""


class Roots:
    """
    Checks roots. Used by the recorder's thread only.

    Args:
        before: what the roots were when the process that filled the index ended, by `tree.Root.key`.
        found: called with a root that is there (again), watched and not yet scanned.
    """

    def __init__(
        self,
        model: Model,
        judge: Judge,
        port: FileSystem,
        coverage: Coverage,
        before: Mapping[bytes, Volume],
        found: Callable[[Root], None],
    ) -> None:
        self.due = 0.0
        self.volumes: dict[bytes, Volume] = {}
        """What the roots are that were found in this life."""
        self.replaced: Root | None = None
        """One that is another directory than before the start: what the index holds of it says nothing."""
        self._volumes_before = before
        self._model = model
        self._judge = judge
        self._port = port
        self._coverage = coverage
        self._found = found
        self._mounts: dict[Root, Mapping[bytes, int]] = {}
        self._before: dict[Root, Identity] = {}
        self._told_lost: set[Root] = set()

    def check_all(self) -> None:
        """Look for every root: is its path still the directory that is watched?"""
        self.due = self._port.monotonic() + CHECK_INTERVAL
        for root in self._model.tree.roots:
            self.check(root)

    def check(self, root: Root) -> None:
        """Look for one root. The watch is added again: the same number proves the same directory."""
        self._model.seen("resync")
        try:
            handle = self._port.open_root(root.place)
        except OSError as error:
            if error.errno == errno.ENOTDIR and root.only is None and not root.kids:
                self._is_a_file(root)
                return
            self._lose(root, error.errno or errno.EIO)
            return
        try:
            self._compare(root, handle)
        finally:
            handle.close()

    def _is_a_file(self, root: Root) -> None:
        """What was not there at the start, or was a directory then, is a file."""
        root.become_file()
        twin = next((one for one in self._model.tree.roots if one is not root and one.key == root.key), None)
        if twin is None:
            self._model.store_root(root)
            self.check(root)
            return
        twin.only = {**(twin.only or {}), **(root.only or {})}
        self._model.tree.roots.remove(root)
        if not twin.lost:
            self._found(twin)

    def _compare(self, root: Root, handle: Handle) -> None:
        if root.lost and not (self._acceptable(root, handle) and self._same_volume(root, handle)):
            self._lose(root, errno.ESTALE)
            return
        try:
            wd = self._judge.watch_root(handle)
        except OSError as error:
            self._unwatched(root, handle, error.errno or errno.EIO)
            return
        other = self._model.tree.by_wd.get(wd)
        if other is root:
            return
        if other is not None:
            # Two roots lead to one directory, by a link or a mount: the second is polled.
            self._unwatched(root, handle, errno.EEXIST)
            return
        if not root.lost and not self._was_only_polled(root, handle):
            self._lose(root, errno.ESTALE)
        if not root.lost or self._acceptable(root, handle):
            self._take(root, handle)
            self._model.tree.bind(root, wd, *handle.identity)
            self._watched(root)
            self._found(root)
        else:
            self._port.remove_watch(wd)

    def _was_only_polled(self, root: Root, handle: Handle) -> bool:
        """
        Whether the root has had no watch so far, so that a number that is new proves nothing against it.
        """
        return root in self._coverage and root.wd is None and (root.device, root.inode) == handle.identity

    def _unwatched(self, root: Root, handle: Handle, code: int) -> None:
        """The root is there and cannot be watched: it is polled."""
        # A number proves nothing: the file system may give that of a removed directory to the next one.
        watched = root.wd is not None and code not in _OF_A_NEW_WATCH
        covered = watched or root in self._coverage
        if not root.lost and not (covered and (root.device, root.inode) == handle.identity):
            self._lose(root, errno.ESTALE)
        if root.lost and self._acceptable(root, handle):
            self._take(root, handle)
            root.device, root.inode = handle.identity
            self._coverage.degrade(root, code, self._port.monotonic())
            self._found(root)

    def _acceptable(self, root: Root, handle: Handle) -> bool:
        """
        An empty directory in place of a lost tree is no news of deletions: a volume may not be mounted yet.
        The very directory that it was is itself, also when it was emptied: in this life or since the last.
        """
        if not root.kids or self._before.get(root) == handle.identity or self._was(root, handle):
            return True
        try:
            return next(iter(self._port.names(handle)), None) is not None
        except OSError:
            return False

    def _was(self, root: Root, handle: Handle) -> bool:
        """Whether a root that was not seen in this life yet is for certain the directory of the last."""
        before = self._volumes_before.get(root.key)
        if root.key in self.volumes or before is None or not before.file_system:
            return False
        return self._port.volume(handle) == before

    def _same_volume(self, root: Root, handle: Handle) -> bool:
        """
        Whether a root with known contents, not seen in this life yet, is the directory it was in the last.
        """
        before = self._volumes_before.get(root.key)
        if not root.kids or root.key in self.volumes or before is None or not before.file_system:
            return True
        if self._port.volume(handle) == before:
            return True
        self.replaced = root
        return False

    def _take(self, root: Root, handle: Handle) -> None:
        self.volumes[root.key] = self._port.volume(handle)
        self._before[root] = handle.identity
        root.lost = False
        root.blind = self._port.blind(handle)
        if root in self._told_lost:
            self._told_lost.discard(root)
            self._model.notice("root_restored", root.name)

    def _watched(self, root: Root) -> None:
        """The root has its watch, which tells little where files are changed out of the kernel's sight."""
        if root.blind:
            self._coverage.degrade(root, errno.ENOTSUP, self._port.monotonic())
        else:
            self._coverage.restore(root)

    def _lose(self, root: Root, code: int) -> None:
        """
        Say it once, end the watches below, and keep the tree: identities mean nothing when it comes back.
        """
        if root in self._told_lost:
            return
        self._told_lost.add(root)
        root.lost = True
        self._model.notice("root_lost", root.name, error=name_of(code))
        for node in walk(root):
            self._model.unwatch(node)
            node.device = node.inode = 0

    # -- mounts below a root

    def mounts(self, below: Callable[[bytes], Mapping[bytes, int]]) -> list[tuple[Directory, bytes]]:
        """
        The mount table changed.

        Args:
            below: mount points strictly below an absolute path, relative to it, with the mount's number.

        Returns:
            The places of the tree where a mount point came or went.
        """
        changed: list[tuple[Directory, bytes]] = []
        for root in self._model.tree.roots:
            self.check(root)
            before, now = self._mounts.get(root, {}), below(root.place)
            self._mounts[root] = now
            for path in sorted({path for path, _ in before.items() ^ now.items()}):
                place = self._locate(root, path)
                if place is not None:
                    changed.append(place)
        return changed

    @staticmethod
    def _locate(root: Root, path: bytes) -> tuple[Directory, bytes] | None:
        *above, name = path.split(b"/")
        node: Directory = root
        for part in above:
            kid = node.kids.get(part)
            if not isinstance(kid, Directory):
                return None
            node = kid
        return node, name
