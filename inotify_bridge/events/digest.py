"""
The digest of a tree: one number by which a replica checks itself against the stream.

    sum modulo 2^128 of BLAKE2b-128(path bytes + NUL + type)     over all entries

The hashes are read as big-endian numbers. A sum does not depend on the order of its entries, and takes
additions and removals one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from inotify_bridge.capture.change import TYPE_NAMES

_MASK: Final = (1 << 128) - 1

# The end of what is hashed, by the word of `data.file.type` (which a consumer has) and by the S_IFMT value
# (which the capture has).
_TAILS: Final[dict[str | int, bytes]] = {
    key: b"\0" + word.encode() for mode, word in TYPE_NAMES.items() for key in (mode, word)
}


class Digest:
    """The running digest of a set of entries. Belongs to one thread."""

    __slots__ = ("_sum",)

    def __init__(self) -> None:
        self._sum = 0

    def add(self, path: bytes, type: str | int) -> None:
        """
        Take an entry in.

        Args:
            path: raw bytes, as in the events.
            type: word of ``data.file.type``, or S_IFMT value.

        Raises:
            KeyError: there is no such type.
        """
        self._sum = (self._sum + _hash(path + _TAILS[type])) & _MASK

    def remove(self, path: bytes, type: str | int) -> None:
        """Take an entry out that was added before. Arguments and errors as for `add`."""
        self._sum = (self._sum - _hash(path + _TAILS[type])) & _MASK

    def add_names(self, directory: bytes, names: Iterable[tuple[bytes, str | int]]) -> None:
        """
        Take many entries of one directory in; the way for whole trees.

        Args:
            directory: its path; empty for a root without a name.
            names: (name, type) of entries in it; types as for `add`.
        """
        # The state after the directory's part is hashed once and copied for every name.
        fork = blake2b(directory + b"/" if directory else b"", digest_size=16).copy
        tails = _TAILS
        number = int.from_bytes
        total = self._sum
        for name, type in names:
            state = fork()
            state.update(name + tails[type])
            total += number(state.digest(), "big")
        self._sum = total & _MASK

    def hexdigest(self) -> str:
        """The digest as 32 hexadecimal digits; of nothing: all zero."""
        return f"{self._sum:032x}"


def _hash(entry: bytes) -> int:
    return int.from_bytes(blake2b(entry, digest_size=16).digest(), "big")
