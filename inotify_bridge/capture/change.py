"""What happened to a tree: the words between the capture and everything after it."""

from __future__ import annotations

import stat as _stat
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias

Origin: TypeAlias = Literal["kernel", "scan", "resync", "poll"]

Kind: TypeAlias = Literal["created", "written", "modified", "attributes_changed", "moved", "deleted", "ready"]

TYPE_NAMES: Final[dict[int, str]] = {
    _stat.S_IFREG: "file",
    _stat.S_IFDIR: "dir",
    _stat.S_IFLNK: "symlink",
    _stat.S_IFIFO: "fifo",
    _stat.S_IFSOCK: "socket",
    _stat.S_IFCHR: "char_device",
    _stat.S_IFBLK: "block_device",
}
"""S_IFMT part of a mode to `data.file.type`."""


class Stat(NamedTuple):
    """
    The fields of one lstat(2) that are published and compared.

    Args:
        mode: st_mode, with the type bits.
        size: bytes.
        uid, gid: owner.
        device, inode: identity within one life of the process.
        links: st_nlink.
        mtime, ctime: nanoseconds since the Unix epoch.
        target: of a symbolic link, raw bytes.
    """

    mode: int
    size: int
    uid: int
    gid: int
    device: int
    inode: int
    links: int
    mtime: int
    ctime: int
    target: bytes | None = None


class Change:
    """
    One change of the tree.

    Filled in by the reconciler until its batch is taken, and not changed afterwards.

    Args:
        kind: what happened.
        path: raw bytes, relative to the group's root (below its name where the root has one).
        type: S_IFMT value of the entry.
        origin: how it is known.
        time: wall clock, Unix nanoseconds: at the notifier's read for ``kernel``, else at the lstat.
        source: for ``moved`` the path before.
        stat: the entry as lstat saw it, or None where the path was already gone.
    """

    __slots__ = ("kind", "origin", "path", "source", "stat", "time", "type")

    def __init__(
        self,
        kind: Kind,
        path: bytes,
        type: int,
        origin: Origin,
        time: int,
        source: bytes | None = None,
        stat: Stat | None = None,
    ) -> None:
        self.kind = kind
        self.path = path
        self.type = type
        self.origin = origin
        self.time = time
        self.source = source
        self.stat = stat

    def __repr__(self) -> str:
        source = f" from {self.source!r}" if self.source is not None else ""
        return f"<{self.kind} {TYPE_NAMES.get(self.type, '?')} {self.path!r}{source} ({self.origin})>"


class Notice:
    """
    Something the stream says about itself: an event ``stream.<kind>``.

    Args:
        kind: ``resync_started``, ``resync_completed``, ``coverage_degraded``, ``coverage_restored``,
            ``root_lost``, ``root_restored`` (the agent adds ``started``, ``stopped``, ``heartbeat``,
            ``probe``, ``event_parked``).
        time: wall clock, Unix nanoseconds.
        path: raw bytes of the place it is about, relative like `Change.path` (b"" is a whole root without
            a name), or None.
        data: more members of the event's ``data``, JSON values.
    """

    __slots__ = ("data", "kind", "path", "time")

    def __init__(
        self, kind: str, time: int, path: bytes | None = None, data: Mapping[str, Any] | None = None
    ):
        self.kind = kind
        self.time = time
        self.path = path
        self.data: Mapping[str, Any] = data or {}

    def __repr__(self) -> str:
        return f"<stream.{self.kind} {self.path!r} {dict(self.data)}>"


Item: TypeAlias = Change | Notice
