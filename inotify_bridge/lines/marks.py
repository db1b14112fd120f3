"""
What a generation of a log is told by, besides device and inode, which the kernel may give to another file at
once.

Digests, not bytes: the state directory keeps no copy of what logs say.
"""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import Final, NamedTuple

HEAD_BYTES: Final = 1024
TAIL_BYTES: Final = 256


class Marks(NamedTuple):
    """
    Digests of a file as it was read up to an offset.

    Args:
        head_bytes: how many of its first bytes `head` is of: as many as there were.
        head: their digest, hexadecimal.
        tail: that of the last `TAIL_BYTES` before the offset, or of what there is.
    """

    head_bytes: int
    head: str
    tail: str


NO_MARKS: Final = Marks(0, "", "")


def take(fd: int, offset: int, before: Marks = NO_MARKS) -> Marks:
    """
    The marks of an open file.

    Args:
        before: of the same file at a smaller offset: a head that is complete is not read again.
    Raises: OSError.
    """
    head = before[:2]
    if before.head_bytes < HEAD_BYTES:
        head = _digest(os.pread(fd, HEAD_BYTES, 0))
    tail = _digest(bytes_before(fd, offset))[1]
    return Marks(*head, tail)


def bytes_before(fd: int, offset: int) -> bytes:
    """The last bytes before an offset that `Marks.tail` is of. Raises: OSError."""
    start = max(0, offset - TAIL_BYTES)
    return os.pread(fd, offset - start, start)


def fits(fd: int, offset: int, marks: Marks) -> bool:
    """Whether an open file still holds what was read of it. Raises: OSError."""
    if os.fstat(fd).st_size < offset:
        return False
    head = _digest(os.pread(fd, marks.head_bytes, 0))
    return head == marks[:2] and _digest(bytes_before(fd, offset))[1] == marks.tail


def begins(head: bytes, marks: Marks) -> bool:
    """Whether the first bytes of a file are those that marks were taken of."""
    return 0 < marks.head_bytes <= len(head) and _digest(head[: marks.head_bytes]) == marks[:2]


def _digest(data: bytes) -> tuple[int, str]:
    return len(data), blake2b(data, digest_size=16).hexdigest() if data else ""
