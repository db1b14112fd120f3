"""
The port to the index: what the stream has said about every entry of the tree.

The reconciler compares the disk with it and says, batch by batch, what to write into it. The outbox keeps
it in the same transaction as the events; the simulation keeps it in a dict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from inotify_bridge.capture.change import Stat


class Row(NamedTuple):
    """
    What was published about one entry.

    Args:
        type: S_IFMT value.
        node: number of the directory, for directories; 0 for all else. Children stand under it.
        stat: as published; None where the path was gone before it could be looked at.
        ready: fingerprint (inode, size, mtime, ctime) last published as ``ready``, or None.
    """

    type: int
    node: int
    stat: Stat | None
    ready: tuple[int, int, int, int] | None = None


Key: TypeAlias = tuple[int, bytes]
"""
(number of the directory, name). A root's own directory has a number too, and stands under (0, root name).
"""

Writes: TypeAlias = Mapping[Key, Row | None]
"""Rows to store; None removes the row. Rows below a removed directory are removed by keys of their own."""


class Index(Protocol):
    """Read by the recorder's thread only. Shows what was committed, not the batch in hand."""

    def row(self, directory: int, name: bytes) -> Row | None:
        """The row of one entry."""

    def rows(self, directory: int, names: Sequence[bytes]) -> dict[bytes, Row]:
        """The rows of these names of one directory, as far as there are any (a few hundred names a call)."""

    def names(self, device: int, inode: int) -> list[Key]:
        """Where an inode is known to stand (hard links)."""

    def entries(self) -> Iterator[tuple[int, bytes, int, int]]:
        """Every row as (directory, name, type, node), in any order: the model at a start."""
