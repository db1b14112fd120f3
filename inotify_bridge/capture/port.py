"""
The port: all that the reconciler asks of disk and kernel.

`filesystem.py` is the real one, the simulation of the tests the other. Every method may raise OSError with
the errno of the system call it stands for; only ENOENT and ENOTDIR mean that something is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from inotify_bridge.capture.change import Stat


class Identity(NamedTuple):
    """(st_dev, st_ino) of a directory: meaningful within one life of the process."""

    device: int
    inode: int


class Volume(NamedTuple):
    """
    Identity of a directory that outlives the process and the boot, where `Identity` does not.

    Args:
        file_system: of its file system (statvfs(3) f_fsid, hexadecimal); empty where it has none that lasts.
        inode: its number there.
    """

    file_system: str
    inode: int


class Handle(Protocol):
    """An open directory. Holding one pins its inode and its mount: hold it for one batch only."""

    @property
    def identity(self) -> Identity:
        """As fstat(2) saw it when it was opened."""

    def close(self) -> None:
        """Idempotent."""


class FileSystem(Protocol):
    """
    Disk and kernel as one watch group sees them. Used by the recorder's thread only.

    Paths are raw bytes. A handle given to a method was made by the same port.
    """

    def open_root(self, path: bytes) -> Handle:
        """Open a root by its absolute path (symbolic links in it are followed, it is the operator's word).

        Raises: OSError, ENOTDIR where it is no directory.
        """

    def open_below(self, handle: Handle, path: bytes) -> Handle:
        """Open a directory below `handle`, never leaving it and following no symbolic link at all
        (openat2(2) RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, in steps below PATH_MAX).

        Args:
            path: relative, one or more components.
        Raises: OSError; ENOENT or ENOTDIR or ELOOP where the path does not lead to a directory.
        """

    def lstat(self, handle: Handle, name: bytes) -> Stat:
        """lstat(2) of one name, with the target of a symbolic link."""

    def names(self, handle: Handle) -> Iterator[bytes]:
        """
        The names in the directory, in the order of the disk, without ``.`` and ``..``.

        May be read while the directory changes: a name that stood there all the time is given exactly once.
        """

    def add_watch(self, handle: Handle, mask: int) -> int:
        """
        inotify_add_watch(2) on the very directory.

        The same inode gives the same number as long as its watch lives; a number is never used again.

        Raises: OSError; ENOSPC at the limit of watches, EACCES without read permission, ENOMEM.
        """

    def remove_watch(self, wd: int) -> None:
        """inotify_rm_watch(2). A watch that is gone already is no error; IN_IGNORED follows."""

    def blind(self, handle: Handle) -> str:
        """Name of the file system where inotify does not see every change (NFS, FUSE …), or empty."""

    def volume(self, handle: Handle) -> Volume:
        """What a directory is told by after a restart."""

    def monotonic(self) -> float:
        """Seconds; the clock of the notifier's reads."""

    def wall(self) -> int:
        """Unix time in nanoseconds."""
