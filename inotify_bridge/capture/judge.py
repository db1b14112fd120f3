"""
lstat decides: what a name is, whatever was told about it.

Two ways of looking. The *look* at the end of every batch gives the batch's changes their stat fields and
settles what needs settling; where disk and model disagree it only doubts, because the records that explain
it are mostly queued already. The *check* decides, and corrects the model: for doubts that stayed, for
scans, for polls.
"""

from __future__ import annotations

import errno
import stat
from typing import Literal

from inotify_bridge.capture.change import Change, Kind, Stat
from inotify_bridge.capture.constants import ROOT_MASK, WATCH_MASK
from inotify_bridge.capture.coverage import Coverage
from inotify_bridge.capture.difference import difference, fingerprint, published, replaced, set_by_hand
from inotify_bridge.capture.doors import Doors
from inotify_bridge.capture.index import Row
from inotify_bridge.capture.model import Model
from inotify_bridge.capture.port import FileSystem, Handle, Identity
from inotify_bridge.capture.rules import Rules
from inotify_bridge.capture.tree import Directory, Fresh, Kid, inside, type_of

GONE = (errno.ENOENT, errno.ENOTDIR)
"""The only answers that mean that something is not there."""

_NO_WATCH_LEFT = (errno.ENOSPC, errno.ENOMEM)
"""A directory that is watched needs no other watch: where none is left it has none, whatever the model says.
It may have got the inode of an old, watched one, whose end was lost in an overflow."""

_CONTENT = frozenset(("created", "written", "modified", "moved"))
_LINKED_AT_MOST = 10_000


