"""
What stands beside a log: where its generations went, and those that came and went unseen.

Rotation gives a file another name in the same directory, as a rule: ``app.log.1``, ``app.log-20261121``,
``app-20261121.log``. Compressed ones hold no lines.
"""

from __future__ import annotations

import os
import re
import stat
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

_COMPRESSED: Final = (b".gz", b".bz2", b".xz", b".zst", b".lz4", b".lzma", b".Z", b".zip", b".br")
_ROTATED: Final = re.compile(rb"[._-](?:[\w.:+-]*\d[\w.:+-]*|old|bak|prev|orig|save)")
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TRIES: Final = 5


def is_compressed(name: bytes) -> bool:
    """By its name."""
    return name.endswith(_COMPRESSED)


def is_rotated(log: bytes, name: bytes) -> bool:
    """Whether a name is what rotation could have made of the name of a log."""
    if is_compressed(name) or name == log:
        return False
    if name.startswith(log):
        return _ROTATED.fullmatch(name, len(log)) is not None
    stem, dot, extension = log.rpartition(b".")
    if not dot or not name.startswith(stem) or not name.endswith(dot + extension):
        return False
    return _ROTATED.fullmatch(name, len(stem), len(name) - len(extension) - 1) is not None


class Listing:
    """
    The entries of an open directory, although it may change while it is read.

    Raises: OSError.
    """

    def __init__(self, directory: int) -> None:
        found: dict[bytes, int] = {}
        for _ in range(_TRIES):
            before = os.fstat(directory).st_mtime_ns
            found.update(_entries(directory))
            if os.fstat(directory).st_mtime_ns == before:
                break
        self.by_inode: dict[int, bytes] = {
            inode: name for name, inode in found.items() if not is_compressed(name)
        }
        self._names = sorted(found)

    def rotated(self, log: bytes, suffix: bytes = b"") -> Iterator[bytes]:
        """Names that rotation could have made of the name of a log, and compression with this suffix."""
        stem = log.rpartition(b".")[0] or log
        for place in range(bisect_left(self._names, stem), len(self._names)):
            name = self._names[place]
            if not name.startswith(stem):
                return
            if name.endswith(suffix) and is_rotated(log, name.removesuffix(suffix)):
                yield name


def _entries(directory: int) -> Iterator[tuple[bytes, int]]:
    os.lseek(directory, 0, os.SEEK_SET)
    with os.scandir(directory) as entries:
        for entry in entries:
            yield os.fsencode(entry.name), entry.inode()


def look(directory: int, name: bytes) -> os.stat_result | None:
    """lstat of a regular file; None where there is none. Raises: OSError, nothing is known."""
    try:
        seen = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return seen if stat.S_ISREG(seen.st_mode) else None


def gone(directory: int, name: bytes) -> bool:
    """Whether nothing has this name. Raises: OSError."""
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return True
    return False


def open_file(directory: int, name: bytes, seen: os.stat_result) -> int | None:
    """
    A descriptor of the very file that was seen; None where another stands there now.

    What is no regular file is never opened: it could wait, or do something.

    Raises: OSError.
    """
    try:
        fd = os.open(name, _FLAGS, dir_fd=directory)
    except FileNotFoundError:
        return None
    found = os.fstat(fd)
    if stat.S_ISREG(found.st_mode) and (found.st_dev, found.st_ino) == (seen.st_dev, seen.st_ino):
        return fd
    os.close(fd)
    return None
