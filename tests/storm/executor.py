"""The operations on a real tree."""

from __future__ import annotations

import ctypes
import os
from typing import Final

from tests.simulation.tree import Operation

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_libc = ctypes.CDLL(None, use_errno=True)
_BYTES: Final = b"inotify-bridge storm\n" * 8


class Executor:
    """
    Does on the real kernel what `tests.simulation.tree.Tree` does in memory, method for method.

    Args:
        root: stands for ``r``, the watched directory.
        outside: stands for ``o``; on the same file system.
    """

    def __init__(self, root: bytes, outside: bytes) -> None:
        self._where = {b"r": root, b"o": outside}
        self._files: dict[int, int] = {}

    def apply(self, operation: Operation) -> None:
        """Run one operation. Raises: OSError."""
        getattr(self, operation[0])(*operation[1:])

    def descriptor(self, fd: int) -> int:
        """The real descriptor of one that the generator has numbered."""
        return self._files[fd]

    def _real(self, path: bytes) -> bytes:
        return self._where[path[:1]] + path[1:]

    def mkdir(self, path: bytes, mode: int) -> None:
        os.mkdir(self._real(path), mode)

    def rmdir(self, path: bytes) -> None:
        os.rmdir(self._real(path))

    def unlink(self, path: bytes) -> None:
        os.unlink(self._real(path))

    def symlink(self, target: bytes, path: bytes) -> None:
        os.symlink(target, self._real(path))

    def mknod(self, path: bytes, mode: int) -> None:
        os.mknod(self._real(path), mode)

    def link(self, source: bytes, path: bytes) -> None:
        os.link(self._real(source), self._real(path), follow_symlinks=False)

    def rename(self, source: bytes, path: bytes) -> None:
        os.rename(self._real(source), self._real(path))

    def exchange(self, one: bytes, two: bytes) -> None:
        a, b = self._real(one), self._real(two)
        if _libc.renameat2(_AT_FDCWD, a, _AT_FDCWD, b, _RENAME_EXCHANGE):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), a, None, b)

    def open(self, fd: int, path: bytes, flags: int) -> None:
        if flags & os.O_CREAT:
            flags |= os.O_EXCL
        self._files[fd] = os.open(self._real(path), os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | flags, 0o644)

    def tmpfile(self, fd: int, path: bytes) -> None:
        self._files[fd] = os.open(self._real(path), os.O_WRONLY | os.O_TMPFILE, 0o644)

    def linkfd(self, fd: int, path: bytes) -> None:
        # linkat(2) follows the magic link of /proc only with AT_SYMLINK_FOLLOW, and Python passes that only
        # with a directory descriptor beside it.
        directory = os.open(b"/", os.O_PATH | os.O_DIRECTORY)
        try:
            os.link(b"/proc/self/fd/%d" % self._files[fd], self._real(path), src_dir_fd=directory)
        finally:
            os.close(directory)

    def write(self, fd: int, size: int) -> None:
        os.write(self._files[fd], _BYTES[:size])

    def close(self, fd: int) -> None:
        os.close(self._files.pop(fd))

    def truncate(self, path: bytes, size: int) -> None:
        os.truncate(self._real(path), size)

    def chmod(self, path: bytes, mode: int) -> None:
        os.chmod(self._real(path), mode)

    def chown(self, path: bytes, uid: int, gid: int) -> None:
        os.chown(self._real(path), uid, gid, follow_symlinks=False)

    def utimes(self, path: bytes, mtime: int) -> None:
        os.utime(self._real(path), ns=(mtime, mtime), follow_symlinks=False)
