"""A disk whose power can be cut: what its file system has not written by then is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.namespaces import Mounts

_OUTER_BYTES = 400 << 20  # mkfs.xfs makes nothing smaller than 300 MiB
_INNER_BYTES = 64 << 20
_PROGRAMS = ("mkfs.ext4", "mkfs.xfs", "losetup", "nsenter")


class Disk:
    """
    An ext4 file system in an image, which lies on an XFS of its own; mounted in a private namespace.

    A cut is a reflink of the image: XFS makes it of one moment, with all that ext4 has given to its device by
    then, and with nothing of what still waits in the page cache of ext4, because no fsync has asked for it.
    ext4 is never frozen, synced or unmounted before a cut: each of these would write it all.

    Args:
        directory: an empty one, for the image of the XFS (sparse).
        mounts: the namespace.
    """

    def __init__(self, directory: Path, mounts: Mounts) -> None:
        self.mounts = mounts
        self.path = directory / "inner"
        self._xfs = directory / "outer"
        self._image = self._xfs / "disk.img"
        self._cuts = 0
        outer = directory / "outer.img"
        for path in (self.path, self._xfs):
            path.mkdir()
        _sparse(outer, _OUTER_BYTES)
        _made("mkfs.xfs", "-q", "-m", "reflink=1", str(outer))
        self._mount(outer, self._xfs)
        _sparse(mounts.at(self._image), _INNER_BYTES)
        # All of it is written now: else the kernel goes on writing inode tables behind our back.
        mounts.run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", self._image)
        self._mount(self._image, self.path)

    def cut(self) -> Path:
        """What would be on the disk, had the power gone now: the image, within the namespace."""
        self._cuts += 1
        image = self._xfs / f"cut-{self._cuts}.img"
        self.mounts.run("cp", "--reflink=always", self._image, image)
        return image

    @contextlib.contextmanager
    def opened(self, image: Path) -> Iterator[Path]:
        """A cut, mounted, as it is reached from here; ext4 replays its journal. It is removed afterwards."""
        place = image.with_suffix("")
        self.mounts.run("mkdir", place)
        self._mount(image, place)
        try:
            yield self.mounts.at(place)
        finally:
            self.mounts.run("umount", place)
            self.mounts.run("rm", image)
            self.mounts.run("rmdir", place)

    def fail(self) -> None:
        """The power goes, and comes back: every process that used the disk is dead already."""
        image = self.cut()
        self.mounts.run("umount", self.path)
        self.mounts.run("mv", image, self._image)
        self._mount(self._image, self.path)

    def close(self) -> None:
        """Unmount everything; the loop devices go with it."""
        for path in (self.path, self._xfs):
            self.mounts.run("umount", path)

    def _mount(self, image: Path, path: Path) -> None:
        self.mounts.run("mount", "-o", "loop", image, path)


def missing_programs() -> str:
    """What is not installed, and how to get it; empty where everything is."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    absent = [name for name in _PROGRAMS if shutil.which(name, path=path) is None]
    return f"no {', '.join(absent)}: apt-get install e2fsprogs xfsprogs util-linux" if absent else ""


def missing_devices() -> str:
    """Why no loop device is to be had here; empty where one is."""
    found = subprocess.run(["losetup", "--find"], capture_output=True, text=True, check=False)
    return f"no loop device is to be had: {found.stderr.strip()}" if found.returncode else ""


@pytest.fixture
def disk() -> Iterator[Disk]:
    """
    A disk of the test's own. Skips where none is to be had; but what can be installed is there in a run that
    has to prove everything.
    """
    if reason := missing_programs():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    if reason := missing_devices():
        pytest.skip(reason)
    above = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="inotify-bridge-power-", dir=above) as directory,
        Mounts() as mounts,
    ):
        made = Disk(Path(directory), mounts)
        yield made
        made.close()


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _made(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
