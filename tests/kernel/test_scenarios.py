"""
What has misled other watchers: each a scenario, with the agent running and with the agent behind.

Everything ends in the same question: is the replay of the stream what the disk shows?
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inotify_bridge.capture import inotify
from inotify_bridge.capture.notifier import Notifier
from inotify_bridge.capture.renames import WAIT
from tests.kernel.embedded import Embedded
from tests.kernel.script import exchange, give_name
from tests.kernel.watching import ALL_KINDS, Ground, Watching
from tests.waiting import eventually


def _write(path: Path, text: str = "text") -> None:
    path.write_text(text)


def test_directory_takes_its_own_ancestors_name(ground: Ground, lagging: bool) -> None:
    """``mv Y Z; mv Z/d Y``: the moves told are the moves made, and the tree is right."""
    tree = ground.watched
    (tree / "Y/d/deeper").mkdir(parents=True)
    _write(tree / "Y/f")
    _write(tree / "Y/d/deeper/g")
    with Watching.watch(ground) as watching:
        with watching.working(lagging):
            os.rename(tree / "Y", tree / "Z")
            os.rename(tree / "Z/d", tree / "Y")
            _write(tree / "Y/deeper/h")
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert stream.moves() <= {"Z from Y", "Y from Z/d"}


def test_directory_made_again_with_the_same_inode(ground: Ground, lagging: bool) -> None:
    """A directory that is removed and made again is another one: what is written into it then is told."""
    tree = ground.watched
    (tree / "d").mkdir()
    _write(tree / "d/old")
    with Watching.watch(ground) as watching:
        with watching.working(lagging):
            for turn in range(5):
                for entry in list((tree / "d").iterdir()):
                    entry.unlink()
                (tree / "d").rmdir()
                (tree / "d").mkdir()
                _write(tree / f"d/new{turn}")
            _write(tree / "d/last")
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert stream.moves() == set()


def test_directory_moved_out_and_written_to_there(ground: Ground, lagging: bool) -> None:
    """Once a directory has left the tree, nothing that happens in it is published under its old path."""
    tree = ground.watched
    (tree / "d/e").mkdir(parents=True)
    _write(tree / "d/e/f")
    with Watching.watch(ground) as watching:
        with watching.working(lagging):
            os.rename(tree / "d", ground.outside / "d")
            _write(ground.outside / "d/e/f", "changed")
            _write(ground.outside / "d/e/new")
            (ground.outside / "d/more").mkdir()
        if not lagging:
            watching.wait_until(lambda stream: "directory.deleted d" in stream.told(), "the deletion")
            _write(ground.outside / "d/e/later")
            _write(tree / "mark")
        stream = watching.finish()
    assert stream.differences(tree) == []
    told = stream.after("resync_completed").told()
    assert told[:3] == ["file.deleted d/e/f", "directory.deleted d/e", "directory.deleted d"]
    assert [line for line in told[3:] if "mark" not in line] == []


def test_directory_moved_out_and_back(ground: Ground, lagging: bool) -> None:
    """A directory that leaves the tree, changes outside and comes back is what it is when it is back."""
    tree = ground.watched
    (tree / "d/e").mkdir(parents=True)
    _write(tree / "d/e/f")
    with Watching.watch(ground) as watching:
        with watching.working(lagging):
            os.rename(tree / "d", ground.outside / "d")
            _write(ground.outside / "d/e/f", "changed")
            _write(ground.outside / "d/e/new")
            os.rename(ground.outside / "d", tree / "back")
            _write(tree / "back/e/last")
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert stream.moves() <= {"back from d"}


def test_old_deletion_over_a_newer_directory(ground: Ground, lagging: bool) -> None:
    """The news that a directory was removed does no harm to a newer one of its name."""
    tree = ground.watched
    (tree / "d").mkdir()
    (ground.outside / "n").mkdir()
    _write(ground.outside / "n/f")
    with Watching.watch(ground) as watching:
        with watching.working(lagging):
            (tree / "d").rmdir()
            os.rename(ground.outside / "n", tree / "d")
            _write(tree / "d/g")
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert "directory.deleted d" not in stream.after("resync_completed").told()[1:]


def test_directory_made_filled_and_renamed_at_once(ground: Ground, lagging: bool) -> None:
    """A directory may have another name before anybody could look at the first: nothing in it is missed."""
    tree = ground.watched
    with Watching.watch(ground) as watching:
        with watching.working(lagging):
            for turn in range(30):
                (tree / "new/a/b").mkdir(parents=True)
                _write(tree / f"new/a/b/f{turn}")
                os.rename(tree / "new", tree / f"d{turn}")
                _write(tree / f"d{turn}/a/g")
        stream = watching.finish()
    assert stream.differences(tree) == []
    files = {f"d{turn}/a/{name}" for turn in range(30) for name in (f"b/f{turn}", "g")}
    told = {line.split()[1] for line in stream.told() if line.startswith(("file.written", "directory.moved"))}
    assert all(file in told or file.split("/")[0] in told for file in files)


def test_log_rotated_while_it_is_open(ground: Ground, lagging: bool) -> None:
    """A file that is written under one name and closed under another is told under the name it has then."""
    tree = ground.watched
    with Watching.watch(ground) as watching:
        with watching.working(lagging), (tree / "log").open("w") as log:
            log.write("one")
            log.flush()
            os.rename(tree / "log", tree / "log.1")
            _write(tree / "log", "new")
            log.write("two")
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert stream.paths("written") >= {"log", "log.1"}


def test_directories_chase_each_other(ground: Ground, lagging: bool) -> None:
    """Names that go round in a ring, again and again, end where the disk has them."""
    tree = ground.watched
    for name in "abc":
        (tree / name / "sub").mkdir(parents=True)
        _write(tree / name / f"sub/{name}")
    with Watching.watch(ground) as watching:
        with watching.working(lagging):
            for turn in range(20):
                os.rename(tree / "a", tree / "t")
                os.rename(tree / "b", tree / "a")
                os.rename(tree / "c", tree / "b")
                os.rename(tree / "t", tree / "c")
                _write(tree / f"a/sub/{turn}")
        stream = watching.finish()
    assert stream.differences(tree) == []
    # Whoever is behind may tell where a directory went in the end, leave out where it was between, and find
    # that what is in it went from one to another.
    rings = [(a, b) for a in "abct" for b in "abct" if a != b]
    assert stream.moves() <= {f"{a}{below} from {b}{below}" for a, b in rings for below in ("", "/sub")}


def test_file_and_directory_change_places(ground: Ground, lagging: bool) -> None:
    """RENAME_EXCHANGE of files, of directories, and of a file with a directory: the replay is the disk."""
    tree = ground.watched
    _write(tree / "f1", "one")
    _write(tree / "f2", "the other")
    for name in ("d1", "d2", "d3"):
        (tree / name).mkdir()
        _write(tree / name / f"in-{name}")
    _write(tree / "f3")
    with Watching.watch(ground) as watching:
        with watching.working(lagging):
            exchange(bytes(tree / "f1"), bytes(tree / "f2"))
            exchange(bytes(tree / "d1"), bytes(tree / "d2"))
            exchange(bytes(tree / "f3"), bytes(tree / "d3"))
            _write(tree / "d1/later")
            _write(tree / "f3/later")
        stream = watching.finish()
    assert stream.differences(tree) == []
    pairs = [("f1", "f2"), ("d1", "d2"), ("f3", "d3")]
    assert stream.moves() <= {f"{one} from {two}" for a, b in pairs for one, two in ((a, b), (b, a))}


def test_file_name_becomes_a_directory_and_back(ground: Ground, lagging: bool) -> None:
    """A name may be a file, a directory and a file again: deletions and creations, in that order."""
    tree = ground.watched
    _write(tree / "n")
    with Watching.watch(ground) as watching:
        with watching.working(lagging):
            for turn in range(5):
                (tree / "n").unlink()
                (tree / "n").mkdir()
                _write(tree / f"n/{turn}")
                (tree / f"n/{turn}").unlink()
                (tree / "n").rmdir()
                _write(tree / "n", "x" * turn)
            (tree / "n").unlink()
            (tree / "n").mkdir()
            _write(tree / "n/last")
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert stream.moves() == set()


def test_truncate_with_modified(ground: Ground, lagging: bool) -> None:
    """truncate(2) has no close: with `modified` it is told at once."""
    tree = ground.watched
    _write(tree / "f", "long text")
    with Watching.watch(ground, "--kinds", ALL_KINDS) as watching:
        with watching.working(lagging):
            os.truncate(tree / "f", 2)
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert stream.after("resync_completed").told() == ["file.modified f"]


def test_write_through_another_link_in_the_tree(ground: Ground, lagging: bool) -> None:
    """What is written through one name of a file is told for its other names in the tree too."""
    tree = ground.watched
    (tree / "d").mkdir()
    _write(tree / "d/one")
    os.link(tree / "d/one", tree / "two")
    with Watching.watch(ground) as watching:
        with watching.working(lagging):
            _write(tree / "d/one", "other text")
            os.chmod(tree / "two", 0o600)
        stream = watching.finish()
    assert stream.differences(tree) == []


def test_attributes_of_a_file_with_two_names(ground: Ground) -> None:
    """
    chmod and utime through one name are told once for each. Content that no close tells of is found by the
    resync for both, also where a chmod was told meanwhile.
    """
    tree = ground.watched
    _write(tree / "one", "x" * 100)
    os.link(tree / "one", tree / "two")
    both = [f"file.attributes_changed {name}" for name in ("one", "two")]

    def truncate_and_chmod() -> None:
        os.truncate(tree / "one", 10)
        os.chmod(tree / "two", 0o640)

    changes: list[Callable[[], None]] = [
        lambda: os.chmod(tree / "one", 0o600),
        lambda: os.utime(tree / "two", (10**9, 10**9)),
        truncate_and_chmod,
    ]

    with Embedded(ground) as agent:
        for change in changes:
            before = len(agent.seen().told())
            change()
            agent.settle()
            assert sorted(agent.seen().told()[before:]) == both
        before = len(agent.seen().told())
        found = agent.resync().told()[before:]
    assert sorted(found) == ["file.written one", "file.written two"]


def test_unnamed_file_written_and_changed_after_it_got_a_name(ground: Ground, lagging: bool) -> None:
    """A file of O_TMPFILE stays ``#inode`` in the kernel's records: it is followed all the same."""
    tree = ground.watched
    with Watching.watch(ground) as watching:
        with watching.working(lagging):
            fd = os.open(tree, os.O_WRONLY | os.O_TMPFILE, 0o644)
            os.write(fd, b"before")
            give_name(fd, bytes(tree / "f"))
            os.write(fd, b" and after")
            os.chmod(tree / "f", 0o600)
            os.close(fd)
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert stream.paths("written") == {"f"}


