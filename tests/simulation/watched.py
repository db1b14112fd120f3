"""A reconciler on a simulated tree, without chance: for tests that say what happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from inotify_bridge.capture.model import BATCH_BYTES, Batch
from inotify_bridge.capture.reconciler import Options, Reconciler, Root
from tests.fold import Fold
from tests.simulation.filesystem import SimulatedFileSystem
from tests.simulation.index import MemoryIndex
from tests.simulation.kernel import Inotify
from tests.simulation.tree import Tree


class Watched:
    """
    A simulated tree ``r``, and the reconciler that watches it.

    Args:
        watches: how many the kernel has.
        batch_bytes: of messages in one batch.
    """

    def __init__(
        self, options: Options | None = None, watches: int = 1 << 30, batch_bytes: int = BATCH_BYTES
    ) -> None:
        self.calls: Counter[str] = Counter()
        """Of the port, by name."""
        self.inotify = Inotify(1 << 20, watches)
        self.tree = Tree(self.inotify, False, lambda path: path[:2] == b"r/")
        self.tree.mkdir(b"r", 0o755)
        self.tree.mkdir(b"o", 0o755)
        self.port = SimulatedFileSystem(self.tree, self._count)
        self.index = MemoryIndex()
        self.fold = Fold()
        self.reconciler = Reconciler(self.port, self.index, [Root(b"/r")], options or Options(), batch_bytes)

    def _count(self, call: str) -> None:
        self.calls[call] += 1

    def close(self, backlog: bool = False) -> Batch:
        """Close a batch, commit and replay it; `backlog`: more reads are waiting."""
        batch = self.reconciler.close_batch(backlog)
        self.index.apply(batch.writes)
        for item in batch.items:
            self.fold.item(item)
        rows = {(directory, name) for directory, name, *_ in self.index.entries() if directory}
        assert len(rows) == len(self.fold.entries()), "the index holds what was published"
        return batch

    def batches(self) -> Iterator[Batch]:
        """Everything until it is settled, batch by batch, each committed and replayed."""
        while not self.reconciler.settled or len(self.inotify):
            while not self.reconciler.behind and len(self.inotify):
                self.reconciler.feed(self.inotify.read(1 << 20), self.port.monotonic(), self.tree.now)
            batch = self.close()
            yield batch
            self.tree.now += 60_000_000
            self.reconciler.tick()

    def settle_after(self, seconds: int, times: int) -> None:
        """So many times: time passes, what is due then is done, and everything until it is settled."""
        for _ in range(times):
            self.tree.now += seconds * 1_000_000_000
            self.reconciler.tick()
            for _ in self.batches():
                pass

    def start(self) -> list[Batch]:
        """Begin to watch; everything until it is settled."""
        self.reconciler.start()
        return list(self.batches())

    def chain(self, name: bytes, levels: int) -> bytes:
        """Directories in each other, made at once. Returns the path of the last."""
        path = b"r"
        for _ in range(levels):
            path += b"/" + name
            self.tree.mkdir(path, 0o755)
        return path
