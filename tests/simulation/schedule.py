"""
One schedule: a few dozen operations on a simulated tree, and a reconciler that runs between and within them.

Everything that may differ from run to run (who works when, how the kernel's records are cut into reads, when
a batch is closed, which call fails) is drawn from the seed: the same seed gives the same run, provided that
PYTHONHASHSEED is fixed too.
"""

from __future__ import annotations

import errno
import random
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple, Protocol

from inotify_bridge.capture.change import TYPE_NAMES, Change, Kind
from inotify_bridge.capture.model import BATCH_BYTES
from inotify_bridge.capture.reconciler import Options, Reconciler, Root
from tests.fold import Entry, Fold, differences
from tests.simulation.filesystem import SimulatedFileSystem
from tests.simulation.index import MemoryIndex
from tests.simulation.kernel import Inotify, unpack
from tests.simulation.tree import SILENT, UNSEEN, Inode, Operation, Tree, no
from tests.storm.operations import ACTIONS, Mix, Operations, removal

KINDS: frozenset[Kind] = frozenset(("created", "written", "attributes_changed", "moved", "deleted"))
STEPS_AT_MOST = 3_000
_FAULTS = {
    "open_root": (errno.EMFILE, errno.EACCES),
    "open_below": (errno.EMFILE, errno.EACCES, errno.ENFILE),
    "lstat": (errno.EIO, errno.EACCES),
    "names": (errno.EMFILE, errno.EIO),
    "add_watch": (errno.ENOSPC, errno.ENOMEM),
}


class Setting(NamedTuple):
    """
    What a schedule is like.

    Args:
        operations: primitive operations while somebody watches.
        before: operations before the start, and before each further life of the reconciler.
        lives: how often it is started; each life but the last ends without warning.
        reuse: of inode numbers at once, as on ext4.
        queue: the kernel holds so many events.
        limit: of watches; `stays` says whether to the end, or else until the last operation.
        read: bytes of a read.
        reads: chance that the notifier reads in a step: low where it hardly gets to run.
        work: chance that others work before a call of the port does what it should.
        split: chance that an operation's events come later than its effect.
        fault: chance that a call fails.
        modified: whether the kind `modified` is on.
        denials: whether directories may be closed to the watcher for a while.
        root: whether the root itself is moved away or replaced.
        batch: bytes of messages in one batch: few cut it between any two of its changes.
        favoured: an action of others that makes half of their work: what is rare together is met so.
    """

    operations: int
    before: int = 6
    lives: int = 1
    reuse: bool = True
    queue: int = 16384
    limit: int = 1 << 30
    stays: bool = False
    read: int = 4096
    reads: float = 0.25
    work: float = 0.2
    split: float = 0.2
    fault: float = 0.0
    modified: bool = False
    denials: bool = False
    root: bool = False
    batch: int = BATCH_BYTES
    favoured: str = ""

    @classmethod
    def draw(cls, seed: int) -> Setting:
        """The setting of a seed: mostly one trouble at a time; of every fourth seed, any of them together."""
        chance = random.Random(~seed)
        if seed % 4 == 3:
            return cls._any(chance)
        rare = chance.random()
        return cls(
            operations=chance.randint(20, 60),
            before=chance.choice((0, 6, 20)),
            lives=2 if rare < 0.1 else 1,
            reuse=chance.random() < 0.7,
            queue=chance.choice((16384, 16384, 24, 10, 4)),
            limit=chance.choice((2, 3, 5)) if 0.1 < rare < 0.2 else 1 << 30,
            stays=chance.random() < 0.5,
            read=chance.choice((272, 400, 1 << 16)),
            reads=chance.choice((0.25, 0.25, 0.05)),
            work=chance.choice((0.0, 0.05, 0.2, 0.5)),
            split=chance.choice((0.0, 0.2, 0.5)),
            fault=0.03 if 0.2 < rare < 0.3 else 0.0,
            modified=chance.random() < 0.3,
            denials=0.3 < rare < 0.4,
            root=0.4 < rare < 0.5,
            batch=chance.choice((BATCH_BYTES, BATCH_BYTES, 1, 2_000, 8_000)),
            favoured=chance.choice(ACTIONS) if chance.random() < 0.5 else "",
        )

    @classmethod
    def _any(cls, chance: random.Random) -> Setting:
        return cls(
            operations=chance.randint(1, 60),
            before=chance.randint(0, 30),
            lives=chance.randint(1, 3),
            reuse=chance.random() < 0.5,
            queue=chance.choice((16384, 24, 10, 4, 1)),
            limit=chance.choice((1 << 30, 1 << 30, 5, 2)),
            stays=chance.random() < 0.5,
            read=chance.choice((272, 400, 1 << 16)),
            reads=chance.uniform(0.02, 0.4),
            work=chance.choice((0.0, chance.uniform(0, 0.6))),
            split=chance.choice((0.0, chance.uniform(0, 0.6))),
            fault=chance.choice((0.0, 0.0, 0.03)),
            modified=chance.random() < 0.5,
            denials=chance.random() < 0.5,
            root=chance.random() < 0.5,
            batch=chance.choice((BATCH_BYTES, BATCH_BYTES, 1, 2_000, 8_000)),
            favoured=chance.choice(("", *ACTIONS)),
        )


