"""
The inotify system calls and the parser of what read(2) gives: no threads, no paths.

    struct inotify_event {          offset
        int      wd;                 0
        uint32_t mask;               4
        uint32_t cookie;             8
        uint32_t len;               12     bytes of name, NUL padding included
        char     name[];            16
    };

inotify(7), inotify_add_watch(2).
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import struct
import termios
from typing import TypeAlias

Record: TypeAlias = tuple[int, int, int, bytes]
"""(wd, mask, cookie, name)"""

READ_SIZE = 1 << 20

_HEADER = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_init1.argtypes = [ctypes.c_int]
_libc.inotify_add_watch.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]
_libc.inotify_rm_watch.argtypes = [ctypes.c_int, ctypes.c_int]


def records(data: bytes) -> list[Record]:
    """
    Take the bytes of one or more reads apart.

    Args:
        data: whole records, as read(2) gives them.

    Returns:
        The records in the order of the kernel, names without their padding.
    """
    found: list[Record] = []
    add, unpack, at, end = found.append, _HEADER.unpack_from, 0, len(data)
    while at < end:
        wd, mask, cookie, length = unpack(data, at)
        at += 16
        if length:
            add((wd, mask, cookie, data[at : at + length].rstrip(b"\0")))
            at += length
        else:
            add((wd, mask, cookie, b""))
    return found


def create(flags: int) -> int:
    """A new instance's descriptor, with `flags` of inotify_init1(2). Raises OSError."""
    return _checked(_libc.inotify_init1(flags), "inotify_init1")


def add_watch(fd: int, path: bytes, mask: int) -> int:
    """Watch `path` with the instance `fd`; the same inode gives the same number. Raises OSError."""
    return _checked(_libc.inotify_add_watch(fd, path, mask), "inotify_add_watch")


def remove_watch(fd: int, wd: int) -> None:
    """End a watch of the instance `fd`. Raises OSError: EINVAL where there is none of that number."""
    _checked(_libc.inotify_rm_watch(fd, wd), "inotify_rm_watch")


def pending(fd: int) -> int:
    """Bytes waiting in the kernel's queue of the instance `fd` (FIONREAD)."""
    waiting = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, waiting)
    return waiting[0]


class Inotify:
    """
    One inotify instance. Its methods may be called from any thread, `read` from one at a time.

    Raises:
        OSError: EMFILE where the user's limit of instances is reached (fs.inotify.max_user_instances).
    """

    def __init__(self) -> None:
        self.fd = create(os.O_NONBLOCK | os.O_CLOEXEC)
        self._buffer = memoryview(bytearray(READ_SIZE))

    def add_watch(self, path: bytes, mask: int) -> int:
        """Watch `path`; the same inode gives the same number. Raises OSError."""
        return add_watch(self.fd, path, mask)

    def remove_watch(self, wd: int) -> None:
        """End a watch. One that the kernel has ended already is no error."""
        try:
            remove_watch(self.fd, wd)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise

    def pending(self) -> int:
        """Bytes waiting in the kernel's queue (FIONREAD)."""
        return pending(self.fd)

    def read(self) -> bytes:
        """Everything that is there, at most `READ_SIZE` bytes; empty where nothing is."""
        # Not os.read: what it returns was cut from a megabyte, and keeps whole pages of that however short it
        # is. Millions of short reads wait where a broker is away for long.
        try:
            return bytes(self._buffer[: os.readv(self.fd, [self._buffer])])
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """End all watches and the instance. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _checked(result: int, call: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), call)
    return result
