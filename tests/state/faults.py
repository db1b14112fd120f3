"""Disks that fail for real: a file system that is full, and one whose writes do not reach the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.namespaces import Mounts


class SmallDisk:
    """
    A tmpfs of a few megabytes, in a private mount namespace.

    Args:
        path: an empty directory.
    """

    def __init__(self, mounts: Mounts, path: Path, megabytes: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        mounts.run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", path)
        self._mounts = mounts
        self._path = path

    def fill(self) -> None:
        """Take all the room that is left."""
        self._mounts.succeeds(
            "dd", "if=/dev/zero", f"of={self._path}/filler", "bs=4096", "oflag=append", "conv=notrunc"
        )

    def free(self) -> None:
        """Give it back."""
        self._mounts.run("rm", "-f", self._path / "filler")


class FailingDisk:
    """
    A file system on a sparse image, whose own disk is full or not: where it is, writes are taken and fsync
    fails, as with a disk that has gone bad.

    Args:
        directory: an empty directory.
    """

    def __init__(self, mounts: Mounts, directory: Path) -> None:
        self._small = SmallDisk(mounts, directory / "under", 24)
        image, self.path = directory / "under" / "image", directory / "mounted"
        self.path.mkdir()
        mounts.run("truncate", "--size=64M", image)
        # Without a journal: a journal that cannot be written makes the whole file system read-only for good.
        mounts.run("mkfs.ext4", "-q", "-O", "^has_journal", image)
        if not mounts.succeeds("mount", "-o", "loop", image, self.path):
            pytest.skip("no loop device is to be had here")

    def fail(self) -> None:
        """Every write that needs a new block of the disk fails at its fsync."""
        self._small.fill()

    def mend(self) -> None:
        """Writes succeed again."""
        self._small.free()
