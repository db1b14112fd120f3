"""How a group's logs are followed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from inotify_bridge.capture.change import Kind
from inotify_bridge.capture.filters import Filters
from inotify_bridge.lines.extract import Extractor
from inotify_bridge.lines.siblings import is_compressed
from inotify_bridge.lines.splitter import Position, Splitter


@dataclass(frozen=True, slots=True)
class Options:
    """
    How a group's logs are followed; times in seconds.

    Args:
        kinds: changes of a file after which it is read.
        files: which names are logs.
        start_at: where files are read from that are present at the first start.
        max_bytes: of an entry.
        starts: whether a line is the first of an entry; None: every line is one.
        flush_after: the wait for the end of a last line; 0: for ever.
        join_after: the wait for more lines of an entry.
        linger: how long a file that was renamed or deleted is still expected to grow.
    """

    kinds: frozenset[Kind]
    files: Filters
    start_at: Literal["beginning", "end"]
    max_bytes: int
    starts: Callable[[bytes], bool] | None
    flush_after: float
    join_after: float
    extractor: Extractor
    linger: float = 60.0

    def admits(self, path: bytes) -> bool:
        """Whether a path of the stream is that of a log."""
        return not is_compressed(path) and self.files.admits(path, False)

    def splitter(self, position: Position) -> Splitter:
        """For one file."""
        return Splitter(position, self.max_bytes, self.starts)
