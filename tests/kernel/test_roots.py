"""Roots: directories, files, several of them, lost and found."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.fold import differences, disk
from tests.kernel.script import exchange
from tests.kernel.watching import Ground, Watching
from tests.waiting import eventually


def test_root_removed_and_made_again(ground: Ground, lagging: bool) -> None:
    """A root that is removed is lost; once one with contents stands there, the stream is the disk."""
    tree = ground.watched
    (tree / "d").mkdir()
    (tree / "d/old").write_text("old")
    with Watching.watch(ground) as watching:
        with watching.working(lagging):
            shutil.rmtree(tree)
            tree.mkdir()
            (tree / "d").mkdir()
            (tree / "d/new").write_text("new")
        watching.wait_until(
            lambda stream: not differences(stream.replay(), disk(bytes(tree))), "the new tree in the stream"
        )
        (tree / "d/later").write_text("later")
        stream = watching.finish()
    assert stream.differences(tree) == []


def test_root_renamed_away(ground: Ground) -> None:
    """A root whose path leads nowhere is lost: nothing is deleted, and nothing told of where it went."""
    tree = ground.watched
    (tree / "f").write_text("text")
    with Watching.watch(ground) as watching:
        os.rename(tree, ground.outside / "gone")
        watching.wait_for("root_lost")
        (ground.outside / "gone/g").write_text("text")
        stream = watching.finish()
    assert set(stream.replay()) == {b"f"}
    assert stream.notices("root_lost")[0]["error"] == "ENOENT"


def test_root_renamed_away_and_back(ground: Ground) -> None:
    """A root that comes back is compared with what was published: only what changed meanwhile is told."""
    tree = ground.watched
    (tree / "d").mkdir()
    (tree / "d/f").write_text("text")
    (tree / "g").write_text("text")
    with Watching.watch(ground) as watching:
        os.rename(tree, ground.outside / "gone")
        watching.wait_for("root_lost")
        (ground.outside / "gone/d/new").write_text("text")
        (ground.outside / "gone/g").unlink()
        os.rename(ground.outside / "gone", tree)
        watching.wait_for("root_restored")
        watching.wait_for("resync_completed", 2)
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert sorted(stream.after("resync_completed").told()) == [
        "file.created d/new",
        "file.deleted g",
        "file.written d/new",
    ]


def test_the_log_names_a_root_that_was_replaced(ground: Ground) -> None:
    """Where a root is another directory at once, the log says which."""
    (ground.watched / "f").write_text("text")
    (ground.outside / "other").mkdir()
    (ground.outside / "other/g").write_text("text")
    with Watching.watch(ground) as watching:
        exchange(bytes(ground.watched), bytes(ground.outside / "other"))
        watching.wait_for("root_restored")
        watching.finish()
    assert f"root lost (ESTALE): {ground.watched}: another" in watching.log


def test_empty_directory_in_place_of_a_root(ground: Ground) -> None:
    """An empty directory in place of a lost root publishes no deletions: a volume may not be mounted yet."""
    tree = ground.watched
    (tree / "f").write_text("text")
    with Watching.watch(ground) as watching:
        os.rename(tree, ground.outside / "gone")
        tree.mkdir()
        watching.wait_for("root_lost")
        (tree / "new").write_text("text")
        watching.wait_for("root_restored")
        watching.wait_for("resync_completed", 2)
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert stream.until("root_restored").paths("deleted") == set()


def test_root_missing_at_the_start(disk_ground: Ground) -> None:
    """`run` starts without its root: it is lost until it comes, and then told whole."""
    tree = disk_ground.watched
    tree.rmdir()
    with Watching.run(disk_ground) as watching:
        watching.wait_for("root_lost")
        tree.mkdir()
        (tree / "f").write_text("text")
        watching.wait_until(lambda stream: "file.written f" in stream.told(), "the file")
        stream = watching.finish()
    assert stream.differences(tree) == []


def test_file_as_a_root(ground: Ground, lagging: bool) -> None:
    """A root may be a file: written, replaced, removed and made again; its neighbours are no news."""
    file = ground.watched / "app.conf"
    file.write_text("one")
    root = Ground(file, ground.outside, ground.scratch)
    with Watching.watch(root) as watching:
        with watching.working(lagging):
            file.write_text("two!")
            (ground.watched / "neighbour").write_text("x")
            (ground.watched / "new").write_text("three!")
            os.rename(ground.watched / "new", file)
            file.unlink()
            file.write_text("four!!!")
        stream = watching.finish()
    found = disk(bytes(ground.watched))
    assert differences(stream.replay(), {b"app.conf": found[b"app.conf"]}) == []
    told = stream.after("resync_completed").told()
    assert {line.split(" ", 1)[1] for line in told} == {"app.conf"}
    assert told[0] == "file.written app.conf"
    assert told[-1] == "file.written app.conf"
    assert told.count("file.deleted app.conf") == 1


def test_several_roots(ground: Ground, lagging: bool) -> None:
    """Roots stand under their names in one stream, and a rename from one to another is a move."""
    for name in ("one", "two"):
        (ground.watched / name / "d").mkdir(parents=True)
        (ground.watched / name / "d/f").write_text(name)
    paths = [os.fspath(ground.watched / "one"), {"path": os.fspath(ground.watched / "two"), "as": "second"}]
    with Watching.run(ground, paths=paths) as watching:
        with watching.working(lagging):
            os.rename(ground.watched / "one/d", ground.watched / "two/e")
            (ground.watched / "two/e/g").write_text("new")
        stream = watching.finish()
    held = stream.replay()
    assert {path for path in held if path.startswith(b"one/")} == set()
    for name, directory in (("one", "one"), ("second", "two")):
        below = name.encode() + b"/"
        own = {path.removeprefix(below): entry for path, entry in held.items() if path.startswith(below)}
        assert differences(own, disk(bytes(ground.watched / directory))) == []
    assert stream.moves() == {"second/e from one/d"}


def test_no_recursive(ground: Ground, lagging: bool) -> None:
    """Without recursion a subdirectory is an entry, and what happens below it is nobody's business."""
    tree = ground.watched
    (tree / "d").mkdir()
    (tree / "d/f").write_text("text")
    with Watching.watch(ground, "--no-recursive") as watching:
        with watching.working(lagging):
            (tree / "d/g").write_text("text")
            (tree / "e").mkdir()
            (tree / "e/f").write_text("text")
            (tree / "h").write_text("text")
            os.rename(tree / "e", tree / "i")
        stream = watching.finish()
    wanted = {path: entry for path, entry in disk(bytes(tree)).items() if b"/" not in path}
    assert differences(stream.replay(), wanted) == []


