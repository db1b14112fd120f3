"""Limits of the kernel, met for real: the queue, the watches, permissions."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.namespaces import set_watches, with_watches, without_override
from tests.kernel.watching import Ground, Watching

QUEUE_LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")


def _lowered(exclusive: Callable[[int], None]) -> int:
    """The limit of the queue for what is started next: 256 where that may be set."""
    if os.access(QUEUE_LIMIT, os.W_OK):
        exclusive(256)
    return int(QUEUE_LIMIT.read_text())


@pytest.mark.exclusive
def test_queue_overflows(ground: Ground, exclusive: Callable[[int], None]) -> None:
    """When the kernel's queue overflows, one resync in brackets makes the stream what the disk shows."""
    tree = ground.watched
    for name in ("kept", "moved", "again", "gone"):
        (tree / name / "sub").mkdir(parents=True)
        (tree / name / "sub/f").write_text(name)
    limit = _lowered(exclusive)
    with Watching.watch(ground) as watching:
        with watching.working(lagging=True):
            for number in range(limit):
                (tree / f"kept/{number}").write_text("text")
            os.rename(tree / "moved", tree / "kept/elsewhere")
            (tree / "kept/elsewhere/sub/g").write_text("text")
            (tree / "again/sub/f").unlink()
            (tree / "again/sub").rmdir()
            (tree / "again/sub").mkdir()  # the same inode again, on ext4
            (tree / "again/sub/new").write_text("text")
            os.rename(tree / "gone", ground.outside / "gone")
            (tree / "gone").write_text("a file now")
        watching.wait_until(lambda stream: stream.resyncs()["overflow"] > 0, "the resync")
        (tree / "again/sub/later").write_text("text")
        (ground.outside / "gone/sub/f").write_text("changed where nobody looks")
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert stream.resyncs()["overflow"] == 1, "and the queue did overflow"
    assert stream.moves() <= {"kept/elsewhere from moved"}


def _made_again(directory: Path) -> bool:
    """Remove an empty directory and make it again. Returns whether it has the same inode number."""
    before = directory.stat().st_ino
    directory.rmdir()
    directory.mkdir()
    return directory.stat().st_ino == before


@pytest.mark.exclusive
def test_same_inode_again_inside_an_overflow(disk_ground: Ground, exclusive: Callable[[int], None]) -> None:
    """A directory with the number of the old one is a new one, also when no record told of the change."""
    tree = disk_ground.watched
    for number in range(20):
        (tree / f"d{number}").mkdir()
    limit = _lowered(exclusive)
    with Watching.watch(disk_ground) as watching:
        with watching.working(lagging=True):
            for number in range(limit):
                (tree / f"f{number}").write_text("text")
            same = [_made_again(tree / f"d{number}") for number in range(20)]
        if not any(same):
            pytest.skip("this file system does not use the numbers of inodes again at once")
        watching.wait_until(lambda stream: stream.resyncs()["overflow"] > 0, "the resync")
        for number in range(20):
            (tree / f"d{number}/later").write_text("text")
        stream = watching.finish()
    assert stream.resyncs()["overflow"] > 0
    assert stream.differences(tree) == []
    assert {f"d{number}/later" for number in range(20)} <= stream.paths("written")


@pytest.mark.exclusive
@pytest.mark.namespaces
def test_same_inode_again_and_no_watch_left(disk_ground: Ground, exclusive: Callable[[int], None]) -> None:
    """
    A new directory with the number of an old, watched one is not taken for watched when no watch is left.
    """
    tree = disk_ground.watched
    for number in range(20):
        (tree / f"d{number}").mkdir()
    limit = _lowered(exclusive)
    with Watching.run(disk_ground, with_watches(1000), poll_interval="300ms") as watching:
        with watching.working(lagging=True):
            for number in range(limit):
                (tree / f"f{number}").write_text("text")
            same = [_made_again(tree / f"d{number}") for number in range(20)]
            set_watches(watching.pid, 1)
        if not any(same):
            pytest.skip("this file system does not use the numbers of inodes again at once")
        watching.wait_for("coverage_degraded", 20)
        set_watches(watching.pid, 1000)
        watching.wait_for("coverage_restored", 20)
        polled = len(watching.seen().notices("coverage_degraded"))
        for number in range(20):
            (tree / f"d{number}/later").write_text("text")
        stream = watching.finish()
    assert stream.resyncs()["overflow"] > 0
    assert polled == 20, "what was restored was watched"
    assert stream.differences(tree) == []


@pytest.mark.exclusive
def test_queue_overflows_again_and_again(ground: Ground, exclusive: Callable[[int], None]) -> None:
    """Overflows while a resync runs or waits end in a stream that is what the disk shows."""
    tree = ground.watched
    limit = _lowered(exclusive)
    for number in range(7):
        (tree / f"d{number}").mkdir()
    with Watching.watch(ground) as watching:
        for turn in range(5):
            with watching.working(lagging=True):
                for number in range(limit):
                    (tree / f"d{number % 7}/{number}-{turn}").write_text("x" * turn)
                os.rename(tree / f"d{turn}", tree / "t")
                os.rename(tree / f"d{turn + 1}", tree / f"d{turn}")
                os.rename(tree / "t", tree / f"d{turn + 1}")
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert stream.resyncs()["overflow"] > 0