class Outcome(NamedTuple):
    """
    What became of a schedule.

    Args:
        problems: empty where all is well.
        script: the operations, in order.
        changes, events, overflows: how much there was to tell, was queued, and was lost.
    """

    problems: list[str]
    script: list[Operation]
    changes: int
    events: int
    overflows: int


class Workers(Protocol):
    """Whoever works on the tree: gives the next operation, or None when all is done."""

    def next(self) -> Operation | None: ...


class Script:
    """Given operations; what cannot be done (any more) is left out."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._operations = iter(operations)

    def next(self) -> Operation | None:
        return next(self._operations, None)


class Storm:
    """Random operations, to a given number, and then to the end of what was begun."""

    def __init__(self, tree: Tree, chance: random.Random, setting: Setting) -> None:
        modes = (0o755, 0o700, 0o311, 0o000) if setting.denials else (0o755, 0o700)
        self._operations = Operations(tree, chance, Mix(modes=modes, favoured=setting.favoured))
        self._tree = tree
        self._chance = chance
        self._trouble = setting.root
        self._left = setting.operations
        self._some: deque[Operation] = deque()

    def next(self) -> Operation | None:
        self._left -= 1
        if self._left < 0 and not self._some:
            return None
        while not self._some:
            if self._trouble and self._chance.random() < 0.05:
                self._trouble = False
                self._some.extend(self._root_trouble())
            else:
                self._some.extend(self._operations.some())
        return self._some.popleft()

    def _root_trouble(self) -> list[Operation]:
        """The root goes: and comes back, or another directory takes its place, or it is made anew."""
        chance, away = self._chance.random(), b"o/was-root"
        if chance < 0.3:
            return [*removal(self._tree.find(b"r")), ("mkdir", b"r", 0o755)]
        back: Operation = ("mkdir", b"r", 0o755) if chance < 0.6 else ("rename", away, b"r")
        return [("rename", b"r", away), back]


class Schedule:
    """
    One run.

    Args:
        seed: of everything.
        setting: instead of the seed's own.
        script: operations instead of the seed's own.
        trace: collects what happens, a line each.
    """

    def __init__(
        self,
        seed: int,
        setting: Setting | None = None,
        script: list[Operation] | None = None,
        trace: list[str] | None = None,
    ) -> None:
        self.setting = setting or Setting.draw(seed)
        self.script: list[Operation] = []
        self.problems: list[str] = []
        self._chance = random.Random(seed)
        self._inotify = Inotify(self.setting.queue, self.setting.limit)
        self._tree = Tree(self._inotify, self.setting.reuse, lambda path: path[:2] == b"r/")
        self._tree.mkdir(b"r", 0o755)
        self._tree.mkdir(b"o", 0o755)
        if script is None:
            total = self.setting.operations + self.setting.before * self.setting.lives
            drawn = self.setting._replace(operations=total)
            self._workers: Workers = Storm(self._tree, random.Random(seed + 1), drawn)
        else:
            self._workers = Script(script)
        self._trace = trace
        self._chunks: deque[tuple[bytes, float, int]] = deque()
        self._port = SimulatedFileSystem(self._tree, self._before)
        self._index = MemoryIndex()
        self._fold = Fold()
        self._options = Options(
            kinds=KINDS | {"modified"} if self.setting.modified else KINDS, poll_interval=1.0
        )
        self._quiet = True
        self._left = 0
        self._lost = False
        self._written: set[bytes] = set()

    def run(self) -> Outcome:
        """Run to the end, and compare."""
        try:
            for life in range(self.setting.lives):
                self._live(life)
            self._end()
        except Exception as error:  # whatever it is, it belongs to this seed
            self.problems.append(f"{type(error).__name__}: {error}")
            if self._trace is not None:
                self._trace.append(traceback.format_exc())
        return Outcome(
            self.problems, self.script, self._fold.folded, self._inotify.queued, self._inotify.overflows
        )

    # -- the run

    def _live(self, life: int) -> None:
        """One life of the reconciler; what it had read and not told is lost with it."""
        self._quiet = True
        for handle in list(self._port.opened.values()):
            handle.close()
        self._work(self.setting.before)
        self._inotify.shut()
        self._chunks.clear()
        self._fold.resync = None
        self._reconciler = Reconciler(
            self._port, self._index, [Root(b"/r")], self._options, self.setting.batch
        )
        self._quiet = False
        self._left = self.setting.operations // self.setting.lives
        self._reconciler.start("restart" if life else "start")
        while self._left > 0:
            self._step()

    def _step(self) -> None:
        chance = self._chance.random()
        if chance < 0.35:
            self._work(1 + int(self._chance.random() * 4))
        elif chance < 0.35 + self.setting.reads:
            self._read()
        elif chance < 0.9 and (self._chunks or chance < 0.7):
            self._take()
        elif not self._chunks:
            self._idle(self._chance.random() * (0.3 if chance > 0.97 else 0.08))

    def _before(self, call: str) -> None:
        """Before a call of the port: others work, the notifier reads, something fails."""
        if self._quiet:
            return
        if self._left > 0 and self._chance.random() < self.setting.work:
            self._work(1 + int(self._chance.random() * 3))
            if self._chance.random() < 0.3:
                self._read()
        if self.setting.fault and call in _FAULTS and self._chance.random() < self.setting.fault:
            raise no(self._chance.choice(_FAULTS[call]))

    def _work(self, count: int) -> None:
        for _ in range(count):
            operation = self._workers.next()
            self._left -= 1
            if operation is None:
                return
            self._inotify.flush()
            if self._chance.random() < self.setting.split:
                self._inotify.split(int(self._chance.random() * 2))
            self._apply(operation)

    def _apply(self, operation: Operation) -> None:
        if self._trace is not None:
            self._trace.append(f"  {operation}")
        self.script.append(operation)
        impossible = (OSError, KeyError) if isinstance(self._workers, Script) else ()
        with suppress(*impossible):
            self._tree.apply(operation)

    def _read(self) -> None:
        """The notifier takes what is queued, up to the size of its buffer."""
        if len(self._inotify):
            data = self._inotify.read(self.setting.read)
            self._chunks.append((data, self._port.monotonic(), self._tree.now))

    def _take(self) -> None:
        """The recorder takes some of the reads, and closes its batch."""
        for _ in range(1 + int(self._chance.random() * 3)):
            if self._chunks:
                self._feed()
        self._close()

    def _feed(self) -> None:
        data, read_at, wall = self._chunks.popleft()
        if self._trace is not None:
            self._trace.extend(
                f"feed {wd} {mask:#x} {cookie} {name!r}" for wd, mask, cookie, name in unpack(data)
            )
        self._reconciler.feed(data, read_at, wall)

    def _close(self) -> None:
        batch = self._reconciler.close_batch(bool(self._chunks))
        for item in batch.items:
            if self._trace is not None:
                self._trace.append(f"    -> {item!r} {item.stat if isinstance(item, Change) else ''}")
            self._fold.item(item)
            if isinstance(item, Change) and item.kind == "written":
                self._written.add(item.path)
            if item.kind in ("root_lost", "root_restored"):
                self._lost = item.kind == "root_lost"
        self._index.apply(batch.writes)
        self._compare_index()
        # A scan that was cut goes on in its directory with the next batch.
        if self._port.opened and (self.setting.batch == BATCH_BYTES or self._reconciler.settled):
            raise AssertionError(f"{len(self._port.opened)} directories stay open after a batch")

    def _idle(self, seconds: float) -> None:
        """Time passes, and nothing is queued for the recorder."""
        self._tree.now += int(seconds * 1e9)
        if self._trace is not None:
            self._trace.append(f"tick {self._port.monotonic():.3f}")
        self._reconciler.tick()
        self._close()

    # -- the end

    def _end(self) -> None:
        self._close_files()
        if not self.setting.stays:
            self._inotify.limit = 1 << 30
        self._quiet = True
        self._settle("after the last operation")
        self._compare(exact=False)
        self._written.clear()
        self._reconciler.resync("requested")
        self._settle("after the last resync")
        self._compare(exact=True)
        self._compare_content()

    def _close_files(self) -> None:
        """What was begun is ended, all files are closed, all directories are open to the watcher again."""
        self._inotify.flush()
        while (operation := self._workers.next()) is not None:
            self._apply(operation)
        if b"r" not in self._tree.top.inode.entries:
            self._apply(("mkdir", b"r", 0o755))
        for fd in list(self._tree.files):
            self._apply(("close", fd))
        for directory in list(self._tree.directories):
            if directory.inode.mode & 0o500 != 0o500:
                self._apply(("chmod", directory.path(), 0o755))

    def _settle(self, when: str) -> None:
        """Let it come to rest: at the least long enough for roots and polls to be looked at."""
        horizon = self._port.monotonic() + 5
        for _ in range(STEPS_AT_MOST):
            self._read()
            while self._chunks:
                self._feed()
            self._close()
            if len(self._inotify):
                continue
            now, due = self._port.monotonic(), self._reconciler.deadline
            if self._reconciler.settled and now >= horizon:
                return
            self._idle(min(1.0, max(0.0, due - now)) + 0.001 if due is not None else 1.0)
        self.problems.append(f"never settles {when}")

    def _compare(self, exact: bool) -> None:
        real, replica = self._disk(), self._fold.entries()
        if self._lost and not real:
            return  # an empty directory in the root's place is no empty tree: nothing is said about it
        if not exact:
            for path, untold in self._untold():
                if path in replica:
                    replica[path] = _forgive(replica[path], real[path], untold, self.setting.modified)
        self.problems.extend(differences(replica, real))

    def _compare_content(self) -> None:
        """The last resync finds no content that a close should have told of."""
        told = {path for path, _, untold in self._entries() if not untold}
        self.problems.extend(f"the last resync tells of {path!r}" for path in self._written & told)

    def _compare_index(self) -> None:
        """The index holds what was published: the same number of entries."""
        rows = sum(directory != 0 for directory, *_ in self._index.entries())
        told = len(self._fold.entries())
        if rows != told:
            self.problems.append(f"the index holds {rows} entries, the stream {told}")

    def _disk(self) -> dict[bytes, Entry]:
        return {path: entry for path, entry, _ in self._entries()}

    def _untold(self) -> Iterator[tuple[bytes, int]]:
        return ((path, untold) for path, _, untold in self._entries() if untold)

    def _entries(self) -> Iterator[tuple[bytes, Entry, int]]:
        todo = [(b"", self._tree.find(b"r").inode)]
        while todo:
            above, directory = todo.pop()
            for name, entry in directory.entries.items():
                inode = entry.inode
                known = Entry(
                    TYPE_NAMES[inode.mode & 0o170000],
                    inode.size,
                    inode.mode & 0o7777,
                    inode.uid,
                    inode.gid,
                    inode.target,
                )
                yield above + name, known, inode.untold | self._vanished(inode)
                if inode.is_directory:
                    todo.append((above + name + b"/", inode))

    @staticmethod
    def _vanished(inode: Inode) -> int:
        """One of several names by which it was changed left before anybody could look there."""
        gone = any(entry.dead or entry.path()[:2] != b"r/" for entry in inode.through)
        return UNSEEN if gone else 0


def _forgive(said: Entry, real: Entry, untold: int, modified: bool) -> Entry:
    """What nothing could tell before the next resync."""
    if untold & UNSEEN:
        return real._replace(type=said.type, target=said.target)
    if untold & SILENT and not modified:
        return said._replace(size=real.size)
    return said
