"""
The oracle: what anybody who replays the stream holds, and what the disk really is.

On purpose it shares no code with `inotify_bridge.subscribe` or `inotify_bridge.events`.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple

from inotify_bridge.capture.change import Change, Item

Kids = dict[bytes, "Node"]


class Entry(NamedTuple):
    """One entry; all but the type is None where the stream has not said it. `size` only for regular files."""

    type: str
    size: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    target: bytes | None = None


class Node(NamedTuple):
    """An entry with what is below it."""

    entry: Entry
    kids: Kids


class Unfoldable(AssertionError):
    """The stream said something that cannot be."""


class Fold:
    """
    Replays a stream.

    Args:
        strict: raise `Unfoldable` where it creates what is there, changes or deletes what is not, deletes or
            replaces a directory that is not empty, nests resyncs, or leaves a hole in the numbering.
    """

    def __init__(self, strict: bool = True) -> None:
        self.strict = strict
        self.top: Kids = {}
        self.resync: Any = None
        self.at: tuple[str, int] = ("", 0)
        self.folded = self.repeats = 0

    def item(self, item: Item) -> None:
        """Take what the reconciler gives."""
        if not isinstance(item, Change):
            self._notice(item.kind, item.data)
            return
        names = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink"}
        names |= {stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket"}
        said = Entry(names.get(item.type, "device"))
        if (found := item.stat) is not None:
            said = Entry(said.type, found.size, found.mode & 0o7777, found.uid, found.gid, found.target)
        self._change(item.kind, item.path, said, item.source)

    def event(self, event: dict[str, Any]) -> None:
        """Take a parsed CloudEvent; one that comes again is counted in `repeats` and dropped."""
        if not self._fresh(event["sequence"], event["type"]):
            return
        data = event["data"]
        type = data["type"] if event["type"].endswith(".stream.event_parked.v1") else event["type"]
        family, kind = type.split(".")[-3:-1]
        if family == "stream":
            self._notice(kind, data)
        elif family in ("file", "directory"):
            file = data["file"]
            said = Entry(file["type"])
            if "mode" in file:
                uid, gid = int(file["owner"]["id"]), int(file["group"]["id"])
                said = Entry(said.type, file["size"], int(file["mode"], 8), uid, gid, _raw(file, "target"))
            self._change(kind, _raw(file, "path") or b"", said, _raw(data.get("move", {}), "from"))

    def entries(self) -> dict[bytes, Entry]:
        """Everything it holds, by path."""
        found: dict[bytes, Entry] = {}
        todo = [(b"", self.top)]
        while todo:
            above, kids = todo.pop()
            for name, node in kids.items():
                found[above + name] = node.entry
                if node.kids:
                    todo.append((above + name + b"/", node.kids))
        return found

    def _change(self, kind: str, path: bytes, said: Entry, source: bytes | None) -> None:
        self.folded += 1
        if not path:  # the root itself, which is no entry of the tree
            self._must(kind == "attributes_changed", "root", kind)
            return
        if kind == "moved":
            self._move(source or b"", path, said)
            return
        parent, name = self._parent(path)
        old = parent.get(name)
        if kind == "deleted":
            self._must(old is not None and not old.kids and old.entry.type == said.type, "deleted", path, old)
            parent.pop(name, None)
            return
        self._must((old is None) == (kind == "created"), kind, path, old)
        self._must(old is None or old.entry.type == said.type, "type", path, old, said)
        parent[name] = Node(self._known(old, said), old.kids if old is not None else {})

    def _move(self, source: bytes, path: bytes, said: Entry) -> None:
        old_parent, old_name = self._parent(source)
        node = old_parent.pop(old_name, None)
        parent, name = self._parent(path)
        if node is None:
            self._must(False, "moved from nowhere", source, path)
            node = Node(said, {})
        over = parent.get(name)
        self._must(over is None or not over.kids, "moved over a full directory", path)
        self._must(
            over is None or (over.entry.type == "dir") == (said.type == "dir"), "moved over", path, over
        )
        parent[name] = Node(self._known(node, said), node.kids)

    def _known(self, old: Node | None, said: Entry) -> Entry:
        return old.entry if old is not None and said.mode is None and old.entry.type == said.type else said

    def _parent(self, path: bytes) -> tuple[Kids, bytes]:
        *above, name = path.split(b"/")
        kids = self.top
        for part in above:
            node = kids.get(part)
            if node is None or node.entry.type != "dir":
                self._must(False, "no such directory", path)
                node = kids[part] = Node(Entry("dir"), {})
            kids = node.kids
        return kids, name

    def _notice(self, kind: str, data: Any) -> None:
        if kind == "started":
            self.resync = None  # closes what a crash left open
        elif kind == "resync_started":
            self._must(self.resync is None, "resync within a resync", data)
            self.resync = data["resync_id"]
        elif kind == "resync_completed":
            self._must(self.resync == data["resync_id"], "resync completed, not started", data)
            self.resync = None

    def _fresh(self, number: str, type: str) -> bool:
        epoch, digits = number.split("-")
        sequence = int(digits)
        if (epoch, sequence) <= self.at:
            self.repeats += 1
            return False
        if epoch != self.at[0]:
            self._must(sequence == 1 and ".stream.started." in type, "a new epoch begins with", number, type)
            self.top = {}
            self.resync = None
        else:
            self._must(sequence == self.at[1] + 1, "not dense", self.at, sequence)
        self.at = epoch, sequence
        return True

    def _must(self, condition: bool, *what: object) -> None:
        if self.strict and not condition:
            raise Unfoldable(*what)


def _raw(holder: dict[str, Any], key: str) -> bytes | None:
    if f"{key}_b64" in holder:
        return base64.b64decode(holder[f"{key}_b64"])
    text = holder.get(key)
    return None if text is None else text.encode()


def disk(root: bytes) -> dict[bytes, Entry]:
    """
    The tree below a directory, as lstat shows it; of any depth, through no symbolic link.

    The tree must not change meanwhile. Raises: OSError.
    """
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return dict(_walk(fd))
    finally:
        os.close(fd)


def _walk(top: int) -> Iterator[tuple[bytes, Entry]]:
    # One descriptor, moved down by name and up by "..": a stack of them would meet the limit of open files.
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    here, stack = os.dup(top), [_children(top)]
    path: list[bytes] = []
    try:
        while stack:
            if not stack[-1]:
                stack.pop()
                step = b".."
                if path:
                    path.pop()
            else:
                step, entry = stack[-1].pop()
                yield b"/".join((*path, step)), entry
                if entry.type != "dir":
                    continue
                path.append(step)
            if stack:
                here, old = os.open(step, flags, dir_fd=here), here
                os.close(old)
                if step != b"..":
                    stack.append(_children(here))
    finally:
        os.close(here)


def _children(fd: int) -> list[tuple[bytes, Entry]]:
    return [(os.fsencode(name), _lstat(fd, name)) for name in os.listdir(fd)]


def _lstat(fd: int, name: str) -> Entry:
    types = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo"}
    found = os.lstat(name, dir_fd=fd)
    type = types.get(stat.S_IFMT(found.st_mode), "socket" if stat.S_ISSOCK(found.st_mode) else "device")
    target = os.fsencode(os.readlink(name, dir_fd=fd)) if type == "symlink" else None
    return Entry(type, found.st_size, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, target)


def differences(replica: dict[bytes, Entry], disk: dict[bytes, Entry]) -> list[str]:
    """
    One line for every path where they differ.

    Sizes count for regular files only: those of directories change without events.
    """
    found = []
    for path in sorted(replica.keys() | disk.keys()):
        ours, real = replica.get(path), disk.get(path)
        if ours is None or real is None:
            found.append(f"{'missing' if ours is None else 'too much'}: {path!r} {ours or real}")
        elif (ours if ours.type == "file" else ours._replace(size=real.size)) != real:
            found.append(f"differs: {path!r} stream says {ours}, disk {real}")
    return found
