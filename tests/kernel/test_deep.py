"""A tree 3,000 levels deep: longer than any path that the kernel takes at once."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.kernel.watching import Ground, Watching

LEVELS = 3_000
SELDOM = 0.5
"""Seconds between two looks at what takes long to look at."""

pytestmark = pytest.mark.timeout(600)


def _dig(top: Path, levels: int) -> int:
    """Make a chain of directories ``d/d/…`` below `top`. Returns a descriptor of the last."""
    here = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here), here
        os.close(above)
    return here


def _file(directory: int, name: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=directory)
    os.write(fd, b"deep")
    os.close(fd)


def test_deep_tree_found_at_the_start(disk_ground: Ground, lagging: bool) -> None:
    """It is in the snapshot; a file at the bottom, a rename near the top and its removal are told."""
    tree = disk_ground.watched
    bottom = _dig(tree, LEVELS)
    with Watching.watch(disk_ground) as watching:
        with watching.working(lagging):
            _file(bottom, "f")
            os.rename(tree / "d/d/d", tree / "moved")
            _file(bottom, "g")
        os.close(bottom)
        deep = "moved" + "/d" * (LEVELS - 3)
        watching.wait_until(lambda stream: f"file.written {deep}/g" in stream.told(), "the file", SELDOM)
        stream = watching.wait_until(
            lambda stream: not stream.differences(disk_ground.watched), "what the disk shows", SELDOM
        )
        assert stream.moves() == {"moved from d/d/d"}
        with watching.working(lagging):
            subprocess.run(["rm", "-rf", os.fspath(tree / "moved")], check=True)
        watching.wait_until(lambda stream: "directory.deleted moved" in stream.told(), "the removal", SELDOM)
        stream = watching.finish()
    assert set(stream.replay()) == {b"d", b"d/d"}


def test_deep_tree_made_while_watching(disk_ground: Ground, lagging: bool) -> None:
    """A deep chain made at once, and filled at its bottom, is found to its end."""
    with Watching.watch(disk_ground) as watching:
        with watching.working(lagging):
            bottom = _dig(disk_ground.watched, LEVELS)
            _file(bottom, "f")
            os.close(bottom)
        # `watch` gives up the rest some time after it is told to end: that is not what is asked here.
        last = f"file.written {'d/' * LEVELS}f"
        watching.wait_until(lambda stream: last in stream.told(), "the file at the bottom", SELDOM)
        stream = watching.finish()
    assert len(stream.replay()) == LEVELS + 1
    assert stream.differences(disk_ground.watched) == []
