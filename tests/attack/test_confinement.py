"""Nothing outside the root is opened or watched, whatever is put in the place of a directory."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from tests.kernel.watching import Ground, Watching

ROUNDS = 300


def _watched_inodes(pid: int) -> set[int]:
    """Inodes that the process watches: inotify lines of /proc/PID/fdinfo, proc(5)."""
    found: set[int] = set()
    for file in Path(f"/proc/{pid}/fdinfo").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found |= {int(number, 16) for number in re.findall(r"inotify wd:\w+ ino:(\w+)", file.read_text())}
    return found


def _inodes(top: Path) -> Iterator[int]:
    yield top.stat().st_ino
    for above, directories, _ in os.walk(top):
        for name in directories:
            yield os.lstat(os.path.join(above, name)).st_ino


def _swap(tree: Path, outside: Path, round: int) -> None:
    """A directory is made, replaced by a link to one outside with the same insides, and put back or left."""
    os.makedirs(tree / "d/sub")
    (tree / "d/sub/mine").write_bytes(b"x")
    os.rename(tree / "d", tree / "away")
    os.symlink(outside, tree / "d")
    if round % 2:
        os.rename(tree / "away/sub", tree / "sub")
        os.symlink(outside / "sub", tree / "away/sub")
        os.unlink(tree / "away/sub")
        os.rename(tree / "sub", tree / "away/sub")
    os.unlink(tree / "d")
    os.rename(tree / "away", tree / "d")
    os.unlink(tree / "d/sub/mine")
    os.removedirs(tree / "d/sub")


def test_directories_swapped_with_links_to_the_outside(disk_ground: Ground, lagging: bool) -> None:
    """The stream names nothing of it, no watch is outside, and the replay is the disk."""
    tree, outside = disk_ground.watched, disk_ground.outside
    (outside / "sub").mkdir()
    (outside / "SECRET").write_bytes(b"s")
    (outside / "sub/SECRET").write_bytes(b"s")
    (tree / "kept").mkdir()
    with Watching.watch(disk_ground) as watching:
        with watching.working(lagging):
            for round in range(ROUNDS):
                _swap(tree, outside, round)
            os.symlink(outside, tree / "link")
            os.symlink(outside / "sub", tree / "kept/link")
        watching.wait_until(lambda stream: not stream.differences(tree), "the stream to be what disk shows")
        watched = _watched_inodes(watching.pid)
        assert (tree / "kept").stat().st_ino in watched
        assert not watched & set(_inodes(outside))
        stream = watching.finish()
    assert not any("SECRET" in line for line in stream.told())
    assert stream.replay()[b"link"].type == "symlink"


def test_pipes_are_not_opened(disk_ground: Ground) -> None:
    """A pipe in the place of a directory or a file is told of, and nobody reads it: it never blocked."""
    tree = disk_ground.watched
    with Watching.watch(disk_ground) as watching:
        for round in range(ROUNDS):
            os.mkdir(tree / "p")
            os.rmdir(tree / "p")
            os.mkfifo(tree / "p")
            with contextlib.suppress(OSError):  # ENXIO: nobody has it open for reading
                os.close(os.open(tree / "p", os.O_WRONLY | os.O_NONBLOCK))
                raise AssertionError(f"the pipe is open in round {round}")
            if round < ROUNDS - 1:
                os.unlink(tree / "p")
        stream = watching.finish()
    assert stat.S_ISFIFO((tree / "p").stat().st_mode)
    assert not stream.differences(tree)
