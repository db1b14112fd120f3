"""
What compression took before it was read. The lines in compressed files are left alone; but a file of gzip
says how much it holds, and how that begins.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Final, NamedTuple

from inotify_bridge.lines.marks import HEAD_BYTES

SUFFIX: Final = b".gz"

_READ: Final = 16_384
_LEAST: Final = 18  # header and trailer of RFC 1952
_MOST: Final = 1032
"""What a byte can hold, at the most: two bits for 258, RFC 1951."""


class Gzip(NamedTuple):
    """
    Args:
        size: bytes that it holds, modulo 2^32: RFC 1952, ISIZE.
        head: the first of them, at most `HEAD_BYTES`.
    """

    size: int
    head: bytes


def measure(fd: int) -> Gzip | None:
    """
    What an open file of gzip holds; None where it is none, or not complete, or cannot hold what it says.

    Raises: OSError.
    """
    length = os.fstat(fd).st_size
    if length < _LEAST:
        return None
    try:
        head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(os.pread(fd, _READ, 0), HEAD_BYTES)
    except zlib.error:
        return None
    (size,) = struct.unpack("<I", os.pread(fd, 4, length - 4))
    return Gzip(size, head) if size <= _MOST * length else None