def test_relative_symbolic_link_as_a_root(ground: Ground) -> None:
    """A root may be named by a symbolic link; where the link leads is watched."""
    (ground.watched / "real").mkdir()
    link = ground.watched / "link"
    link.symlink_to("real")
    with Watching.watch(Ground(link, ground.outside, ground.scratch)) as watching:
        (ground.watched / "real/f").write_text("text")
        stream = watching.finish()
    assert stream.differences(Path(os.path.realpath(link))) == []


def test_root_symbolic_link_turned_elsewhere(ground: Ground) -> None:
    """A root whose link is turned to another directory (a release, a ConfigMap) is lost and found there."""
    for name in ("v1", "v2"):
        (ground.outside / name).mkdir()
        (ground.outside / name / f"file-{name}").write_text(name)
    link = ground.watched / "current"
    link.symlink_to(ground.outside / "v1")
    with Watching.watch(Ground(link, ground.outside, ground.scratch)) as watching:
        (ground.watched / "next").symlink_to(ground.outside / "v2")
        os.rename(ground.watched / "next", link)
        watching.wait_for("root_restored")
        watching.wait_for("resync_completed", 2)
        stream = watching.finish()
    assert eventually(lambda: stream.differences(Path(os.path.realpath(link))) == [], what="the same")


def test_root_out_of_the_kernels_sight(ground: Ground) -> None:
    """A root on a file system that inotify does not see all changes of is polled: what comes is told."""
    with subprocess.Popen(["sh"], stdin=subprocess.PIPE) as other:
        assert other.stdin is not None
        opened = Path(f"/proc/{other.pid}/fd")
        with Watching.run(Ground(opened, ground.outside, ground.scratch), poll_interval="200ms") as watching:
            watching.wait_for("resync_completed")
            other.stdin.write(b"exec 7</dev/null\n")
            other.stdin.flush()
            watching.wait_until(lambda stream: "file.created 7" in stream.told(), "the new descriptor")
            stream = watching.finish()
        other.stdin.close()
    assert [data["error"] for data in stream.notices("coverage_degraded")] == ["ENOTSUP"]
    assert stream.notices("coverage_restored") == []