@pytest.mark.namespaces
def test_no_watch_left(disk_ground: Ground) -> None:
    """Directories for which no watch is left are announced and polled, until the limit is raised."""
    tree = disk_ground.watched
    names = [f"d{number}" for number in range(100)]
    for name in names:
        (tree / name).mkdir()
    with Watching.run(disk_ground, with_watches(20), poll_interval="300ms") as watching:
        degraded = watching.seen().notices("coverage_degraded")
        assert {data["error"] for data in degraded} == {"ENOSPC"}
        assert len(degraded) == 81, "the root and 19 directories are watched"
        for name in names:
            (tree / name / "f").write_text("text")
        wanted = {f"{name}/f" for name in names}
        watching.wait_until(lambda stream: stream.paths("written") >= wanted, "every file")
        assert watching.get("/livez")[0] == 200
        assert watching.get("/readyz")[0] == 200
        assert watching.get("/startupz")[0] == 200, "every directory is watched or polled"
        assert _metric(watching, "inotify_bridge_watches_uncovered") == 81
        set_watches(watching.pid, 1000)
        watching.wait_for("coverage_restored", 81)
        (tree / "d99/sub").mkdir()
        for name in names:
            (tree / name / "f").unlink()
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert {data["path"] for data in stream.notices("coverage_restored")} == {
        data["path"] for data in stream.notices("coverage_degraded")
    }


@pytest.mark.namespaces
def test_no_watch_left_for_new_directories(disk_ground: Ground, lagging: bool) -> None:
    """Directories made when no watch is left are announced within the same batch, polled, and followed."""
    tree = disk_ground.watched
    with Watching.run(disk_ground, with_watches(3), poll_interval="300ms") as watching:
        with watching.working(lagging):
            for number in range(10):
                (tree / f"d{number}/e").mkdir(parents=True)
                (tree / f"d{number}/e/f").write_text("text")
        watching.wait_until(lambda stream: len(stream.paths("written")) == 10, "every file")
        os.rename(tree / "d9", tree / "renamed")
        (tree / "renamed/e/g").write_text("text")
        # A poll may have come between the creation of a file and its write: the next one tells.
        watching.wait_until(
            lambda stream: not stream.differences(tree), "the stream to be what the disk shows"
        )
        stream = watching.finish()
    assert "renamed/e/g" in stream.paths("written")
    assert len(stream.notices("coverage_degraded")) >= 18


def test_directory_becomes_unreadable(ground: Ground) -> None:
    """What cannot be read is not gone: nothing is deleted, coverage is degraded, and restored later."""
    tree = ground.watched
    (tree / "d/e").mkdir(parents=True)
    (tree / "d/f").write_text("text")
    (tree / "d/e/g").write_text("text")
    prefix = without_override()
    settings = {"poll_interval": "300ms", "resync_interval": "300ms"}
    with Watching.run(ground, prefix, **settings) as watching:
        (tree / "d").chmod(0)
        try:
            watching.wait_for("coverage_degraded")
            audits = watching.seen().resyncs()["audit"]
            stream = watching.wait_until(
                lambda stream: stream.resyncs()["audit"] >= audits + 3, "three audits"
            )
            assert stream.paths("deleted") == set()
            assert watching.get("/readyz")[0] == 200
        finally:
            (tree / "d").chmod(0o755)
        restored = {
            data["path"] for data in watching.wait_for("coverage_restored").notices("coverage_degraded")
        }
        (tree / "d/e/new").write_text("text")
        watching.wait_until(lambda stream: "d/e/new" in stream.paths("written"), "the new file")
        stream = watching.finish()
    assert "d" in restored
    assert {data["error"] for data in stream.notices("coverage_degraded")} == {"EACCES"}
    assert stream.paths("deleted") == set()
    assert stream.differences(tree) == []


def test_unreadable_directory_at_the_start(ground: Ground) -> None:
    """A directory that may not be read is an entry whose contents are not known, until they are."""
    tree = ground.watched
    (tree / "d").mkdir()
    (tree / "d/f").write_text("text")
    prefix = without_override()
    (tree / "d").chmod(0)
    try:
        with Watching.run(ground, prefix, poll_interval="300ms") as watching:
            stream = watching.seen()
            assert set(stream.replay()) == {b"d"}
            assert [data["error"] for data in stream.notices("coverage_degraded")] == ["EACCES"]
            (tree / "d").chmod(0o755)
            watching.wait_for("coverage_restored")
            watching.wait_until(lambda stream: "d/f" in stream.paths("written"), "the file in it")
            (tree / "d/g").write_text("text")
            stream = watching.finish()
    finally:
        (tree / "d").chmod(0o755)
    assert stream.differences(tree) == []


def _metric(watching: Watching, name: str) -> float:
    code, body = watching.get("/metrics")
    assert code == 200
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (.*)$", body, re.MULTILINE))
