"""Where the tests on the real kernel work, and how far the agent is behind meanwhile."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.watching import Ground


@pytest.fixture(params=["disk", "memory"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """
    Two directories, once on the disk of the temporary directory and once on /dev/shm.

    File systems differ in what is promised here: ext4 uses an inode's number again at once, tmpfs never does.
    """
    with on(request.param, tmp_path) as ground:
        yield ground
    _empty(tmp_path)


@pytest.fixture
def disk_ground(tmp_path: Path) -> Iterator[Ground]:
    """The same, on the disk of the temporary directory alone."""
    yield _made(tmp_path, tmp_path)
    _empty(tmp_path)


@pytest.fixture(params=["running", "lagging"])
def lagging(request: pytest.FixtureRequest) -> bool:
    """Whether the agent is stopped while the test works on the tree."""
    return bool(request.param == "lagging")


def _made(above: Path, scratch: Path) -> Ground:
    ground = Ground(above / "watched", above / "outside", scratch)
    ground.watched.mkdir()
    ground.outside.mkdir()
    return ground


@contextlib.contextmanager
def on(kind: str, scratch: Path) -> Iterator[Ground]:
    """A ground on the file system of `scratch` (``disk``), or on /dev/shm (``memory``)."""
    if kind == "disk":
        yield _made(scratch, scratch)
        return
    if not os.path.isdir("/dev/shm"):
        pytest.skip("there is no /dev/shm")
    directory = Path(tempfile.mkdtemp(prefix="inotify-bridge-", dir="/dev/shm"))
    try:
        yield _made(directory, scratch)
    finally:
        subprocess.run(["rm", "-rf", "--", os.fspath(directory)], check=True)


def _empty(directory: Path) -> None:
    """rm(1) removes trees of any depth, which shutil.rmtree does not."""
    subprocess.run(["rm", "-rf", "--", *(os.fspath(path) for path in directory.iterdir())], check=True)