@pytest.mark.parametrize("into", ["public", "private"])
def test_exclusion_that_depends_on_the_path(ground: Ground, lagging: bool, into: str) -> None:
    """A directory that moves may carry files across a border that its path draws: they come or they go."""
    tree = ground.watched
    for name in ("public", "private"):
        (tree / name).mkdir()
    start = {"public": "private", "private": "public"}[into]
    (tree / start / "d").mkdir()
    _write(tree / start / "d/secret")
    _write(tree / start / "d/open")
    with Watching.watch(ground, "--exclude", "/private/**/secret") as watching:
        with watching.working(lagging):
            os.rename(tree / start / "d", tree / into / "d")
        stream = watching.finish()
    held = {path for path in stream.replay() if b"/d/" in path}
    wanted = {b"open", b"secret"} if into == "public" else {b"open"}
    assert held == {into.encode() + b"/d/" + name for name in wanted}


def test_names_of_every_byte(ground: Ground, lagging: bool) -> None:
    """Every byte that a name may hold comes back from the stream, whatever has the name."""
    tree = bytes(ground.watched)
    names = [b"x" + bytes([byte]) + b"y" for byte in range(1, 256) if byte != ord("/")]
    with Watching.watch(ground) as watching:
        with watching.working(lagging):
            for name in names:
                os.mkdir(tree + b"/" + name)
                os.symlink(name, tree + b"/" + name + b"/" + name)
                with open(tree + b"/f" + name, "wb"):
                    pass
                os.rename(tree + b"/f" + name, tree + b"/" + name + b"/m" + name)
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert len(stream.replay()) == 3 * len(names)