class Judge:
    """Compares names with the disk. Used by the recorder's thread only."""

    def __init__(
        self, model: Model, port: FileSystem, doors: Doors, coverage: Coverage, rules: Rules
    ) -> None:
        self.model = model
        self.rules = rules
        self.doubts: dict[tuple[Directory, bytes], float] = {}
        self.to_scan: list[Directory] = []
        self.to_audit: list[Directory] = []
        self.linked: dict[tuple[Directory, bytes], Identity] = {}
        self.links_changed: dict[Identity, Kind | None] = {}
        self.closed_elsewhere: set[Identity] = set()
        self._port = port
        self._doors = doors
        self._coverage = coverage

    # -- the look

    def look(self, node: Directory, name: bytes, changes: list[Change], handle: Handle) -> None:
        """Give a name's changes their fields; doubt where disk and model disagree."""
        try:
            seen = self._port.lstat(handle, name)
        except OSError as error:
            self._not_seen(node, name, error)
            self._remember(node, name, changes)
            return
        if not self._agrees(node, name, changes, seen):
            self.unseen(node, name, changes)
        else:
            self.doubts.pop((node, name), None)
            self.model.suspicion(node, name)

    def unseen(self, node: Directory, name: bytes, changes: list[Change]) -> None:
        """The name could not be looked at: its changes go out without the fields of a stat."""
        self.doubt(node, name)
        self._remember(node, name, changes)

    def _remember(self, node: Directory, name: bytes, changes: list[Change]) -> None:
        for change in changes:
            if change.stat is None and (change.kind in _CONTENT or change.type == stat.S_IFREG):
                as_told = change.kind in ("modified", "attributes_changed")
                self.model.suspect(node, name, change.kind if as_told else "written", told=True)

    def doubt(self, node: Directory, name: bytes) -> None:
        """Have a name checked when the queue has been quiet for a moment."""
        self.doubts.pop((node, name), None)  # the oldest stands first
        self.doubts[node, name] = self._port.monotonic()

    def _not_seen(self, node: Directory, name: bytes, error: OSError) -> None:
        kid = node.kids.get(name)
        if isinstance(kid, Fresh):
            node.kids[name] = stat.S_IFREG
        if error.errno not in GONE:
            self._coverage.degrade(node, error.errno or errno.EIO, self._port.monotonic())
        elif kid is not None:
            self.doubt(node, name)

    def _agrees(self, node: Directory, name: bytes, changes: list[Change], seen: Stat) -> bool:
        kid = node.kids.get(name)
        entry = stat.S_IFMT(seen.mode)
        if kid is None:
            return not self.rules.admits(self.model, node, name, entry == stat.S_IFDIR)
        if isinstance(kid, Directory):
            return entry == stat.S_IFDIR and self._same_directory(node, name, kid, changes, seen)
        if entry == stat.S_IFDIR:
            if isinstance(kid, Fresh):
                node.kids[name] = stat.S_IFREG
            return False
        if isinstance(kid, Fresh):
            kid = self.model.resolve(node, name, kid, changes, entry)
        return kid == entry and self._same_file(node, name, kid, changes, seen)

    def _same_directory(
        self, node: Directory, name: bytes, kid: Directory, changes: list[Change], seen: Stat
    ) -> bool:
        if kid.inode and (kid.device, kid.inode) != (seen.device, seen.inode):
            return False
        if changes:
            self.model.fill(node, name, kid, changes, seen)
        else:
            self.compare(node, name, kid, seen, self.model.row(node, name), audit=False, times=False)
        # Watched when it is adopted; a directory whose watch ended and that still stands is adopted again.
        return kid.wd is not None or kid in self._coverage or not self.entered(node, seen.device)

    def _same_file(self, node: Directory, name: bytes, kid: int, changes: list[Change], seen: Stat) -> bool:
        told = {change.kind for change in changes}
        if told & _CONTENT:
            self.model.fill(node, name, kid, changes, seen)
            if seen.links > 1:
                self._link(node, name, seen, told)
            return True
        row = self.model.row(node, name)
        if row is not None and row.stat is not None and replaced(row.stat, seen):
            for change in changes:
                change.stat = seen
            return False
        suspected = self.model.suspicion(node, name)
        if not changes:
            self.compare_told(node, name, kid, seen, row, suspected)
            return True
        for change in changes:
            change.stat = seen
        content = self.model.tell_content(node, name, kid, seen, row, suspected)
        if not content:
            self.model.store(node, name, kid, published(row, seen))
        if seen.links > 1:
            self._linked(node, name, seen, suspected if content else None)
        return True

    def _link(self, node: Directory, name: bytes, seen: Stat, told: set[Kind]) -> None:
        """A second name of a file: its content was written before, and no close will tell of it here."""
        if "created" in told and "written" not in told and stat.S_ISREG(seen.mode):
            self.model.say("written", node, name, stat.S_IFREG, seen)
        self._linked(node, name, seen, "written" if "written" in told else "modified")

    def _linked(self, node: Directory, name: bytes, seen: Stat, kind: Kind | None) -> None:
        """Records name one of the names of an inode only: the others are looked at too."""
        if len(self.linked) >= _LINKED_AT_MOST:
            self.linked.clear()
        self.linked[node, name] = Identity(seen.device, seen.inode)
        self.link_changed(self.linked[node, name], kind)

    def link_changed(self, identity: Identity, kind: Kind | None) -> None:
        """Have all names of an inode looked at; `kind`: what was told of its content; None: of the rest."""
        if self.links_changed.get(identity) != "written":
            self.links_changed[identity] = kind or self.links_changed.get(identity)

    def compare_told(
        self, node: Directory, name: bytes, kid: int, seen: Stat, row: Row | None, kind: Kind | None
    ) -> None:
        """Publish what changed of a file, where `kind` is known to have happened, and not how it came out."""
        if not self.model.tell_content(node, name, kid, seen, row, kind):
            before = row.stat if row else None
            # Attributes may be times alone, of which nothing else can tell.
            times = kind == "attributes_changed" or bool(kind and before and set_by_hand(before, seen))
            self.compare(node, name, kid, seen, row, audit=False, times=times)
        # Also where this name shows nothing new: it may have been listed after the change, the others before.
        if kind is not None and seen.links > 1:
            self._linked(node, name, seen, None if kind == "attributes_changed" else kind)

    # -- the check

    def check(
        self, node: Directory, name: bytes, handle: Handle, row: Row | None = None, audit: bool = False
    ) -> None:
        """
        Make the model what lstat says of a name.

        Args:
            row: what was published, where the caller has it at hand; looked up otherwise.
            audit: whether content that changed without a close counts as written (scans and resyncs).
        """
        changes = self.model.unmark(node, name)
        try:
            seen = self._port.lstat(handle, name)
        except OSError as error:
            if error.errno in GONE:
                self.model.drop(node, name)
            else:
                self._not_seen(node, name, error)
            return
        self.decide(node, name, handle, seen, changes, row, audit)

    def decide(
        self,
        node: Directory,
        name: bytes,
        handle: Handle,
        seen: Stat,
        changes: list[Change],
        row: Row | None,
        audit: bool,
    ) -> None:
        """Make the model what `seen` says."""
        entry = stat.S_IFMT(seen.mode)
        if not self.rules.admits(self.model, node, name, entry == stat.S_IFDIR):
            self.model.drop(node, name)
            return
        if entry == stat.S_IFDIR:
            self.adopt(node, name, handle, seen, changes)
            return
        kid = node.kids.get(name)
        if isinstance(kid, Fresh):
            kid = self.model.resolve(node, name, kid, changes, entry)
        if kid != entry:
            self.model.drop(node, name)
            self.model.put(node, name, entry, seen, whole=True)
            if seen.links > 1:
                self._linked(node, name, seen, "written")
            return
        if changes:
            self.model.fill(node, name, entry, changes, seen)
            if seen.links > 1:
                self._link(node, name, seen, {change.kind for change in changes})
            return
        row = row or self.model.row(node, name)
        if entry != stat.S_IFREG and row and row.stat and replaced(row.stat, seen):
            self.model.drop(node, name)
            self.model.put(node, name, entry, seen)
        elif audit:
            self.compare(node, name, entry, seen, row, audit, times=False)
        else:
            self.compare_told(node, name, entry, seen, row, self.model.suspicion(node, name))

    def compare(
        self, node: Directory, name: bytes, kid: Kid, seen: Stat, row: Row | None, audit: bool, times: bool
    ) -> None:
        """Publish how an entry differs from what was published about it, if it does."""
        before = row.stat if row else None
        kind = difference(before, seen, audit, times)
        if audit and row and self.model.content_changed and row.ready != fingerprint(seen):
            self.model.content_changed(node, name)  # a restart came before it had settled
        if kind is None:
            if before is None:
                self.model.store(node, name, kid, seen)
            return
        self.model.say(kind, node, name, stat.S_IFMT(seen.mode), seen)
        self.model.store(node, name, kid, seen if kind == "written" else published(row, seen))
        if seen.links > 1 and not isinstance(kid, Directory):
            self._linked(node, name, seen, "written" if kind == "written" else None)

    def tell_again(self, node: Directory, name: bytes, handle: Handle) -> None:
        """Publish what a name is now, changed or not."""
        self.check(node, name, handle)
        kid = node.kids.get(name)
        if kid is None:
            return
        entry = type_of(kid)
        try:
            seen = self._port.lstat(handle, name)
        except OSError:
            seen = None
        if seen is None or stat.S_IFMT(seen.mode) != entry:
            self.doubt(node, name)
            return
        regular: tuple[Kind, ...] = ("written", "modified") if entry == stat.S_IFREG else ()
        kinds = (kind for kind in (*regular, "attributes_changed", "created") if kind in self.model.kinds)
        if (kind := next(kinds, None)) is not None:
            self.model.say(kind, node, name, entry, seen)
            self.model.store(node, name, kid, seen)

    # -- adoption: the very directory, watched before it is listed

    def adopt_fresh(self, node: Directory, name: bytes, handle: Handle) -> None:
        """
        A directory that the kernel told of; where it is gone or another thing already, the look will doubt.
        """
        try:
            seen = self._port.lstat(handle, name)
        except OSError:
            return
        if stat.S_ISDIR(seen.mode) and self.rules.admits(self.model, node, name, is_directory=True):
            self.adopt(node, name, handle, seen, self.model.unmark(node, name))

    def adopt(self, node: Directory, name: bytes, handle: Handle, seen: Stat, changes: list[Change]) -> None:
        """lstat says that the name is a directory: make the model's child the very inode."""
        kid = node.kids.get(name)
        if kid is not None and not isinstance(kid, Directory):
            self.model.drop(node, name)
            kid = None
        if not self.entered(node, seen.device):
            if kid is not None and kid.inode and (kid.device, kid.inode) != (seen.device, seen.inode):
                self.model.drop(node, name)  # mounted over: what was entered here is hidden now
                kid, changes = None, []
            self._settle_kid(node, name, kid, seen, changes)
            return
        try:
            inner = self._port.open_below(handle, name)
        except OSError as error:
            if error.errno not in (*GONE, errno.ELOOP):
                kid = self._settle_kid(node, name, kid, seen, changes)
                self._coverage.degrade(kid, error.errno or errno.EIO, self._port.monotonic())
            return  # it changed again: a record will tell
        try:
            self._bind(node, name, kid, inner, seen, changes)
        finally:
            settled = node.kids.get(name)
            if isinstance(settled, Directory) and inner.identity == (settled.device, settled.inode):
                self._doors.forget(settled)
                self._doors.keep(settled, inner)
            else:
                inner.close()

    def entered(self, node: Directory, device: int) -> bool:
        """Whether a directory in `node`, itself on `device`, is watched and listed."""
        return self.rules.recursive and (not self.rules.one_file_system or device == node.device)

    def _settle_kid(
        self, node: Directory, name: bytes, kid: Directory | None, seen: Stat, changes: list[Change]
    ) -> Directory:
        """The child in the model: a new one, or the known one with what lstat says now."""
        if kid is None:
            kid = self.model.tree.directory(node, name)
            self.model.put(node, name, kid, seen)
        elif changes:
            self.model.fill(node, name, kid, changes, seen)
        else:
            self.compare(node, name, kid, seen, self.model.row(node, name), audit=False, times=False)
        return kid

    def _bind(
        self,
        node: Directory,
        name: bytes,
        kid: Directory | None,
        inner: Handle,
        seen: Stat,
        changes: list[Change],
    ) -> None:
        try:
            wd = self._port.add_watch(inner, WATCH_MASK | self.rules.mask)
        except OSError as error:
            kid = self._same_or_none(node, name, kid, inner)
            kid = self._settle_kid(node, name, kid, seen, changes)
            kid.device, kid.inode = inner.identity
            if error.errno in _NO_WATCH_LEFT:
                self.model.tree.unbind(kid)
            self._coverage.degrade(kid, error.errno or errno.EIO, self._port.monotonic())
            (self.to_audit if kid.kids else self.to_scan).append(kid)
            return
        other = self.model.tree.by_wd.get(wd)
        if other is not None and other is kid:
            self._settle_kid(node, name, kid, seen, changes)
            return
        if other is not None:
            self._known_elsewhere(node, name, kid, other, inner, seen, changes)
            return
        if kid is not None and kid.wd is not None and kid.wd != wd:
            self.model.drop(node, name)  # the number of its watch is another: so it is another directory
            kid, changes = None, []
        kid = self._same_or_none(node, name, kid, inner)
        kid = self._settle_kid(node, name, kid, seen, changes)
        self.model.tree.bind(kid, wd, *inner.identity)
        restored = self._coverage.restore(kid)
        self._blind(node, kid, inner)
        # What is known of a directory that was not watched until now may have changed in any way.
        (self.to_audit if restored or kid.kids else self.to_scan).append(kid)

    def _same_or_none(
        self, node: Directory, name: bytes, kid: Directory | None, inner: Handle
    ) -> Directory | None:
        """
        A child whose watch is gone is the same directory only where the inode is; another one is dropped.
        """
        if kid is not None and kid.inode and (kid.device, kid.inode) != inner.identity:
            self.model.drop(node, name)
            return None
        return kid

    def _blind(self, node: Directory, kid: Directory, inner: Handle) -> None:
        """Where a file system begins whose changes are not all seen, everything below is polled."""
        if kid.device != node.device and self._port.blind(inner):
            self._coverage.degrade(kid, errno.ENOTSUP, self._port.monotonic())

    def _known_elsewhere(
        self,
        node: Directory,
        name: bytes,
        kid: Directory | None,
        other: Directory,
        inner: Handle,
        seen: Stat,
        changes: list[Change],
    ) -> None:
        """The kernel answered with the watch of a directory that the model has at another place."""
        verdict = self._still_there(other, inner)
        if verdict == "yes":
            self._twin(node, name, kid, other, inner, seen, changes)
        elif verdict == "unknown" or other.parent is None or inside(node, other):
            # The model is behind on an ancestor; its records are queued. First things first.
            if other.parent is not None:
                self.model.mark(other.parent, other.name)
            self.doubt(node, name)
        elif kid is not None and inside(other, kid):
            # mv Z/d Y onto its own former ancestor's name: nothing to move, the name is adopted anew.
            self.model.drop(node, name)
            self.doubt(node, name)
        elif not self.rules.whole_moves:
            self.model.drop(other.parent, other.name)
            self.doubt(node, name)
        else:
            self.model.move(other.parent, other.name, node, name)
            self.doubt(node, name)

    def _still_there(self, other: Directory, inner: Handle) -> Literal["yes", "no", "unknown"]:
        """Whether an inode still stands where the model has it (then this is a second mount of it)."""
        if other.parent is None:
            return "yes"
        try:
            handle = self._doors.open(other.parent)
            if handle is None:
                return "no"
            seen = self._port.lstat(handle, other.name)
        except OSError as error:
            return "no" if error.errno in GONE else "unknown"
        return "yes" if (seen.device, seen.inode) == inner.identity else "no"

    def _twin(
        self,
        node: Directory,
        name: bytes,
        kid: Directory | None,
        other: Directory,
        inner: Handle,
        seen: Stat,
        changes: list[Change],
    ) -> None:
        """A bind mount: the second path is polled, and below itself it is not entered at all."""
        if kid is not None and kid.wd is not None:
            self.model.drop(node, name)  # mounted over: what was watched here is hidden now
            kid, changes = None, []
        kid = self._settle_kid(node, name, self._same_or_none(node, name, kid, inner), seen, changes)
        kid.device, kid.inode = inner.identity
        loop = inside(node, other)
        self._coverage.degrade(kid, errno.ELOOP if loop else errno.EEXIST, self._port.monotonic())
        if not loop:
            self.to_scan.append(kid)

    def watch_root(self, handle: Handle) -> int:
        """Watch the directory of a root. Returns the number of its watch; raises OSError."""
        return self._port.add_watch(handle, ROOT_MASK | self.rules.mask)
