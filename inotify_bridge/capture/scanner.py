"""
Scans: directories listed name by name, in slices, while kernel events go on in between.

Rescan is the core of the capture, inotify the accelerator: a start, an overflow, a lost root, an audit, a
directory that appeared with its contents, all are scans. A scan decides name by name with lstat, so it does
not
matter what happens around it: whatever changes later brings a record of its own.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from itertools import islice

from inotify_bridge.capture.change import Origin
from inotify_bridge.capture.coverage import Coverage
from inotify_bridge.capture.doors import Doors
from inotify_bridge.capture.judge import GONE, Judge
from inotify_bridge.capture.model import Model
from inotify_bridge.capture.port import FileSystem, Handle
from inotify_bridge.capture.tree import Directory, Root

_NAMES_AT_ONCE = 500
_SLICE_SECONDS = 0.05
_SLICE_STEPS = 1_000
_TRIES = 20


class Scan:
    """
    A set of directories to be listed.

    Args:
        origin: what the stream says of the changes found.
        deep: whether known subdirectories are listed too, or new ones only.
        audit: whether content that changed without a close counts as written.
    """

    def __init__(self, origin: Origin, deep: bool, audit: bool) -> None:
        self.origin = origin
        self.deep = deep
        self.audit = audit
        self.waiting: dict[Directory, None] = {}
        self.later: dict[Directory, int] = {}
        self.listed: set[Directory] = set()
        self.entries = 0

    def add(self, nodes: Iterable[Directory]) -> None:
        """List these too; the last comes first."""
        for node in nodes:
            self.waiting.pop(node, None)
            self.waiting[node] = None

    def moved(self, nodes: Iterable[Directory]) -> None:
        """
        While this runs: directories that are elsewhere now.

        One that was not listed yet may stand where all has been listed: what is above it does not lead there.
        """
        self.add(node for node in nodes if node not in self.listed)

    def again(self) -> None:
        """Try what could not be opened once more: the renames above it may be known by now."""
        self.add(self.later)


class Scanner:
    """Runs scans in slices. Used by the recorder's thread only."""

    def __init__(
        self,
        model: Model,
        judge: Judge,
        doors: Doors,
        port: FileSystem,
        coverage: Coverage,
    ) -> None:
        self._model = model
        self._judge = judge
        self._doors = doors
        self._port = port
        self._coverage = coverage
        self._running: dict[Scan, Iterator[None]] = {}

    def finished(self, scan: Scan) -> bool:
        """Whether nothing of a scan is left to do."""
        return not scan.waiting and not scan.later and scan not in self._running

    def stop(self, scan: Scan) -> None:
        """Give a scan up and close what it holds."""
        scan.waiting.clear()
        scan.later.clear()
        scan.listed.clear()
        running = self._running.pop(scan, None)
        if running is not None:
            running.close()  # type: ignore[attr-defined]

    def run(self, scan: Scan) -> None:
        """
        Go on with a scan until it is finished, or has had its slice, or the batch is full.

        Each has a slice of its own: what comes before it may have enough for all the time that there is.
        """
        stop_at = self._port.monotonic() + _SLICE_SECONDS
        for _ in range(_SLICE_STEPS):
            if self._model.room <= 0 or self._port.monotonic() >= stop_at:
                return
            step = self._running.get(scan)
            if step is None:
                if not scan.waiting:
                    if not scan.later:
                        scan.listed.clear()
                    return
                step = self._running[scan] = self._directory(scan, scan.waiting.popitem()[0])
            try:
                next(step)
            except StopIteration:
                del self._running[scan]

    def _directory(self, scan: Scan, node: Directory) -> Iterator[None]:
        """List one directory; yields after every few hundred names."""
        if not node.alive() or self._coverage.is_loop(node):
            scan.later.pop(node, None)
            return
        try:
            handle = self._doors.take(node)
            if handle is None:
                self._not_there(scan, node)
                return
            scan.later.pop(node, None)
            scan.listed.add(node)
            try:
                yield from self._names(scan, node, handle)
            finally:
                handle.close()
        except OSError as error:
            if error.errno in GONE and node.parent is not None:
                self._judge.doubt(node.parent, node.name)  # removed while it was read
                return
            self._coverage.degrade(node, error.errno or errno.EIO, self._port.monotonic())

    def _not_there(self, scan: Scan, node: Directory) -> None:
        """
        The model's path does not lead to the directory: a rename above it is queued. Or the model is wrong.
        """
        tries = scan.later[node] = scan.later.get(node, 0) + 1
        if node.parent is None:
            if not isinstance(node, Root) or node.lost:
                del scan.later[node]  # what finds a lost root again scans it
            return
        if tries < _TRIES:
            return
        del scan.later[node]
        self._judge.doubt(node.parent, node.name)
        scan.add((node.parent,))

    def _names(self, scan: Scan, node: Directory, handle: Handle) -> Iterator[None]:
        missing = dict.fromkeys(node.kids)  # not a set: a run is the same every time
        known = bool(missing)
        listed = self._listed(node, handle)
        names: list[bytes] = []
        while names := names or list(islice(listed, _NAMES_AT_ONCE)):
            rows = self._model.rows(node, names) if known else {}
            names.reverse()
            while names and self._model.room > 0:
                if not node.alive():
                    return
                name = names.pop()
                scan.entries += 1
                missing.pop(name, None)
                self._model.seen(scan.origin)
                self._judge.check(node, name, handle, rows.get(name), scan.audit)
                self._descend(scan, node, name)
            names.reverse()
            yield
        for name in missing:
            if self._model.room <= 0:
                yield
            if node.alive():
                self._model.seen(scan.origin)
                self._judge.check(node, name, handle, None, scan.audit)

    def _listed(self, node: Directory, handle: Handle) -> Iterator[bytes]:
        if isinstance(node, Root) and node.only is not None:
            return iter(sorted(node.only))
        return self._port.names(handle)

    def _descend(self, scan: Scan, node: Directory, name: bytes) -> None:
        """What the check adopted is listed next; with `deep` also what was known, here or elsewhere."""
        adopted, self._judge.to_scan = self._judge.to_scan, []
        if scan.deep and scan.audit:
            # At a start every directory is known and not watched yet: it is listed here, and only once.
            adopted += self._judge.to_audit
            self._judge.to_audit = []
        scan.add(adopted)
        kid = node.kids.get(name)
        if (
            scan.deep
            and isinstance(kid, Directory)
            and kid not in adopted
            and self._judge.entered(node, kid.device)
        ):
            scan.add((kid,))
