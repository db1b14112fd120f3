"""What of the disk belongs to the tree."""

from __future__ import annotations

from dataclasses import dataclass

from inotify_bridge.capture.filters import Filters
from inotify_bridge.capture.model import Model
from inotify_bridge.capture.tree import Directory, Root


@dataclass(frozen=True, slots=True)
class Rules:
    """
    What of the disk belongs to the tree.

    Args:
        recursive: whether subdirectories are entered.
        one_file_system: whether other mounts are left out.
        filters: by path.
        mask: more mask bits than the directories' own (IN_MODIFY where it is needed).
        whole_moves: whether a directory is moved with all below it; if not, every path of it is deleted and
            created, for streams that keep the order of each path alone.
    """

    recursive: bool
    one_file_system: bool
    filters: Filters
    mask: int
    whole_moves: bool

    def admits(self, model: Model, node: Directory, name: bytes, is_directory: bool) -> bool:
        """Whether an entry belongs to the tree."""
        if isinstance(node, Root) and node.only is not None:
            return name in node.only and not is_directory
        return self.filters.empty or self.filters.admits(model.tree.join(node, name), is_directory)
