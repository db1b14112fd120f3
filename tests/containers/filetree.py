"""What an image holds, file by file: two builds of the same sources must not differ in anything."""

from __future__ import annotations

import hashlib
import tarfile
from typing import IO, NamedTuple

# What the engine puts into a container when it makes one.
_OF_THE_ENGINE = (
    "dev",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
    "proc",
    "sys",
    ".dockerenv",
)
OURS = ("opt/inotify-bridge", "var/lib/inotify-bridge")


class Entry(NamedTuple):
    """One file: all that the tree holds of it, its time only where the project sets it."""

    path: str
    kind: bytes
    mode: int
    owner: int
    group: int
    modified: int
    content: str


def entries(tree: IO[bytes]) -> list[Entry]:
    """The files of a tar stream, by path."""
    with tarfile.open(fileobj=tree, mode="r|") as tar:
        found = [_entry(tar, member) for member in tar if not _below(member.name, _OF_THE_ENGINE)]
    return sorted(found)


def digest(found: list[Entry]) -> str:
    """One number for a tree."""
    return hashlib.sha256(repr(found).encode()).hexdigest()


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    file = tar.extractfile(member) if member.isreg() else None
    content = hashlib.sha256(file.read()).hexdigest() if file else member.linkname
    modified = int(member.mtime) if _below(member.name, OURS) else 0
    return Entry(member.name, member.type, member.mode, member.uid, member.gid, modified, content)


def _below(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)
