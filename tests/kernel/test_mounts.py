"""Mounts at, over and below a root: the kernel tells nothing of them in a watch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fold import differences, disk
from tests.kernel.namespaces import Mounts
from tests.kernel.stream import Stream
from tests.kernel.watching import Ground, Watching
from tests.waiting import eventually

pytestmark = pytest.mark.namespaces


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    with Mounts() as mounts:
        yield mounts


def _converged(watching: Watching, mounts: Mounts, ground: Ground) -> Stream:
    def same(stream: Stream) -> bool:
        return not differences(stream.replay(), disk(bytes(mounts.at(ground.watched))))

    return watching.wait_until(same, "the stream to be what the disk shows")


def test_mount_over_a_directory_and_its_unmount(ground: Ground, lagging: bool, mounts: Mounts) -> None:
    """What is mounted over a directory takes its place in the stream, until it is unmounted."""
    (ground.watched / "d/e").mkdir(parents=True)
    (ground.watched / "d/e/hidden").write_text("below")
    place = mounts.at(ground.watched)
    with Watching.run(ground, mounts.prefix, poll_interval="500ms") as watching:
        with watching.working(lagging):
            mounts.tmpfs(ground.watched / "d")
            (place / "d/new").write_text("above")
        _converged(watching, mounts, ground)
        (place / "d/more").write_text("above")
        _converged(watching, mounts, ground)
        with watching.working(lagging):
            eventually(lambda: mounts.succeeds("umount", ground.watched / "d"), what="the unmount")
        _converged(watching, mounts, ground)
        (place / "d/e/last").write_text("below")
        stream = _converged(watching, mounts, ground)
        watching.finish()
    assert stream.moves() == set()


def test_bind_mount_beside(ground: Ground, lagging: bool, mounts: Mounts) -> None:
    """A second mount of a watched directory is no move: both places hold it, the second by polling."""
    (ground.watched / "a/sub").mkdir(parents=True)
    (ground.watched / "a/f").write_text("text")
    (ground.watched / "b").mkdir()
    place = mounts.at(ground.watched)
    with Watching.run(ground, mounts.prefix, poll_interval="500ms") as watching:
        with watching.working(lagging):
            mounts.run("mount", "--bind", ground.watched / "a", ground.watched / "b")
        _converged(watching, mounts, ground)
        (place / "a/g").write_text("text")
        (place / "b/sub/h").write_text("text")
        stream = _converged(watching, mounts, ground)
        assert {data["path"] for data in stream.notices("coverage_degraded")} >= {"b"}
        with watching.working(lagging):
            eventually(lambda: mounts.succeeds("umount", ground.watched / "b"), what="the unmount")
        _converged(watching, mounts, ground)
        (place / "a/last").write_text("text")
        stream = _converged(watching, mounts, ground)
        watching.finish()
    assert stream.moves() == set()


def test_bind_mount_of_the_root_into_itself(ground: Ground, lagging: bool, mounts: Mounts) -> None:
    """A root mounted below itself is announced and not repeated: no loop, no false move."""
    (ground.watched / "d").mkdir()
    (ground.watched / "d/f").write_text("text")
    (ground.watched / "loop").mkdir()
    place = mounts.at(ground.watched)
    with Watching.run(ground, mounts.prefix, poll_interval="500ms") as watching:
        with watching.working(lagging):
            mounts.run("mount", "--bind", ground.watched, ground.watched / "loop")
        watching.wait_for("coverage_degraded")
        (place / "loop/d/g").write_text("text")
        (place / "d/h").write_text("text")
        watching.wait_until(lambda stream: "file.written d/h" in stream.told(), "the second file")
        with watching.working(lagging):
            eventually(lambda: mounts.succeeds("umount", ground.watched / "loop"), what="the unmount")
        stream = _converged(watching, mounts, ground)
        watching.finish()
    assert stream.notices("coverage_degraded")[0]["error"] == "ELOOP"
    assert [line for line in stream.told() if " loop/" in line] == []
    assert stream.moves() == set()
    assert "file.written d/g" in stream.told()


def test_root_unmounted(disk_ground: Ground, mounts: Mounts) -> None:
    """A root that is unmounted is lost, not empty; another one mounted there is told as it is."""
    ground = disk_ground
    place = mounts.at(ground.watched)
    mounts.tmpfs(ground.watched)
    (place / "d").mkdir()
    (place / "d/old").write_text("old")
    with Watching.run(ground, mounts.prefix) as watching:
        eventually(lambda: mounts.succeeds("umount", ground.watched), what="the unmount")
        lost = watching.wait_for("root_lost")
        assert lost.paths("deleted") == set()
        assert watching.get("/livez")[0] == 200
        assert watching.get("/readyz")[0] == 200
        mounts.tmpfs(ground.watched)
        (place / "d").mkdir()
        (place / "d/new").write_text("new")
        assert watching.wait_for("root_restored").until("root_restored").paths("deleted") == set()
        stream = _converged(watching, mounts, ground)
        (place / "d/later").write_text("later")
        _converged(watching, mounts, ground)
        stream = watching.finish()
    assert stream.resyncs()["root"] == 1
    assert stream.moves() == set()


def test_root_mounted_over(disk_ground: Ground, mounts: Mounts) -> None:
    """A mount over the root itself gives no record at all; it is found, and so is its end."""
    ground = disk_ground
    place = mounts.at(ground.watched)
    (ground.watched / "below").write_text("below")
    with Watching.run(ground, mounts.prefix) as watching:
        mounts.tmpfs(ground.watched)
        watching.wait_for("root_lost")
        (place / "above").write_text("above")
        _converged(watching, mounts, ground)
        eventually(lambda: mounts.succeeds("umount", ground.watched), what="the unmount")
        _converged(watching, mounts, ground)
        stream = watching.finish()
    assert set(stream.replay()) == {b"below"}
    assert len(stream.notices("root_lost")) == 2
