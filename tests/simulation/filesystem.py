"""The simulated side of the port: disk and kernel as the reconciler sees them, while others work on."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterator

from inotify_bridge.capture.change import Stat
from inotify_bridge.capture.port import Handle, Identity, Volume
from tests.simulation.tree import DEVICE, Dentry, Inode, Tree, no

_READ, _SEARCH = 0o400, 0o100


class SimulatedHandle:
    """An open directory."""

    def __init__(self, tree: Tree, entry: Dentry, opened: dict[int, SimulatedHandle]) -> None:
        self.entry = entry
        self.inode = entry.inode
        self.identity = Identity(DEVICE, entry.inode.number)
        self._tree = tree
        self._opened = opened
        opened[id(self)] = self
        tree.pin(entry)

    def close(self) -> None:
        """As close(2); idempotent."""
        if self._opened.pop(id(self), None) is not None:
            self._tree.unpin_directory(self.entry)


class SimulatedFileSystem:
    """
    The port `inotify_bridge.capture.port.FileSystem` on a simulated tree.

    Args:
        before: called before each call does its work: there anybody else may work on the tree. It may raise
            the OSError that the call is to fail with.
    """

    def __init__(self, tree: Tree, before: Callable[[str], None]) -> None:
        self.opened: dict[int, SimulatedHandle] = {}
        self.calls = 0
        self._tree = tree
        self._before = before

    def _begin(self, call: str) -> None:
        self.calls += 1
        self._before(call)

    def open_root(self, path: bytes) -> Handle:
        self._begin("open_root")
        return self._open(self._tree.top, path.lstrip(b"/").split(b"/"))

    def open_below(self, handle: Handle, path: bytes) -> Handle:
        self._begin("open_below")
        assert isinstance(handle, SimulatedHandle)
        self._check_open(handle)
        return self._open(handle.entry, path.split(b"/"))

    def _open(self, at: Dentry, names: list[bytes]) -> SimulatedHandle:
        for name in names:
            at = _lookup(at.inode, name)
            kind = at.inode.mode & 0o170000
            if kind == stat.S_IFLNK:
                raise no(errno.ELOOP)
            if kind != stat.S_IFDIR:
                raise no(errno.ENOTDIR)
        if not at.inode.mode & _READ:
            raise no(errno.EACCES)
        return SimulatedHandle(self._tree, at, self.opened)

    def lstat(self, handle: Handle, name: bytes) -> Stat:
        self._begin("lstat")
        assert isinstance(handle, SimulatedHandle)
        self._check_open(handle)
        inode = _lookup(handle.inode, name).inode
        return Stat(
            inode.mode,
            inode.size,
            inode.uid,
            inode.gid,
            DEVICE,
            inode.number,
            inode.links,
            inode.mtime,
            inode.ctime,
            inode.target,
        )

    def names(self, handle: Handle) -> Iterator[bytes]:
        assert isinstance(handle, SimulatedHandle)
        self._check_open(handle)
        given: set[bytes] = set()
        self._begin("names")
        if handle.entry.dead:
            raise no(errno.ENOENT)
        entries = handle.inode.entries
        # As getdents(2) reads it: what is there from first to last is given once, what comes or goes
        # meanwhile may be given or not. Here: all that is there at its turn.
        while True:
            name = next((name for name in entries if name not in given), None)
            if name is None:
                return
            given.add(name)
            yield name
            self._begin("names")

    def add_watch(self, handle: Handle, mask: int) -> int:
        self._begin("add_watch")
        assert isinstance(handle, SimulatedHandle)
        self._check_open(handle)
        if not handle.inode.mode & _READ:
            raise no(errno.EACCES)
        return self._tree.inotify.add(handle.inode, mask)

    def remove_watch(self, wd: int) -> None:
        self._begin("remove_watch")
        try:
            self._tree.inotify.remove(wd)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise

    def volume(self, handle: Handle) -> Volume:
        return Volume("", handle.identity.inode)

    def blind(self, handle: Handle) -> str:
        return ""

    def monotonic(self) -> float:
        return (self._tree.now - 1_600_000_000_000_000_000) / 1e9

    def wall(self) -> int:
        return self._tree.now

    def _check_open(self, handle: SimulatedHandle) -> None:
        if id(handle) not in self.opened:
            raise no(errno.EBADF)


def _lookup(directory: Inode, name: bytes) -> Dentry:
    if not directory.mode & _SEARCH:
        raise no(errno.EACCES)
    found = directory.entries.get(name)
    if found is None:
        raise no(errno.ENOENT)
    return found
