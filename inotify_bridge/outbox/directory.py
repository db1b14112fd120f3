"""The state directory: where it may be, made durably, and still there."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from inotify_bridge.durable import sync_directory
from inotify_bridge.errors import ConfigError
from inotify_bridge.mounted import file_system_type

# Locks of flock(2), and the memory that SQLite's connections share, hold within one machine only.
REMOTE: Final = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB",
    0x5346414F: "AFS",
    0x01021997: "9P",
}
_COMPANIONS: Final = ("", "-wal", "-shm")
_DO_OWNER: Final = "change its owner, or name another one"
_DO_READ_ONLY: Final = (
    "check the disk, the kernel log names a fault; mount it for writing, or name another one"
)

_log = logging.getLogger("inotify_bridge.store")


class Watched(NamedTuple):
    """A root of some group: a state directory in it would be watched while it is written."""

    path: Path
    recursive: bool


class Refused(NamedTuple):
    """What the system says of a directory that cannot be written, and what to do."""

    said: str
    do: str


def prepare(directory: Path, watched: Iterable[Watched] = ()) -> None:
    """
    Make the state directory where it is not there yet, with all above it, on disk when this returns.

    Raises:
        ConfigError: it cannot be made or written, stands in a watched root, or on a file system whose locks
            another machine does not see.
    """
    try:
        _make(directory.absolute())
    except OSError as error:
        raise ConfigError(
            f"state.dir {directory} cannot be made: {error.strerror}", "name a directory that can be written"
        ) from error
    refuse_watched(directory, watched)
    if kind := REMOTE.get(_magic(directory), ""):
        raise ConfigError(
            f"state.dir {directory} is on {kind}, where locks and commits cannot be relied on",
            "name a directory on a local file system",
        )
    if refused := not_writable(directory):
        raise ConfigError(f"state.dir {directory} cannot be written by this user: {refused.said}", refused.do)


def refuse_watched(directory: Path, watched: Iterable[Watched]) -> None:
    """Raises: ConfigError, the state directory stands in one of the roots."""
    for root in watched:
        if _holds(root, directory):
            raise ConfigError(
                f"state.dir {directory} stands in the watched directory {root.path}",
                "name one outside: the agent would watch itself write",
            )


def set_aside(database: Path) -> Path:
    """
    Give a database that cannot be used another name, with what belongs to it; nothing is deleted.

    Returns:
        Its name from now on.
    Raises: OSError.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = database.with_name(f"{database.name}.corrupt-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = database.with_name(f"{database.name}.corrupt-{stamp}-{number}")
    for companion in _COMPANIONS:
        present = Path(f"{database}{companion}")
        if present.exists():
            present.rename(f"{aside}{companion}")
    sync_directory(database.parent)
    _log.error("the state database %s is damaged: set aside as %s", database, aside.name)
    return aside


def _make(directory: Path) -> None:
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o750, exist_ok=True)
        sync_directory(path)
        sync_directory(path.parent)
    if not directory.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is no directory", os.fspath(directory))


def _holds(root: Watched, directory: Path) -> bool:
    """By identity, so that neither a link nor a bind mount hides it."""
    try:
        there = os.stat(root.path)
    except OSError:
        return directory.resolve().is_relative_to(root.path.resolve())
    real = directory.resolve()
    above = (real, *real.parents) if root.recursive else (real,)
    return any(os.path.samestat(os.stat(path), there) for path in above)


def _magic(directory: Path) -> int:
    try:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return file_system_type(fd)
    finally:
        os.close(fd)


def not_writable(directory: Path) -> Refused | None:
    """
    Why no file can be made there, and what to do; None where it can.

    Asked by trying: permissions alone do not tell of a file system that is mounted, or has become, read-only.
    """
    probe = directory / f".writable-{os.getpid()}"
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        probe.unlink()
    except OSError as error:
        if error.errno == errno.ENOSPC:  # a full disk is no reason to refuse: it may get room again
            return None
        return Refused(error.strerror or "", _DO_READ_ONLY if error.errno == errno.EROFS else _DO_OWNER)
    return None
