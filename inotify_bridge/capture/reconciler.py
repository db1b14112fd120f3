"""
The reconciler: raw records and scans in, changes of a tree out. The heart, and no I/O but the port.

    feed ──► hints ──► model            records change the tree at once, and mark names
    close_batch ──► judge ──► model     every marked name is looked at: lstat decides
               └──► scanner             new directories, resyncs and polls, in slices
    tick                                what is due: renames without a second half, polls, checks of the roots

Why it converges: for every name the model is what lstat said at some time after the last record about it, and
any later change brings another record and another look.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from inotify_bridge.capture.change import Change
from inotify_bridge.capture.constants import IN_MODIFY
from inotify_bridge.capture.coverage import Coverage
from inotify_bridge.capture.doors import Doors
from inotify_bridge.capture.doubts import QUIET, Doubts
from inotify_bridge.capture.following import Places
from inotify_bridge.capture.hints import Hints
from inotify_bridge.capture.index import Index
from inotify_bridge.capture.judge import Judge
from inotify_bridge.capture.links import Links
from inotify_bridge.capture.model import BATCH_BYTES, Batch, Model
from inotify_bridge.capture.options import Options, Root
from inotify_bridge.capture.port import FileSystem, Handle, Volume
from inotify_bridge.capture.reads import Reads
from inotify_bridge.capture.ready import Ready
from inotify_bridge.capture.renames import Renames
from inotify_bridge.capture.resync import Reason, Resyncs
from inotify_bridge.capture.roots import Roots
from inotify_bridge.capture.rules import Rules
from inotify_bridge.capture.scanner import Scan, Scanner
from inotify_bridge.capture.tree import ROOT_DIRECTORY, Directory, type_of
from inotify_bridge.capture.tree import Root as TreeRoot

__all__ = ["Batch", "Options", "Reason", "Reconciler", "Root"]

_ROUNDS = 4


class Reconciler:
    """
    One group's tree. Used by the recorder's thread only.

    Args:
        port: disk and kernel.
        index: what was published, as committed.
        roots: none contains another.
        options: how they are watched.
        batch_bytes: of messages in one batch, about.
    """

    def __init__(
        self,
        port: FileSystem,
        index: Index,
        roots: Sequence[Root],
        options: Options,
        batch_bytes: int = BATCH_BYTES,
        volumes: Mapping[bytes, Volume] = MappingProxyType({}),
    ) -> None:
        self._port = port
        self._index = index
        self._options = options
        self._model = Model(index, options.kinds, port.remove_watch, port.wall, batch_bytes)
        self._doors = Doors(port)
        self.places = Places(self._model, self._doors)
        self._coverage = Coverage(self._model, options.poll_interval)
        wanted = IN_MODIFY if options.writes or {"modified", "ready"} & options.kinds else 0
        rules = Rules(
            options.recursive, options.one_file_system, options.filters, wanted, options.whole_moves
        )
        self._judge = Judge(self._model, port, self._doors, self._coverage, rules)
        self._scanner = Scanner(self._model, self._judge, self._doors, port, self._coverage)
        self._adoptions = Scan("scan", deep=False, audit=False)
        self._polls = Scan("poll", deep=True, audit=True)
        self._rescans = Scan("scan", deep=True, audit=False)
        self._renames = Renames()
        self._roots = Roots(self._model, self._judge, port, self._coverage, volumes, self._root_found)
        self._hints = Hints(
            self._model, self._judge, self._doors, port, self._renames, lambda _: self._check_roots_soon()
        )
        self._resyncs = Resyncs(self._model, self._scanner, port, options.resync_interval)
        self._scans = (self._adoptions, self._rescans, self._polls, self._resyncs.scan)
        self._ready = Ready(self._model, port, self._doors, options.settle)
        self._reads = Reads(self._model, self._hints, self._renames, self._overflowed, batch_bytes // 4)
        self._links = Links(self._model, self._judge, port, index, self._door)
        self._doubts = Doubts(
            self._model, self._judge, port, self._coverage, self._renames, self._resyncs, self._door
        )
        self._settle_soon = False
        self._again_at: float | None = None
        if "ready" in options.kinds:
            self._model.content_changed = self._ready.touched
        known = {
            name: number for directory, name, _, number in index.entries() if directory == ROOT_DIRECTORY
        }
        for root in roots:
            self._model.store_root(
                self._model.tree.root(root.path, root.name, root.only, known.get(root.key))
            )
        self._model.load()

    # -- what comes in

    def start(self, reason: Reason = "start") -> None:
        """Begin: watch every root, and list it all. A root that is missing is lost until it comes."""
        anew = reason in ("start", "state_lost", "root")
        self._model.silent = not self._options.snapshot and anew
        self._resyncs.request(reason, self._model.tree.roots)
        self._roots.check_all()

    def feed(self, data: bytes, read_at: float, wall: int) -> None:
        """
        Take the bytes of one read.

        Args:
            read_at: monotonic seconds of the read.
            wall: its Unix time in nanoseconds.
        """
        self._reads.add(data, read_at, wall)

    def _overflowed(self) -> None:
        self._hints.be_wary()
        self._resyncs.request("overflow", self._model.tree.roots)

    def resync(self, reason: Reason, path: bytes | None = None) -> bool:
        """
        Compare the disk with what was published, and publish the difference.

        Args:
            path: of a directory, as the stream names it; None for everything.

        Returns:
            False where the path is no directory of the tree.
        """
        tops: Sequence[Directory] = self._model.tree.roots
        if path is not None:
            directory = self._model.tree.directory_at(path)
            tops = () if directory is None else (directory,)
        self._resyncs.request(reason, tops, path)
        return bool(tops)

    def tell_again(self, path: bytes) -> bool:
        """
        Publish the present state of an entry, changed or not; of one that is gone nothing.

        Args:
            path: as the stream names it.

        Returns:
            False where it cannot be looked at now.
        """
        place = self._model.tree.place(path)
        if place is None:
            return True
        handle = self._door(place[0])
        if handle is None or self._renames.at(*place) is not None:
            return False
        self._model.seen("resync")
        self._judge.tell_again(*place, handle)
        self._enqueue_adopted()
        return True

    def mounts_are(self, below: Callable[[bytes], Mapping[bytes, int]]) -> None:
        """The mount table at the start: what `mounts_changed` is compared with."""
        self._roots.mounts(below)

    def mounts_changed(self, below: Callable[[bytes], Mapping[bytes, int]]) -> None:
        """
        The mount table may have changed; `below` gives mount points strictly below an absolute path, relative
        to it, each with its mount's number.
        """
        for node, name in self._roots.mounts(below):
            self._model.seen("scan")
            self._check_now(node, name)

    def settle(self) -> None:
        """
        Everything whose system call had returned has been fed: end all waiting, as a barrier needs it. Doubts
        are checked by the next `close_batch`, names without a second half have left, losses are repaired.
        """
        self._settle_soon = True
        if not self.behind:
            self._settle()

    def _settle(self) -> None:
        self._settle_soon = False
        self._hints.release(float("inf"))
        self._doubts.hasten()
        self._resyncs.hasten()

    def hurry(self) -> None:
        """The end is near: what is spaced out otherwise is done at once. See `settled`."""
        self._resyncs.hurry()

    # -- what goes out

    def close_batch(self, backlog: bool) -> Batch:
        """
        End the batch: look at every marked name, adopt what is new, go on with scans.

        What is returned is committed before anything else is asked for. A batch that grew too large comes in
        several: while there is more (see `behind`), a call only gives the next.

        Args:
            backlog: more reads are waiting: corrections wait too, so that lag costs no event.
        """
        if not self._model.pending:
            self._reads.go_on()
            if self._settle_soon and not self._reads:
                self._settle()
            self._work(backlog or bool(self._reads))
            self._model.close()
        self._doors.close()
        return self._model.take()

    @property
    def behind(self) -> bool:
        """More was fed, or found, than what `close_batch` has returned: call it again before feeding more."""
        return self._model.pending or bool(self._reads)

    def _work(self, backlog: bool) -> None:
        self._adopt_fresh()
        self._look()
        self._links.look()
        self._doubts.check(backlog)
        self._enqueue_adopted()
        self._scan()
        self._look()
        self._links.look()
        if not self._model.cut:  # the notice at its end tells what the tree is when it is committed
            self._resyncs.complete(self._port.monotonic(), self._entries)

    def tick(self, backlog: bool = False) -> None:
        """
        Do what is due. Called when nothing is queued, at the latest at `deadline`.

        Args:
            backlog: under a load that never ends it is called all the same, from time to time: the second
                halves of renames may be queued then.
        """
        now = self._port.monotonic()
        self._model.seen("scan")
        if not backlog and not self._reads:
            self._hints.release(now)
        for node in self._coverage.due(now):
            self._poll(node)
        if now >= self._roots.due:
            self._roots.check_all()
        if self._again_at is not None and now >= self._again_at:
            self._again_at = None
            for scan in self._scans:
                scan.again()
        self._resyncs.tick(now, self._model.tree.roots)
        if len(self._ready):
            self._ready.publish(now)

    @property
    def deadline(self) -> float | None:
        """Monotonic time at which `tick` and `close_batch` have something to do; in the past: at once."""
        if self._model.marked or self.behind or self._work_to_do():
            return self._port.monotonic()
        times = (
            self._renames.deadline(),
            self._doubts.deadline,
            self._coverage.deadline,
            self._roots.due,
            self._again_at,
            self._resyncs.deadline,
            self._ready.deadline,
        )
        return min((time for time in times if time is not None), default=None)

    def _work_to_do(self) -> bool:
        return (
            any(self._active(scan) for scan in self._scans)
            or self._links.busy
            or (self._resyncs.running and self._scanner.finished(self._resyncs.scan))
        )

    def _active(self, scan: Scan) -> bool:
        return not self._scanner.finished(scan) and not (scan.later and self._again_at is not None)

    @property
    def settled(self) -> bool:
        """Nothing is marked, in doubt, held or being scanned: the model is what the disk shows."""
        return (
            not self._model.marked
            and not self.behind
            and not self._links.busy
            and not self._hints.fresh
            and not self._judge.doubts
            and not len(self._renames)
            and all(self._scanner.finished(scan) for scan in self._scans)
            and self._resyncs.idle
        )

    @property
    def doubtful(self) -> bool:
        """Some names are to be corrected, or have left, if no record that explains them is on its way."""
        return bool(self._judge.doubts) or bool(len(self._renames))

    @property
    def adopting(self) -> bool:
        """Something that was asked for by `settle` is still to come: directories that appeared are listed."""
        return (
            self.behind
            or self._settle_soon
            or self._doubts.hasty
            or self._resyncs.owing
            or self._links.busy
            or not all(self._scanner.finished(scan) for scan in (self._adoptions, self._rescans))
        )

    @property
    def consistent(self) -> bool:
        """The stream is not known to lack anything: no loss is being repaired, and no root is lost."""
        return self._resyncs.sound and not any(root.lost for root in self._model.tree.roots)

    @property
    def resyncing(self) -> bool:
        """A resync runs, or is to begin."""
        return not self._resyncs.idle

    # -- what it is

    @property
    def tree_roots(self) -> list[TreeRoot]:
        """The roots and their state."""
        return self._model.tree.roots

    @property
    def records_read(self) -> Counter[int]:
        """How many records of each mask were taken; who has counted them may `clear` it."""
        return self._reads.counts

    @property
    def volumes(self) -> Mapping[bytes, Volume]:
        """What the roots are that were found, by `tree.Root.key`: to be given to the next life."""
        return self._roots.volumes

    @property
    def replaced_root(self) -> TreeRoot | None:
        """A root that is another directory than in the life before: only a new epoch can go on with it."""
        return self._roots.replaced

    @property
    def watches(self) -> int:
        """How many directories are watched."""
        return len(self._model.tree.by_wd)

    def uncovered(self) -> Iterator[tuple[bytes, str]]:
        """Every directory that is polled, by path, and why (name of an errno)."""
        return ((self._model.tree.path(node), code) for node, code in self._coverage)

    @property
    def uncovered_count(self) -> int:
        """How many directories are polled."""
        return len(self._coverage)

    def contents(self) -> Iterator[tuple[bytes, Iterator[tuple[bytes, int]]]]:
        """
        Every directory of the tree as the stream holds it: its path, and name and S_IFMT type of what it
        holds.
        """
        tree = self._model.tree
        for node in tree.directories():
            if node.kids:
                names = node.only if isinstance(node, TreeRoot) and node.only is not None else {}
                yield (
                    tree.path(node),
                    ((names.get(name, name), type_of(kid)) for name, kid in node.kids.items()),
                )

    def _entries(self) -> int:
        return sum(len(node.kids) for node in self._model.tree.directories())

    # -- the steps of closing a batch

    def _adopt_fresh(self) -> None:
        fresh, self._hints.fresh = self._hints.fresh, {}
        for node, names in fresh.items():
            self._model.seen("kernel")
            handle = self._door(node) if node.alive() else None
            if handle is not None:
                for name in names:
                    self._judge.adopt_fresh(node, name, handle)
        self._enqueue_adopted()

    def _enqueue_adopted(self) -> None:
        self._adoptions.add(self._judge.to_scan)
        self._judge.to_scan.clear()
        self._polls.add(self._judge.to_audit)
        self._judge.to_audit.clear()

    def _look(self) -> None:
        """Look at every marked name; a look may mark others (a directory that was found to have moved)."""
        for _ in range(_ROUNDS):
            if not self._model.marked:
                break
            marked, self._model.marked = self._model.marked, {}
            self._model.seen("scan")
            for node, names in marked.items():
                if node.alive():
                    self._look_into(node, names)
        self._rescan_moved()

    def _rescan_moved(self) -> None:
        """What moves escapes the scan that would have come to it; and filters may depend on its path."""
        moved, self._model.moved_directories = self._model.moved_directories, []
        alive = [node for node, _ in moved if node.alive()]
        if self._options.filters.path_dependent:
            self._rescans.add(alive)
        if self._resyncs.running:
            self._resyncs.scan.moved(alive)
        if not self._scanner.finished(self._polls):
            self._polls.moved(alive)
        self._polls.add(self._coverage.left(moved))

    def _look_into(self, node: Directory, names: dict[bytes, list[Change]]) -> None:
        handle = self._door(node)
        for name, changes in names.items():
            if len(self._renames) and self._renames.at(node, name) is not None:
                continue
            if handle is None:
                self._judge.unseen(node, name, changes)
            else:
                self._judge.look(node, name, changes, handle)

    def _door(self, node: Directory) -> Handle | None:
        """The directory's descriptor; a directory that cannot be opened at all is not covered."""
        try:
            return self._doors.open(node)
        except OSError as error:
            self._coverage.degrade(node, error.errno or errno.EIO, self._port.monotonic())
            return None

    def _check_now(self, node: Directory, name: bytes) -> None:
        handle = self._door(node) if node.alive() else None
        if handle is not None:
            self._judge.check(node, name, handle)
            self._enqueue_adopted()

    def _scan(self) -> None:
        """A slice of every scan: what was adopted first, for its changes are the newest."""
        for scan in self._scans:
            self._rescan_moved()
            self._scanner.run(scan)
            self._enqueue_adopted()
            if scan.later and self._again_at is None:
                self._again_at = self._port.monotonic() + QUIET

    # -- what is due

    def _poll(self, node: Directory) -> None:
        """Try to watch an uncovered directory again, and list it either way."""
        if node in self._polls.waiting or self._model.tree.lost(node):
            return
        if node.parent is not None and not self._coverage.is_blind(node):
            self._check_now(node.parent, node.name)  # its watch may be that of one whose inode it got
        if node.alive() and node in self._coverage:
            if node.wd is not None and not self._coverage.is_blind(node) and self._readable(node):
                self._coverage.restore(node)
            self._adoptions.waiting.pop(node, None)  # the poll lists it too, and all below it
            self._polls.add((node,))

    def _readable(self, node: Directory) -> bool:
        """Whether a watched directory that could not be read can be read again."""
        handle = self._door(node)
        try:
            return handle is not None and next(iter(self._port.names(handle)), b"") is not None
        except OSError:
            return False

    def _check_roots_soon(self) -> None:
        self._roots.due = 0.0

    def _root_found(self, root: TreeRoot) -> None:
        """A root is there: what stands in it is compared with what was published."""
        if self._resyncs.idle:
            self._resyncs.request("root", [root], root.name)
        else:
            self._resyncs.include(root)
