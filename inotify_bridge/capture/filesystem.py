"""
The real port: the disk and the kernel, by descriptors and never by a path that somebody could redirect.

openat2(2) has no wrapper in Python; it is called by number, and where the kernel or a seccomp profile
refuses it (ENOSYS, EPERM) every component is opened on its own with O_NOFOLLOW.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import time
from collections.abc import Iterator, Mapping

from inotify_bridge.capture.change import Stat
from inotify_bridge.capture.constants import BLIND_FILE_SYSTEMS
from inotify_bridge.capture.inotify import Inotify
from inotify_bridge.capture.port import Handle, Identity, Volume
from inotify_bridge.mounted import file_system_type

_SYS_OPENAT2 = 437  # the same on every architecture, as all calls since Linux 5.1
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_STEP = 3_500  # bytes of a path at once, below PATH_MAX (4096)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK

_libc = ctypes.CDLL(None, use_errno=True)
_how = struct.pack("QQQ", _DIRECTORY | os.O_NOFOLLOW, 0, _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH)


class Door:
    """An open directory."""

    __slots__ = ("fd", "identity")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.identity = Identity(0, 0)
        seen = os.fstat(fd)
        self.identity = Identity(seen.st_dev, seen.st_ino)

    def close(self) -> None:
        """Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        self.close()


class KernelFileSystem:
    """
    The port of one watch group.

    Args:
        inotify: the group's instance; owned by the group.
    """

    def __init__(self, inotify: Inotify) -> None:
        self._inotify = inotify
        self._openat2 = True
        self._plain: set[bytes] = set()
        self.monotonic = time.monotonic
        self.wall = time.time_ns

    def open_root(self, path: bytes) -> Handle:
        """See `port.FileSystem`. A root that was no symbolic link at first must not become one."""
        if path not in self._plain:
            door = Door(os.open(path, _DIRECTORY))
            if not os.path.islink(path):
                self._plain.add(path)
            return door
        try:
            return Door(os.open(path, _DIRECTORY | os.O_NOFOLLOW))
        except NotADirectoryError:
            if os.path.islink(path):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
            raise

    def open_below(self, handle: Handle, path: bytes) -> Handle:
        """See `port.FileSystem`."""
        at = _fd(handle)
        if len(path) < _STEP:
            return Door(self._open(at, path))
        fd = -1
        try:
            for step in _steps(path):
                inner = self._open(at, step)
                if fd >= 0:
                    os.close(fd)
                at = fd = inner
        except OSError:
            if fd >= 0:
                os.close(fd)
            raise
        return Door(fd)

    def _open(self, at: int, path: bytes) -> int:
        if b"/" not in path:
            return os.open(path, _DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
        if self._openat2:
            fd: int = _libc.syscall(_SYS_OPENAT2, at, path, _how, len(_how))
            if fd >= 0:
                return fd
            code = ctypes.get_errno()
            if code not in (errno.ENOSYS, errno.EPERM):
                raise OSError(code, os.strerror(code), path)
            self._openat2 = False
        return _open_each(at, path.split(b"/"))

    def lstat(self, handle: Handle, name: bytes) -> Stat:
        """See `port.FileSystem`."""
        fd = _fd(handle)
        while True:
            seen = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if not stat.S_ISLNK(seen.st_mode):
                return _stat(seen, None)
            try:
                return _stat(seen, os.readlink(name, dir_fd=fd))
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOENT):
                    raise
                # The link was replaced between the two calls: look again.

    def names(self, handle: Handle) -> Iterator[bytes]:
        """See `port.FileSystem`."""
        # A descriptor that scandir reads shares its position with the one it was made of: begin at the front.
        os.lseek(_fd(handle), 0, os.SEEK_SET)
        with os.scandir(_fd(handle)) as entries:
            for entry in entries:
                yield os.fsencode(entry.name)

    def add_watch(self, handle: Handle, mask: int) -> int:
        """See `port.FileSystem`."""
        return self._inotify.add_watch(b"/proc/self/fd/%d" % _fd(handle), mask)

    def remove_watch(self, wd: int) -> None:
        """See `port.FileSystem`."""
        self._inotify.remove_watch(wd)

    def blind(self, handle: Handle) -> str:
        """See `port.FileSystem`."""
        return BLIND_FILE_SYSTEMS.get(file_system_type(_fd(handle)), "")

    def volume(self, handle: Handle) -> Volume:
        """See `port.FileSystem`."""
        file_system = os.fstatvfs(_fd(handle)).f_fsid
        return Volume(f"{file_system:016x}" if file_system else "", handle.identity.inode)


def _stat(seen: os.stat_result, target: bytes | None) -> Stat:
    return Stat(
        seen.st_mode,
        seen.st_size,
        seen.st_uid,
        seen.st_gid,
        seen.st_dev,
        seen.st_ino,
        seen.st_nlink,
        seen.st_mtime_ns,
        seen.st_ctime_ns,
        target,
    )


def _fd(handle: Handle) -> int:
    assert isinstance(handle, Door)
    return handle.fd


def _steps(path: bytes) -> Iterator[bytes]:
    """The path in pieces that the kernel takes at once."""
    step = b""
    for part in path.split(b"/"):
        if step and len(step) + len(part) >= _STEP:
            yield step
            step = part
        else:
            step = step + b"/" + part if step else part
    yield step


def _open_each(at: int, parts: list[bytes]) -> int:
    fd = -1
    for part in parts:
        try:
            inner = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
        finally:
            if fd >= 0:
                os.close(fd)
        at = fd = inner
    return fd


def mounts_below(place: bytes) -> Mapping[bytes, int]:
    """
    Mount points strictly below a directory.

    Args:
        place: absolute path.

    Returns:
        Path relative to it, to the number of the topmost mount there (/proc/self/mountinfo, proc(5)).
    """
    top = os.path.realpath(place).rstrip(b"/") + b"/"
    found: dict[bytes, int] = {}
    with open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            fields = line.split(b" ", 5)
            point = _unescaped(fields[4])
            if point.startswith(top) and point != top:
                found[point[len(top) :]] = int(fields[0])
    return found


def _unescaped(field: bytes) -> bytes:
    r"""mountinfo writes space, tab, newline and backslash as \040, \011, \012 and \134."""
    if b"\\" not in field:
        return field
    for escape, character in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(escape, character)
    return field
