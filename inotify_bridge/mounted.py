"""What is mounted where a file stands: statfs(2), whose type the standard library does not tell."""

from __future__ import annotations

import ctypes
from typing import Final

_SIZE: Final = 256  # more than struct statfs of any architecture; f_type stands first
_libc = ctypes.CDLL(None, use_errno=True)


def file_system_type(fd: int) -> int:
    """The ``f_type`` of an open file's file system, as in <linux/magic.h>; 0 where it is not told."""
    buffer = ctypes.create_string_buffer(_SIZE)
    if _libc.fstatfs(fd, buffer) < 0:
        return 0
    return int(ctypes.c_long.from_buffer(buffer).value) & 0xFFFFFFFF