def test_a_second_half_that_waits_in_the_kernel(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename whose second half nobody has read yet is a move, and the recorder rests till it is read."""
    old, new = "o" * 255, "n" * 255
    _write(ground.watched / old)
    between, go_on = threading.Event(), threading.Event()

    def wait(notifier: Notifier) -> None:
        if notifier.reads and not between.is_set():
            between.set()
            assert go_on.wait(60.0)

    monkeypatch.setattr(inotify, "READ_SIZE", 16 + 256)  # a read gives one record
    monkeypatch.setattr(Notifier, "_gather", wait)
    with Embedded(ground) as agent:
        os.rename(ground.watched / old, ground.watched / new)
        assert between.wait(60.0)
        recorder, long_ago = agent.group.recorder, time.monotonic() + 4 * WAIT
        eventually(lambda: recorder.turned_at > long_ago, what="a turn in which it would be given up")
        assert recorder._timeout() > 0.0
        told = agent.seen().after("resync_completed").told()
        go_on.set()
        stream = agent.settle()
    assert told == []
    assert stream.after("resync_completed").told() == [f"file.moved {new} from {old}"]


@pytest.mark.parametrize(
    "name", [b"\xff\xfe", b"a\nb", b"\xe2\x98\x83", b" ", b"-rf", b"%41", b"\\", b"n" * 255]
)
def test_hostile_name_of_a_directory(ground: Ground, name: bytes) -> None:
    """A directory may have any name: what happens below it is told under that name, byte for byte."""
    tree = bytes(ground.watched)
    with Watching.watch(ground) as watching:
        os.makedirs(tree + b"/" + name + b"/" + name)
        os.rename(tree + b"/" + name, tree + b"/moved")
        os.mkdir(tree + b"/" + name)
        stream = watching.finish()
    assert stream.differences(tree) == []
    assert set(stream.replay()) == {b"moved", b"moved/" + name, name}
