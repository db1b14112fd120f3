"""Files that were recorded to have changed, at a time when their path was not known for sure."""

from __future__ import annotations

from typing import Final, NamedTuple

from inotify_bridge.capture.change import Kind
from inotify_bridge.capture.tree import Directory

_RANKS: Final[tuple[Kind, ...]] = ("attributes_changed", "modified", "written")


class Suspicion(NamedTuple):
    """
    What is suspected of a file.

    Args:
        kind: the change that the record says.
        told: it was told, but without the fields of a stat.
    """

    kind: Kind
    told: bool


class Suspects:
    """The files of a tree of which something is suspected. Used by the recorder's thread only."""

    def __init__(self) -> None:
        self._found: dict[tuple[Directory, bytes], Suspicion] = {}

    def add(self, node: Directory, name: bytes, kind: Kind, told: bool) -> None:
        """One more suspicion about a file: the greater change counts, and what has not been told."""
        before = self._found.get((node, name))
        if before is not None:
            kind, told = max(before.kind, kind, key=_RANKS.index), told and before.told
        self._found[node, name] = Suspicion(kind, told)

    def take(self, node: Directory, name: bytes) -> Suspicion | None:
        """What was suspected of a name, and is no more."""
        return self._found.pop((node, name), None)

    def move(self, node: Directory, name: bytes, to: Directory, to_name: bytes) -> None:
        """A file has another name, in the place of what was there: what has been told stays behind."""
        suspected = self.take(node, name)
        self.take(to, to_name)
        if suspected is not None and not suspected.told:
            self._found[to, to_name] = suspected

    def forget(self) -> None:
        """Directories have left the tree: nothing is suspected there."""
        if self._found:
            self._found = {place: one for place, one in self._found.items() if place[0].alive()}
