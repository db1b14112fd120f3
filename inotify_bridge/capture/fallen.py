"""
What stood below a directory that is gone: it is told path by path, and may be more than fits into one batch.

A tree of a thousand levels with long names has paths of hundreds of kilobytes, and every one gets a deletion
of its own. So the paths are not built when the directory goes, but one by one when their batch is made. What
is kept is what they were at that moment: the directories above may get other names meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from inotify_bridge.capture.index import Key
from inotify_bridge.capture.tree import Directory, Kid, type_of

_ITEM_BYTES = 512


def weight(path_bytes: int) -> int:
    """About how many bytes one event takes as a message, where its path has so many."""
    return _ITEM_BYTES + 2 * path_bytes  # the path stands in it twice: subject and data


class _Node(NamedTuple):
    """
    One directory as it was.

    Args:
        above: place of its parent in the list of all.
    """

    above: int
    name: bytes
    number: int
    kids: dict[bytes, Kid]


class Fallen:
    """
    The entries below a directory, as they were when this was made.

    Args:
        top: the directory; it may be taken apart afterwards, if its `kids` is replaced and not emptied.
        path: of it.
    """

    def __init__(self, top: Directory, path: bytes) -> None:
        self.weight = 0
        self._nodes: list[_Node] = []
        self._path = path
        waiting = [(top, -1, len(path))]
        while waiting:
            node, above, length = waiting.pop()
            place = len(self._nodes)
            self._nodes.append(_Node(above, node.name, node.number, node.kids))
            for name, kid in node.kids.items():
                entry_length = length + 1 + len(name)
                self.weight += weight(entry_length)
                if isinstance(kid, Directory):
                    waiting.append((kid, place, entry_length))

    def entries(self) -> Iterator[tuple[Key, bytes, int]]:
        """Every entry once as (key, path, S_IFMT type), deepest first; what was given is forgotten."""
        while self._nodes:
            node = self._nodes.pop()
            path = self._path_of(node) if node.kids else b""
            for name, kid in reversed(node.kids.items()):
                yield (node.number, name), path + b"/" + name, type_of(kid)

    def _path_of(self, node: _Node) -> bytes:
        parts: list[bytes] = []
        while node.above >= 0:
            parts.append(node.name)
            node = self._nodes[node.above]
        parts.append(self._path)
        return b"/".join(reversed(parts))
