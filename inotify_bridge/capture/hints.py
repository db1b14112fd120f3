"""
Kernel records change the model at once, and mark what they name.

A record is a hint: it gives created, moved, deleted and their order, and it may be old news, because what it
tells may have been seen by a scan already. Old news must do no harm: creating what exists and deleting what
is gone publish nothing, and whatever is in doubt is only marked. lstat decides later.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from typing import Literal, TypeAlias

from inotify_bridge.capture.change import Kind
from inotify_bridge.capture.constants import (
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_IGNORED,
    IN_ISDIR,
    IN_MODIFY,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_UNMOUNT,
)
from inotify_bridge.capture.doors import Doors
from inotify_bridge.capture.judge import GONE, Judge
from inotify_bridge.capture.model import Model
from inotify_bridge.capture.port import FileSystem, Identity
from inotify_bridge.capture.renames import Held, Renames
from inotify_bridge.capture.tree import Directory, Fresh, Kid, Root, inside

Handler: TypeAlias = Callable[[Directory, bytes, bool, int], None]

# The dentry of a file made with O_TMPFILE keeps this name after linkat(2) gave it another one.
_UNNAMED = re.compile(rb"#(\d{1,20})")
_INODES = 1 << 64

_WARY = 1 << 20
"""Deletions: more than any queue holds records."""


class Hints:
    """
    One handler for each kind of record. Used by the recorder's thread only.

    Args:
        root_in_doubt: called with a root whose watch ended or that was moved or deleted.
    """

    def __init__(
        self,
        model: Model,
        judge: Judge,
        doors: Doors,
        port: FileSystem,
        renames: Renames,
        root_in_doubt: Callable[[Root], None],
    ) -> None:
        self.fresh: dict[Directory, dict[bytes, None]] = {}
        self.read_at = 0.0
        self._wary = 0
        self._model = model
        self._judge = judge
        self._doors = doors
        self._port = port
        self._renames = renames
        self._root_in_doubt = root_in_doubt
        self._handlers: dict[int, Handler] = {
            IN_CREATE: self._created,
            IN_CLOSE_WRITE: self._written,
            IN_DELETE: self._deleted,
            IN_MODIFY: self._modified if {"modified", "ready"} & model.kinds else self._written_to,
            IN_ATTRIB: self._attributes,
            IN_MOVED_FROM: self._moved_from,
            IN_MOVED_TO: self._moved_to,
        }

    def take(self, node: Directory, mask: int, cookie: int, name: bytes) -> None:
        """Take one record about a watched directory."""
        if not name:
            self._about_itself(node, mask)
            return
        is_directory = bool(mask & IN_ISDIR)
        handler = self._handlers.get(mask & ~IN_ISDIR)
        if handler is not None and (
            (self._judge.rules.filters.empty and not isinstance(node, Root))
            or self._judge.rules.admits(self._model, node, name, is_directory)
            or mask & IN_MOVED_TO  # leaving the tree across a filter's border ends a rename
        ):
            handler(node, name, is_directory, cookie)

    def _about_itself(self, node: Directory, mask: int) -> None:
        """Records without a name are about the directory that carries the watch."""
        if isinstance(node, Root):
            if mask & (IN_IGNORED | IN_UNMOUNT | IN_DELETE_SELF | IN_MOVE_SELF):
                if mask & IN_IGNORED:
                    self._model.tree.unbind(node)
                self._root_in_doubt(node)
        elif mask & (IN_IGNORED | IN_UNMOUNT):
            if mask & IN_IGNORED:
                self._model.tree.unbind(node)
            if node.parent is not None:
                self._model.mark(node.parent, node.name)
        # IN_ATTRIB without a name: the parent's watch tells the same with the name.

    def be_wary(self) -> None:
        """
        The queue has overflowed: look at names of which a deletion is told, for a while.

        Behind the record of an overflow the kernel goes on to queue, and to lose what finds no room: it tells
        of that by the same record, as long as that is in the queue (fsnotify_insert_event() in
        fs/notify/notification.c). So a deletion may come, after everything was compared, and the creation
        that followed it may not.
        """
        self._wary = _WARY

    # -- one handler a kind

    def _created(self, node: Directory, name: bytes, is_directory: bool, cookie: int) -> None:
        kid = node.kids.get(name)
        if is_directory:
            self.fresh.setdefault(node, {})[name] = None
        if kid is None and not self._renames.over(node):
            self._model.put(node, name, self._new(node, name, is_directory))
            return
        self._model.mark(node, name)
        if len(self._renames) and (held := self._renames.at(node, name)) is not None:
            held.reoccupied = True

    def _new(self, node: Directory, name: bytes, is_directory: bool) -> Kid:
        return self._model.tree.directory(node, name) if is_directory else Fresh(self._model.batch)

    def _written(self, node: Directory, name: bytes, is_directory: bool, cookie: int) -> None:
        self._told("written", node, name)

    def _modified(self, node: Directory, name: bytes, is_directory: bool, cookie: int) -> None:
        self._told("modified", node, name)

    def _written_to(self, node: Directory, name: bytes, is_directory: bool, cookie: int) -> None:
        """Writes are watched for whoever follows the content alone: the stream says nothing of them."""
        self._model.written_to(node, name)

    def _told(self, kind: Literal["written", "modified"], node: Directory, name: bytes) -> None:
        kid = node.kids.get(name)
        if kid is None:
            self._model.mark(node, name)
            self._orphan(node, name, kind)
        elif isinstance(kid, Directory):
            self._model.mark(node, name)
        elif self._renames.over(node) or self._held(node, name):
            self._model.mark(node, name)
            self._model.suspect(node, name, kind)
        else:
            self._model.say(kind, node, name, kid if isinstance(kid, int) else stat.S_IFREG)

    def _held(self, node: Directory, name: bytes) -> bool:
        return bool(len(self._renames)) and self._renames.at(node, name) is not None

    def _attributes(self, node: Directory, name: bytes, is_directory: bool, cookie: int) -> None:
        kid = node.kids.get(name)
        if kid is None:
            self._model.mark(node, name)
            self._orphan(node, name, None)
        elif isinstance(kid, Directory) != is_directory:
            self._model.mark(node, name)
        elif self._renames.over(node) or self._held(node, name):
            self._model.mark(node, name)
            if not is_directory:
                self._model.suspect(node, name, "attributes_changed")
        else:
            entry = stat.S_IFDIR if is_directory else kid if isinstance(kid, int) else stat.S_IFREG
            self._model.say("attributes_changed", node, name, entry)

    def _orphan(self, node: Directory, name: bytes, kind: Kind | None) -> None:
        """A record names a file by a name that is gone, or never was: its other names are looked at."""
        identity = self._judge.linked.get((node, name))
        unnamed = _UNNAMED.fullmatch(name)
        if identity is None and unnamed and int(unnamed[1]) < _INODES:
            identity = Identity(node.device, int(unnamed[1]))
        if identity is not None:
            self._judge.link_changed(identity, kind)
            if kind == "written":
                self._judge.closed_elsewhere.add(identity)

    def _deleted(self, node: Directory, name: bytes, is_directory: bool, cookie: int) -> None:
        kid = node.kids.get(name)
        if kid is None or isinstance(kid, Directory) != is_directory or self._renames.over(node):
            self._model.mark(node, name)
        elif self._held(node, name):
            # What is held has left the name already: this is about what came after it.
            self._model.mark(node, name)
        elif isinstance(kid, Directory) and kid.wd is not None:
            # Its watch still lives, so it does too: the record is about an earlier directory of this name.
            self._model.mark(node, name)
        else:
            self._model.drop(node, name)
            self._model.unmark(node, name)
            self._judge.doubts.pop((node, name), None)
            if self._wary:
                self._wary -= 1
                self._model.mark(node, name)

    def _moved_from(self, node: Directory, name: bytes, is_directory: bool, cookie: int) -> None:
        earlier = self._renames.take_at(node, name)
        if earlier is not None:
            self._leave(earlier)
        self._model.mark(node, name)
        kid = node.kids.get(name)
        if kid is not None and isinstance(kid, Directory) == is_directory and not self._renames.over(node):
            self._renames.hold(cookie, Held(node, name, kid, self.read_at))

    def _moved_to(self, node: Directory, name: bytes, is_directory: bool, cookie: int) -> None:
        held = self._renames.take(cookie)
        if held is not None:
            self._model.mark(held.node, held.name)
        occupant = self._renames.take_at(node, name)
        if occupant is not None:
            self._leave(occupant)
        if not self._judge.rules.admits(self._model, node, name, is_directory):
            if held is not None:
                self._leave(held)
            return
        self._model.mark(node, name)
        if is_directory:
            self.fresh.setdefault(node, {})[name] = None
        if self._renames.over(node):
            return
        if held is None or not self._pair(held, node, name, is_directory):
            self._arrive(node, name, is_directory, paired=held is not None)

    def _pair(self, held: Held, node: Directory, name: bytes, is_directory: bool) -> bool:
        """Move what was held to its new name. False where the model does not allow it."""
        if held.node.kids.get(held.name) is not held.kid and held.node.kids.get(held.name) != held.kid:
            return False
        there = node.kids.get(name)
        if isinstance(there, Directory) and inside(held.node, there):
            # mv Z/d Y, and Z is known below Y: Y has gone elsewhere before. The name is adopted anew.
            self._model.drop(node, name)
            return False
        if is_directory and not self._judge.rules.whole_moves:
            self._model.drop(held.node, held.name)
            return False
        if isinstance(held.kid, Directory) and (
            inside(node, held.kid) or not self._leads(node, name, held.kid)
        ):
            return True  # old news: the check finds out
        if (held.node, held.name) != (node, name):
            self._model.move(held.node, held.name, node, name)
        return True

    def _leads(self, node: Directory, name: bytes, kid: Directory) -> bool:
        """Whether the name may be this directory: unknown counts as yes, the check decides."""
        if not kid.inode:
            return True
        try:
            handle = self._doors.open(node)
            if handle is None:
                return True
            seen = self._port.lstat(handle, name)
        except OSError:
            return True
        return (seen.device, seen.inode) == (kid.device, kid.inode)

    def _arrive(self, node: Directory, name: bytes, is_directory: bool, paired: bool) -> None:
        """Something came from outside the tree, or from a name that the model does not know."""
        kid = node.kids.get(name)
        if kid is None:
            self._model.put(node, name, self._new(node, name, is_directory))
        if is_directory or isinstance(kid, Directory) or (paired and kid is not None):
            return
        entry = kid if isinstance(kid, int) else stat.S_IFREG
        if entry == stat.S_IFREG:
            self._model.say("written", node, name, entry)

    # -- names that left

    def release(self, now: float) -> None:
        """End the wait for second halves that are not to come: those names have left the tree."""
        for held in self._renames.expired(now):
            if held.reoccupied or self._gone(held):
                self._leave(held)
            else:
                self._model.mark(held.node, held.name)
                if not isinstance(held.kid, Directory):  # it may have left, changed, and come back as a link
                    self._model.suspect(held.node, held.name, "written")

    def _gone(self, held: Held) -> bool:
        """Whether what was held is no longer at its name; if it is, the record was old news."""
        try:
            handle = self._doors.open(held.node)
            if handle is None:
                return False
            seen = self._port.lstat(handle, held.name)
        except OSError as error:
            return error.errno in GONE
        kid = held.kid
        return isinstance(kid, Directory) and (seen.device, seen.inode) != (kid.device, kid.inode)

    def _leave(self, held: Held) -> None:
        """What was held is out of the tree."""
        if held.node.kids.get(held.name) is held.kid or held.node.kids.get(held.name) == held.kid:
            self._model.drop(held.node, held.name)
        self._model.mark(held.node, held.name)
