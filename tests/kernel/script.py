"""
Operations on a tree as words, for `operations.yaml`.

A path is relative to the watched place; with ``^`` in front to a place outside the tree.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import socket
import stat
from pathlib import Path
from typing import Final

_AT_FDCWD: Final = -100
_AT_SYMLINK_FOLLOW: Final = 0x400
_RENAME_EXCHANGE: Final = 2
_libc = ctypes.CDLL(None, use_errno=True)


def exchange(one: bytes, two: bytes) -> None:
    """renameat2(2) with RENAME_EXCHANGE. Raises: OSError."""
    _checked(_libc.renameat2(_AT_FDCWD, one, _AT_FDCWD, two, _RENAME_EXCHANGE))


def give_name(fd: int, path: bytes) -> None:
    """linkat(2): the file of O_TMPFILE gets a name. Raises: OSError."""
    _checked(_libc.linkat(_AT_FDCWD, b"/proc/self/fd/%d" % fd, _AT_FDCWD, path, _AT_SYMLINK_FOLLOW))


def _checked(result: int) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Script:
    """
    Runs lines such as ``mv a b``.

    Args:
        inside: what paths are relative to.
        outside: the same for paths with ``^``.
    """

    def __init__(self, inside: Path, outside: Path) -> None:
        self._inside = inside
        self._outside = outside
        self._open: dict[str, int] = {}

    def run(self, line: str) -> None:
        """Do what a line says. Raises: OSError."""
        word, *arguments = line.split()
        getattr(self, "_" + word.replace("-", "_"))(*arguments)

    def _at(self, path: str) -> str:
        if path.startswith("^"):
            return os.fspath(self._outside / path[1:])
        return os.fspath(self._inside / path)

    def _create(self, path: str, text: str = "text") -> None:
        self._once(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, text)

    def _write(self, path: str, text: str = "longer-text") -> None:
        self._once(path, os.O_WRONLY, text)

    def _append(self, path: str, text: str = "more") -> None:
        self._once(path, os.O_WRONLY | os.O_APPEND, text)

    def _once(self, path: str, flags: int, text: str) -> None:
        fd = os.open(self._at(path), flags, 0o644)
        os.write(fd, text.encode())
        os.close(fd)

    def _open_new(self, key: str, path: str) -> None:
        self._open[key] = os.open(self._at(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)

    def _open_old(self, key: str, path: str) -> None:
        self._open[key] = os.open(self._at(path), os.O_WRONLY | os.O_APPEND)

    def _put(self, key: str, text: str) -> None:
        os.write(self._open[key], text.encode())

    def _close(self, key: str) -> None:
        os.close(self._open.pop(key))

    def _tmpfile(self, key: str, directory: str) -> None:
        self._open[key] = os.open(self._at(directory), os.O_WRONLY | os.O_TMPFILE, 0o644)

    def _name(self, key: str, path: str) -> None:
        give_name(self._open[key], os.fsencode(self._at(path)))

    def _truncate(self, path: str, size: str) -> None:
        os.truncate(self._at(path), int(size))

    def _map(self, path: str, text: str) -> None:
        """Write over the beginning by mmap(2); the file was opened for writing, so its close tells."""
        fd = os.open(self._at(path), os.O_RDWR)
        with mmap.mmap(fd, 0) as memory:
            memory[: len(text)] = text.encode()
        os.close(fd)

    def _link(self, source: str, path: str) -> None:
        os.link(self._at(source), self._at(path), follow_symlinks=False)

    def _symlink(self, target: str, path: str) -> None:
        os.symlink(target, self._at(path))

    def _fifo(self, path: str) -> None:
        os.mkfifo(self._at(path))

    def _socket(self, path: str) -> None:
        # A socket's address holds 108 bytes: bind from within its directory.
        with socket.socket(socket.AF_UNIX) as made:
            directory = os.open(os.path.dirname(self._at(path)), os.O_PATH | os.O_DIRECTORY)
            made.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
            os.close(directory)

    def _device(self, path: str) -> None:
        # Number 0:0 (a whiteout) is the one device that mknod(2) gives to everybody.
        os.mknod(self._at(path), stat.S_IFCHR | 0o600, 0)

    def _mkdir(self, *paths: str) -> None:
        for path in paths:
            os.mkdir(self._at(path))

    def _rmdir(self, path: str) -> None:
        os.rmdir(self._at(path))

    def _rm(self, path: str) -> None:
        os.unlink(self._at(path))

    def _rm_r(self, path: str) -> None:
        shutil.rmtree(self._at(path))

    def _mv(self, source: str, path: str) -> None:
        os.rename(self._at(source), self._at(path))

    def _exchange(self, one: str, two: str) -> None:
        exchange(os.fsencode(self._at(one)), os.fsencode(self._at(two)))

    def _chmod(self, mode: str, path: str) -> None:
        os.chmod(self._at(path), int(mode, 8))

    def _chown(self, owner: str, path: str) -> None:
        os.chown(self._at(path), int(owner), int(owner), follow_symlinks=False)

    def _touch(self, path: str) -> None:
        """Other times, as cp -p and tar set them; no content is changed."""
        os.utime(self._at(path), (10**9, 10**9))
