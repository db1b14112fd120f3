"""
A file tree in memory with the system calls that change it, and the inotify events each of them queues.

The order of the events, and who gets them, follows the kernel (fs/namei.c, fs/notify); `test_kernel.py` holds
it against the real one. What matters there is the *dentry*: an open file speaks under the name it was opened
by, also after that name is gone, and an open directory delays the end of its inode.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import TypeAlias

from inotify_bridge.capture.constants import (
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_ISDIR,
    IN_MODIFY,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
)
from tests.simulation.kernel import Inotify, Watch

Operation: TypeAlias = tuple[str, *tuple[bytes | int, ...]]
"""(name of a method of `Tree`, its arguments)."""

DEVICE = 64
SILENT, UNSEEN = 1, 2


class Inode:
    """
    An inode. For directories `entries` holds the names and `dentry` the one name it has itself.

    Args:
        untold: SILENT where content changed without a close that would tell about it, UNSEEN where it changed
            under a name outside the watched tree: nothing of it can be known before the next resync.
        through: the names by which it was changed while it had several.
    """

    __slots__ = (
        "ctime",
        "dentry",
        "entries",
        "gid",
        "links",
        "mode",
        "mtime",
        "number",
        "opens",
        "size",
        "target",
        "through",
        "uid",
        "untold",
        "watch",
    )

    def __init__(self, number: int, mode: int, now: int) -> None:
        self.number = number
        self.mode = mode
        self.uid = self.gid = 0
        self.size = 0
        self.mtime = self.ctime = now
        self.links = 1
        self.target: bytes | None = None
        self.entries: dict[bytes, Dentry] = {}
        self.dentry: Dentry | None = None
        self.opens = 0
        self.untold = 0
        self.through: dict[Dentry, None] = {}
        self.watch: Watch | None = None

    @property
    def is_directory(self) -> bool:
        return self.mode & 0o170000 == stat.S_IFDIR


class Dentry:
    """
    A name of an inode.

    Args:
        count: open descriptors on it, and dead names below it that are still open.
        dead: removed from its directory, or never in it (O_TMPFILE).
        slot: place in the list of live names, for the generator.
    """

    __slots__ = ("count", "dead", "inode", "name", "parent", "slot")

    def __init__(self, inode: Inode, parent: Dentry | None, name: bytes) -> None:
        self.inode = inode
        self.parent = parent
        self.name = name
        self.count = 0
        self.dead = False
        self.slot = -1

    def path(self) -> bytes:
        """From the top of the tree, without a leading slash."""
        parts = []
        at: Dentry | None = self
        while at is not None and at.parent is not None:
            parts.append(at.name)
            at = at.parent
        return b"/".join(reversed(parts))

    def below(self, other: Dentry) -> bool:
        """Is it `other`, or anywhere below it?"""
        at: Dentry | None = self
        while at is not None and at is not other:
            at = at.parent
        return at is not None


def no(code: int) -> OSError:
    """The OSError a system call would fail with."""
    return OSError(code, os.strerror(code))


class Tree:
    """
    The tree, its clock, and the system calls of everybody who works in it.

    Args:
        inotify: the one instance that watches it, if any.
        reuse: give the number of a freed inode to the next one, as ext4 does; else never, as tmpfs.
        watched: is this path inside what is watched? Decides only what `Inode.untold` says.
    """

    def __init__(
        self,
        inotify: Inotify | None = None,
        reuse: bool = True,
        watched: Callable[[bytes], bool] = lambda path: True,
    ) -> None:
        self.inotify = inotify if inotify is not None else Inotify()
        self.now = 1_700_000_000_000_000_000
        self.files: dict[int, Dentry] = {}
        self.directories: list[Dentry] = []
        self.others: list[Dentry] = []
        self._reuse = reuse
        self._watched = watched
        self._free: list[int] = []
        self._next = 11
        self._cookie = 0
        self.top = Dentry(self._inode(stat.S_IFDIR | 0o755), None, b"")
        self.top.inode.dentry = self.top
        self.top.inode.links = 2

    def apply(self, operation: Operation) -> None:
        """Run one operation. Raises: OSError as the system call would."""
        self.now += 1000
        getattr(self, operation[0])(*operation[1:])

    def find(self, path: bytes) -> Dentry:
        """The name at a path. Raises: OSError, ENOENT or ENOTDIR."""
        at = self.top
        for name in path.split(b"/"):
            if not at.inode.is_directory:
                raise no(errno.ENOTDIR)
            found = at.inode.entries.get(name)
            if found is None:
                raise no(errno.ENOENT)
            at = found
        return at

    # -- names -----------------------------------------------------------------------------------------

    def mkdir(self, path: bytes, mode: int) -> None:
        parent, name = self._vacant(path)
        entry = self._attach(self._inode(stat.S_IFDIR | mode), parent, name)
        entry.inode.links = 2
        entry.inode.dentry = entry
        parent.inode.links += 1
        self._event(parent.inode, IN_CREATE | IN_ISDIR, name)

    def rmdir(self, path: bytes) -> None:
        entry = self.find(path)
        if not entry.inode.is_directory:
            raise no(errno.ENOTDIR)
        if entry.inode.entries:
            raise no(errno.ENOTEMPTY)
        self._remove(entry, IN_DELETE | IN_ISDIR)

    def unlink(self, path: bytes) -> None:
        entry = self.find(path)
        if entry.inode.is_directory:
            raise no(errno.EISDIR)
        self._remove(entry, IN_DELETE)

    def symlink(self, target: bytes, path: bytes) -> None:
        inode = self._make(path, stat.S_IFLNK | 0o777)
        inode.target = target
        inode.size = len(target)

    def mknod(self, path: bytes, mode: int) -> None:
        self._make(path, mode)

    def link(self, source: bytes, path: bytes) -> None:
        self._link(self.find(source).inode, path)

    def rename(self, source: bytes, path: bytes) -> None:
        entry = self.find(source)
        assert entry.parent is not None
        parent, name = self._parent(path)
        if entry.inode.is_directory and parent.below(entry):
            raise no(errno.EINVAL)
        victim = parent.inode.entries.get(name)
        if victim is not None:
            if victim.inode is entry.inode:
                return  # two links of one inode: rename(2) does nothing at all
            self._check_victim(entry, victim)
            self._detach(victim)
        old_parent, old_name = entry.parent, entry.name
        self._relocate(entry, parent, name)
        self._moved(entry, old_parent, old_name, victim)
        if victim is not None:
            self._drop(victim)

    def exchange(self, one: bytes, two: bytes) -> None:
        """renameat2(2) with RENAME_EXCHANGE: to inotify it is two ordinary renames."""
        a, b = self.find(one), self.find(two)
        assert a.parent is not None
        assert b.parent is not None
        if a.parent.below(b) or b.parent.below(a):
            raise no(errno.EINVAL)
        if a.inode is b.inode:
            return
        a_parent, a_name, b_parent, b_name = a.parent, a.name, b.parent, b.name
        self._relocate(a, b_parent, b_name)
        self._relocate(b, a_parent, a_name)
        a_parent.inode.entries[a_name] = b
        b_parent.inode.entries[b_name] = a
        self._moved(a, a_parent, a_name, None)
        self._moved(b, b_parent, b_name, None)

    # -- content ---------------------------------------------------------------------------------------

    def open(self, fd: int, path: bytes, flags: int) -> None:
        """Open for writing under the descriptor number `fd`; O_CREAT makes the file, O_TRUNC empties it."""
        if flags & os.O_CREAT:
            self._make(path, stat.S_IFREG | 0o644)
        entry = self.find(path)
        if entry.inode.mode & 0o170000 != stat.S_IFREG:
            raise no(errno.EINVAL)
        if flags & os.O_TRUNC and not flags & os.O_CREAT:
            self._content(entry, -entry.inode.size)
        self._open(fd, entry)

    def tmpfile(self, fd: int, path: bytes) -> None:
        """open(2) with O_TMPFILE: a file without a name, that speaks as ``#<inode>`` in that directory."""
        parent = self.find(path)
        inode = self._inode(stat.S_IFREG | 0o644)
        inode.links = 0
        entry = Dentry(inode, parent, b"#%d" % inode.number)
        entry.dead = True
        parent.count += 1
        self._open(fd, entry)

    def linkfd(self, fd: int, path: bytes) -> None:
        """linkat(2) of an open file."""
        self._link(self.files[fd].inode, path)

    def write(self, fd: int, size: int) -> None:
        self._content(self.files[fd], size)

    def close(self, fd: int) -> None:
        entry = self.files.pop(fd)
        self._about(entry, IN_CLOSE_WRITE)
        inode = entry.inode
        if inode.links == 1 and not entry.dead:
            inode.untold &= ~SILENT
        inode.opens -= 1
        self.unpin(entry)

    def truncate(self, path: bytes, size: int) -> None:
        entry = self.find(path)
        self._content(entry, size - entry.inode.size)
        entry.inode.untold |= SILENT

    # -- attributes ------------------------------------------------------------------------------------

    def chmod(self, path: bytes, mode: int) -> None:
        entry = self.find(path)
        entry.inode.mode = entry.inode.mode & 0o170000 | mode
        self._changed(entry)

    def chown(self, path: bytes, uid: int, gid: int) -> None:
        entry = self.find(path)
        entry.inode.uid, entry.inode.gid = uid, gid
        self._changed(entry)

    def utimes(self, path: bytes, mtime: int) -> None:
        entry = self.find(path)
        entry.inode.mtime = mtime
        self._changed(entry)

    # -- for those who hold a directory open -----------------------------------------------------------

    def pin(self, entry: Dentry) -> None:
        """Somebody opened the directory."""
        entry.count += 1
        entry.inode.opens += 1

    def unpin_directory(self, entry: Dentry) -> None:
        """The opposite of `pin`."""
        entry.inode.opens -= 1
        self.unpin(entry)

    def unpin(self, entry: Dentry) -> None:
        """A descriptor on the name was closed; the last one on a dead name ends it."""
        entry.count -= 1
        if entry.dead and not entry.count:
            assert entry.parent is not None
            self._end(entry)
            self.unpin(entry.parent)

    # -- inside ----------------------------------------------------------------------------------------

    def _inode(self, mode: int) -> Inode:
        if self._free:
            number = self._free.pop()
        else:
            number = self._next
            self._next += 1
        return Inode(number, mode, self.now)

    def _parent(self, path: bytes) -> tuple[Dentry, bytes]:
        above, _, name = path.rpartition(b"/")
        parent = self.find(above) if above else self.top
        if not parent.inode.is_directory:
            raise no(errno.ENOTDIR)
        return parent, name

    def _vacant(self, path: bytes) -> tuple[Dentry, bytes]:
        parent, name = self._parent(path)
        if name in parent.inode.entries:
            raise no(errno.EEXIST)
        return parent, name

    def _make(self, path: bytes, mode: int) -> Inode:
        parent, name = self._vacant(path)
        inode = self._inode(mode)
        self._attach(inode, parent, name)
        self._event(parent.inode, IN_CREATE, name)
        return inode

    def _link(self, inode: Inode, path: bytes) -> None:
        parent, name = self._vacant(path)
        if inode.is_directory:
            raise no(errno.EPERM)
        inode.links += 1
        inode.ctime = self.now
        self._attach(inode, parent, name)
        self._event(parent.inode, IN_CREATE, name)

    def _attach(self, inode: Inode, parent: Dentry, name: bytes) -> Dentry:
        entry = Dentry(inode, parent, name)
        parent.inode.entries[name] = entry
        parent.inode.mtime = parent.inode.ctime = self.now
        live = self.directories if inode.is_directory else self.others
        entry.slot = len(live)
        live.append(entry)
        return entry

    def _detach(self, entry: Dentry) -> None:
        """Take a name out of its directory; its events and its end are the caller's."""
        parent = entry.parent
        assert parent is not None
        inode = entry.inode
        del parent.inode.entries[entry.name]
        parent.inode.mtime = parent.inode.ctime = inode.ctime = self.now
        if inode.is_directory:
            parent.inode.links -= 1
            inode.links = 0
            live = self.directories
        else:
            inode.links -= 1
            live = self.others
        last = live.pop()
        if last is not entry:
            live[entry.slot] = last
            last.slot = entry.slot
        entry.dead = True

    def _remove(self, entry: Dentry, mask: int) -> None:
        parent = entry.parent
        assert parent is not None
        self._detach(entry)
        if (
            entry.inode.is_directory
        ):  # its end comes before the parent hears of it, unless somebody holds it open
            self._drop(entry)
            self._event(parent.inode, mask, entry.name)
        else:
            self._event(parent.inode, mask, entry.name)
            self._drop(entry)

    def _drop(self, entry: Dentry) -> None:
        assert entry.parent is not None
        if entry.count:
            entry.parent.count += 1
        else:
            self._end(entry)

    def _end(self, entry: Dentry) -> None:
        """The dentry is gone, and its inode with it when that was the last of it."""
        inode = entry.inode
        if inode.links or inode.opens:
            return
        if inode.is_directory:
            self._event(inode, IN_DELETE_SELF, b"")
            self.inotify.forget(inode)
        if self._reuse:
            self._free.append(inode.number)

    def _relocate(self, entry: Dentry, parent: Dentry, name: bytes) -> None:
        old = entry.parent
        assert old is not None
        old.inode.entries.pop(entry.name, None)
        if entry.inode.is_directory:
            old.inode.links -= 1
            parent.inode.links += 1
        now = self.now
        old.inode.mtime = old.inode.ctime = parent.inode.mtime = parent.inode.ctime = entry.inode.ctime = now
        entry.parent, entry.name = parent, name
        parent.inode.entries[name] = entry

    def _check_victim(self, entry: Dentry, victim: Dentry) -> None:
        if not victim.inode.is_directory:
            if entry.inode.is_directory:
                raise no(errno.ENOTDIR)
        elif not entry.inode.is_directory:
            raise no(errno.EISDIR)
        elif victim.inode.entries:
            raise no(errno.ENOTEMPTY)

    def _moved(self, entry: Dentry, parent: Dentry, name: bytes, victim: Dentry | None) -> None:
        self._cookie += 1
        assert entry.parent is not None
        is_directory = IN_ISDIR if entry.inode.is_directory else 0
        self._event(parent.inode, IN_MOVED_FROM | is_directory, name, self._cookie)
        self._event(entry.parent.inode, IN_MOVED_TO | is_directory, entry.name, self._cookie)
        if victim is not None and victim.inode.is_directory:
            self._event(victim.inode, IN_ATTRIB | IN_ISDIR, b"")
        if is_directory:
            self._event(entry.inode, IN_MOVE_SELF, b"")

    def _open(self, fd: int, entry: Dentry) -> None:
        self.files[fd] = entry
        entry.count += 1
        entry.inode.opens += 1

    def _content(self, entry: Dentry, growth: int) -> None:
        inode = entry.inode
        inode.size += growth
        inode.mtime = inode.ctime = self.now
        if inode.links > 1 or entry.dead:
            inode.untold |= SILENT
        self._hide(entry)
        self._about(entry, IN_MODIFY)

    def _changed(self, entry: Dentry) -> None:
        entry.inode.ctime = self.now
        self._hide(entry)
        self._about(entry, IN_ATTRIB)

    def _hide(self, entry: Dentry) -> None:
        """A change under one name of several: nobody hears of it where that name is gone or not watched."""
        inode, parent = entry.inode, entry.parent
        if (inode.links == 1 and not entry.dead) or not inode.links or inode.is_directory or parent is None:
            return
        inode.through[entry] = None
        vanished = entry.dead and not entry.name.startswith(b"#")
        if vanished or parent.inode.watch is None or not self._watched(entry.path()):
            inode.untold |= UNSEEN

    def _about(self, entry: Dentry, mask: int) -> None:
        """To the watch of the parent with the name, then to the directory's own without."""
        parent = entry.parent
        if parent is None:
            return
        if entry.inode.is_directory:
            mask |= IN_ISDIR
        self._event(parent.inode, mask, entry.name)
        if mask & IN_ISDIR:
            self._event(entry.inode, mask, b"")

    def _event(self, inode: Inode, mask: int, name: bytes, cookie: int = 0) -> None:
        if inode.watch is not None or self.inotify.splitting:
            self.inotify.event(inode, mask, name, cookie)
