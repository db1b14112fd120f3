"""Nothing outside the root is opened or watched, whatever is put in the place of a directory."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import random
import re
import shutil
import stat
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.stream import Event
from tests.kernel.watching import Ground, Watching
from tests.waiting import eventually

ROUNDS = 300
SWAPS = 100_000
BURST = 200
SECONDS = 180.0

_CALLS = "open,openat,openat2,inotify_add_watch"
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_libc = ctypes.CDLL(None, use_errno=True)


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


class Swapper(threading.Thread):
    """
    Swaps ``d`` and the link ``l`` to the outside, and writes below the directory, wherever it is.

    Args:
        tree: holds both.
        enough: ends it, once it has swapped as often as promised.
    """

    def __init__(self, tree: Path, enough: threading.Event) -> None:
        super().__init__(name="swapper")
        self.swaps = 0
        self._enough = enough
        self._top = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
        self._below = os.open(tree / "d/sub", os.O_RDONLY | os.O_DIRECTORY)

    def run(self) -> None:
        """In bursts: between them the agent goes to the directory, to look."""
        chance = random.Random(1)
        for number in itertools.count():
            if number % BURST == 0:
                if number >= SWAPS and self._enough.is_set():
                    return
                for file in range(20):
                    os.close(os.open(f"f{file}", os.O_WRONLY | os.O_CREAT, dir_fd=self._below))
                os.mkdir(f"n{number}", dir_fd=self._below)
                time.sleep(chance.uniform(0.0, 0.02))
            if _libc.renameat2(self._top, b"d", self._top, b"l", _EXCHANGE) < 0:
                return
            self.swaps += 1

    def close(self) -> None:
        """Wait for its end."""
        self.join()
        os.close(self._top)
        os.close(self._below)


def _strace(trace: Path) -> list[str]:
    """A command that has another traced into a file."""
    strace = shutil.which("strace")
    if strace is None:
        if os.environ.get("CI"):
            pytest.fail("strace is not installed")
        pytest.skip("strace is not installed")
    # -D: strace is the child, and what it traces has the process number and the signals of the test's.
    options = ["-D", "-f", "--seccomp-bpf", "-qq", "-y", "-e", f"trace={_CALLS}", "-e", "signal=none"]
    return [strace, *options, "-o", os.fspath(trace)]


def _traced(trace: Path, root: Path, outside: Path) -> Counter[str]:
    """
    What the calls were, of which strace(1) has written the descriptors with their paths.

    Fails where one opened something below `outside`, or watched anything but a descriptor or the root.
    """
    counts: Counter[str] = Counter()
    for line in trace.read_text(errors="surrogateescape").splitlines():
        result = re.search(r"\) = (-1 (\w+)|\d+(<.*>)?)", line)
        if result is None:
            continue
        assert os.fspath(outside) not in (result[3] or ""), line
        if "inotify_add_watch(" in line:
            assert re.search(r', "/proc/self/fd/\d+", ', line), line
            counts["watched"] += result[2] is None
        elif os.fspath(root) in line:
            counts[result[2] or "opened"] += 1
    return counts


def _links_met(trace: Path, root: Path, outside: Path) -> int:
    """How often it was a link where a directory had been."""
    counts = _traced(trace, root, outside)
    return counts["ELOOP"] + counts["ENOTDIR"]


def _last(event: Event) -> bool:
    return bool(event["data"].get("file", {}).get("path") == "last")


@pytest.mark.timeout(2 * SECONDS + 120)
def test_a_hundred_thousand_swaps_under_strace(disk_ground: Ground) -> None:
    """A thread swaps a directory and a link to the outside: no call opens or watches anything there."""
    tree, outside, trace = disk_ground.watched, disk_ground.outside, disk_ground.scratch / "trace"
    for directory in (tree / "d", outside):
        (directory / "sub").mkdir(parents=True)
        (directory / "sub/f0").write_bytes(b"x")
    (outside / "SECRET").write_bytes(b"x")
    os.symlink(outside, tree / "l")
    with Watching.watch(disk_ground, prefix=_strace(trace)) as watching:
        met = threading.Event()
        swapper = Swapper(tree, met)
        swapper.start()
        try:
            eventually(
                lambda: _links_met(trace, tree, outside), within=SECONDS, poll=0.5, what="it met a link"
            )
        finally:
            met.set()
            swapper.close()
        (tree / "last").mkdir()
        eventually(
            lambda: any(map(_last, watching.seen().events)),
            within=SECONDS,
            what="the end of the swaps",
            poll=0.5,
        )
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert swapper.swaps >= SWAPS
    counts = _traced(trace, tree, outside)
    assert counts["watched"] > 2
    assert counts["opened"] > 100
    assert not any("SECRET" in line for line in stream.told())


def test_devices_are_not_opened(disk_ground: Ground) -> None:
    """Devices and pipes, in the place of directories too, are told of with their type; no call opens them."""
    tree, trace = disk_ground.watched, disk_ground.scratch / "trace"
    kinds = {"char_device": stat.S_IFCHR, "block_device": stat.S_IFBLK, "fifo": stat.S_IFIFO}
    (tree / "watched-too").mkdir()
    with Watching.watch(disk_ground, prefix=_strace(trace)) as watching:
        for name, kind in kinds.items():
            for round in range(20):
                os.mkdir(tree / name)
                os.rmdir(tree / name)
                try:
                    os.mknod(tree / name, kind | 0o600, os.makedev(1, 5))  # of both kinds: zeros, or memory
                except PermissionError:
                    pytest.skip("only root may make devices")
                if round < 19:
                    os.unlink(tree / name)
        stream = watching.finish()
    there = {path.decode(): entry.type for path, entry in stream.replay().items()}
    assert there == {"watched-too": "dir", **{name: name for name in kinds}}
    opens = [line for line in trace.read_text().splitlines() if os.fspath(tree) in line]
    assert any("watched-too" in line for line in opens)
    for line in opens:
        assert "O_DIRECTORY" in line or "inotify_add_watch(" in line or "resumed" in line, line
