"""How a group is watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from inotify_bridge.capture.change import Kind
from inotify_bridge.capture.filters import Filters
from inotify_bridge.capture.tree import root_key


@dataclass(frozen=True, slots=True)
class Root:
    """
    A directory to watch.

    Args:
        path: absolute, raw bytes.
        name: what its paths begin with in the stream; empty for the only root of a group.
        only: where the operator named files in this directory: their names there, to their names in the
            stream. Nothing else counts.
    """

    path: bytes
    name: bytes = b""
    only: Mapping[bytes, bytes] | None = None

    @property
    def key(self) -> bytes:
        """See `tree.Root.key`."""
        return root_key(self.name, self.path, self.only is not None)


@dataclass(frozen=True, slots=True)
class Options:
    """
    How a group is watched; times in seconds.

    Args:
        snapshot: whether what is there at the first start is published.
        resync_interval: 0 for no audit.
        whole_moves: whether a directory is moved with all below it, or path by path deleted and created.
        writes: whether every write is watched, for a `following.Follower`; `kinds` says what is published.
    """

    kinds: frozenset[Kind] = frozenset(("created", "written", "attributes_changed", "moved", "deleted"))
    recursive: bool = True
    one_file_system: bool = False
    filters: Filters = field(default_factory=Filters)
    poll_interval: float = 10.0
    resync_interval: float = 0.0
    settle: float = 2.0
    snapshot: bool = True
    whole_moves: bool = True
    writes: bool = False
