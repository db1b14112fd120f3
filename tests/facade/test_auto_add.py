"""New directories: watched by themselves, and what is told of what was in them before."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from inotify_bridge import pyinotify
from tests.facade.recording import Recording

CREATE = pyinotify.IN_CREATE


def test_fast_trees(tmp_path: Path) -> None:
    """A tree that is made at once is told level by level, each directory and file once, and watched."""
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), pyinotify.IN_DELETE, auto_add=True)
        (tmp_path / "a/b/c").mkdir(parents=True)
        (tmp_path / "a/b/f").touch()
        told = recording.told(tmp_path)
        assert told[:2] == [("IN_CREATE|IN_ISDIR", "a"), ("IN_CREATE|IN_ISDIR", "a/b")]
        assert sorted(told[2:]) == [("IN_CREATE", "a/b/f"), ("IN_CREATE|IN_ISDIR", "a/b/c")]
        (tmp_path / "a/b/f").unlink()
        assert recording.told(tmp_path) == [("IN_DELETE", "a/b/f")]


def test_inheritance(tmp_path: Path) -> None:
    """A new directory gets mask, handler, filter and flag of its parent, by a call that a subclass sees."""
    calls: list[str] = []

    class Mine(pyinotify.WatchManager):
        """Notes its calls."""

        def add_watch(self, path: Any, mask: int, *args: Any, **options: Any) -> dict[str, int]:
            calls.append(path)
            return super().add_watch(path, mask, *args, **options)

    manager, seen = Mine(), list[pyinotify.Event]()
    notifier = pyinotify.Notifier(manager)
    manager.add_watch(str(tmp_path), pyinotify.IN_OPEN, proc_fun=seen.append, auto_add=True)
    (tmp_path / "d").mkdir()
    notifier.read_events()
    notifier.process_events()
    first, second = manager.watches[1], manager.watches[2]
    for name in ("mask", "proc_fun", "auto_add", "exclude_filter"):
        assert getattr(first, name) == getattr(second, name)
    assert second.path == f"{tmp_path}/d"
    assert calls == [str(tmp_path), f"{tmp_path}/d"]
    notifier.stop()


def test_without_auto_add(tmp_path: Path) -> None:
    """Without the flag a new directory is told and not watched."""
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), CREATE)
        (tmp_path / "d/e").mkdir(parents=True)
        assert recording.told(tmp_path) == [("IN_CREATE|IN_ISDIR", "d")]
        assert list(recording.manager.watches) == [1]


def test_excluded_directories(tmp_path: Path) -> None:
    """A new directory that the filter excludes is told and not watched."""
    with Recording(exclude_filter=lambda path: path.endswith("/no")) as recording:
        recording.manager.add_watch(str(tmp_path), CREATE, auto_add=True)
        (tmp_path / "no/x").mkdir(parents=True)
        assert recording.told(tmp_path) == [("IN_CREATE|IN_ISDIR", "no")]


def test_vanished_directories(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A directory that is gone when its creation is told is logged, and told."""
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), CREATE, auto_add=True)
        (tmp_path / "d").mkdir()
        (tmp_path / "d").rmdir()
        assert recording.told(tmp_path) == [("IN_CREATE|IN_ISDIR", "d")]
    assert "cannot watch" in caplog.text


def test_other_kinds(tmp_path: Path) -> None:
    """Files in a new directory are told, and links to files; fifos and dangling links are not."""
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), CREATE, auto_add=True)
        new = tmp_path / "d"
        new.mkdir()
        (new / "f").touch()
        (new / "link").symlink_to("f")
        (new / "dangling").symlink_to("nowhere")
        os.mkfifo(new / "fifo")
        assert sorted(recording.told(tmp_path)) == [
            ("IN_CREATE", "d/f"),
            ("IN_CREATE", "d/link"),
            ("IN_CREATE|IN_ISDIR", "d"),
        ]


@pytest.mark.parametrize("report_all", [False, True])
def test_link_to_an_ancestor(tmp_path: Path, report_all: bool) -> None:
    """A link to a directory is told as the kernel would tell it, and not followed into a circle."""
    with Recording(report_all=report_all) as recording:
        recording.manager.add_watch(str(tmp_path), CREATE, auto_add=True)
        (tmp_path / "d").mkdir()
        (tmp_path / "d/up").symlink_to("..")
        assert recording.told(tmp_path) == [("IN_CREATE|IN_ISDIR", "d"), ("IN_CREATE", "d/up")]
        assert recording.manager.get_path(1) == str(tmp_path)


def moved_in(tmp_path: Path, recording: Recording) -> list[tuple[str, str]]:
    """What is told when a tree comes from outside, and then a file in its lowest directory."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    (outside / "d/e").mkdir(parents=True)
    (outside / "d/f").touch()
    (outside / "d/e/g").touch()
    inside.mkdir()
    recording.manager.add_watch(str(inside), CREATE | pyinotify.IN_MOVED_TO, auto_add=True)
    (outside / "d").rename(inside / "d")
    told = recording.told(inside)
    (inside / "d/e/new").touch()
    return told + recording.told(inside)


def test_moved_in_trees(tmp_path: Path) -> None:
    """A tree that is moved in is watched to its bottom, and its contents are not told."""
    with Recording() as recording:
        assert moved_in(tmp_path, recording) == [
            ("IN_MOVED_TO|IN_ISDIR", "d"),
            ("IN_CREATE", "d/e/new"),
        ]


def test_report_all_of_moved_in_trees(tmp_path: Path) -> None:
    """Where all is to be reported, the contents of a tree that is moved in are told once each."""
    with Recording(report_all=True) as recording:
        told = moved_in(tmp_path, recording)
    assert (told[0], told[-1]) == (("IN_MOVED_TO|IN_ISDIR", "d"), ("IN_CREATE", "d/e/new"))
    assert sorted(told[1:-1]) == [
        ("IN_CREATE", "d/e/g"),
        ("IN_CREATE", "d/f"),
        ("IN_CREATE|IN_ISDIR", "d/e"),
    ]


def test_report_all_of_other_kinds(tmp_path: Path) -> None:
    """Where all is to be reported, entries of every type are."""
    with Recording(report_all=True) as recording:
        recording.manager.add_watch(str(tmp_path), CREATE, auto_add=True)
        (tmp_path / "d").mkdir()
        (tmp_path / "d/dangling").symlink_to("nowhere")
        os.mkfifo(tmp_path / "d/fifo")
        assert sorted(recording.told(tmp_path)) == [
            ("IN_CREATE", "d/dangling"),
            ("IN_CREATE", "d/fifo"),
            ("IN_CREATE|IN_ISDIR", "d"),
        ]


def test_report_all_of_a_renamed_directory(tmp_path: Path) -> None:
    """A directory that was renamed before it could be watched is watched under its new name, and told."""
    with Recording(report_all=True) as recording:
        mask = CREATE | pyinotify.IN_MOVED_FROM | pyinotify.IN_MOVED_TO
        recording.manager.add_watch(str(tmp_path), mask, auto_add=True)
        (tmp_path / "a").mkdir()
        (tmp_path / "a/f").touch()
        (tmp_path / "a").rename(tmp_path / "b")
        assert recording.told(tmp_path) == [
            ("IN_CREATE|IN_ISDIR", "a"),
            ("IN_MOVED_FROM|IN_ISDIR", "a"),
            ("IN_MOVED_TO|IN_ISDIR", "b"),
            ("IN_CREATE", "b/f"),
        ]


class MeanwhileManager(pyinotify.WatchManager):
    """Lets a test act between the watch on a new directory and the look into it."""

    def add_watch(self, path: Any, mask: int, *args: Any, **options: Any) -> dict[str, int]:
        """Add the watch, then make a file and a directory with a file in it."""
        added = super().add_watch(path, mask, *args, **options)
        if path.endswith("/d"):
            (Path(path) / "f").touch()
            (Path(path) / "e").mkdir()
            (Path(path) / "e/g").touch()
        return added


@pytest.mark.parametrize(("report_all", "times"), [(False, 2), (True, 1)])
def test_told_twice(tmp_path: Path, report_all: bool, times: int) -> None:
    """What is made between the watch and the look is told twice; where all is to be reported, once."""
    recording = Recording()
    recording.manager = MeanwhileManager(report_all=report_all)
    recording.notifier = pyinotify.Notifier(recording.manager, recording.events.append)
    with recording:
        recording.manager.add_watch(str(tmp_path), CREATE | pyinotify.IN_DELETE, auto_add=True)
        (tmp_path / "d").mkdir()
        told = recording.told(tmp_path)
        assert told.count(("IN_CREATE", "d/f")) == told.count(("IN_CREATE|IN_ISDIR", "d/e")) == times
        assert told.count(("IN_CREATE|IN_ISDIR", "d")) == 1
        assert ("IN_CREATE", "d/e/g") in told
        (tmp_path / "d/f").unlink()
        (tmp_path / "d/f").touch()
        assert recording.told(tmp_path) == [("IN_DELETE", "d/f"), ("IN_CREATE", "d/f")]


def test_report_all_does_not_hide_what_is_new(tmp_path: Path) -> None:
    """A file that was told by the look, and is removed and made again at once, is told again."""
    with Recording(report_all=True) as recording:
        recording.manager.add_watch(str(tmp_path), CREATE | pyinotify.IN_DELETE, auto_add=True)
        (tmp_path / "d").mkdir()
        (tmp_path / "d/f").touch()
        recording.notifier.read_events()
        recording.notifier.process_events()
        (tmp_path / "d/f").unlink()
        (tmp_path / "d/f").touch()
        assert recording.told(tmp_path) == [("IN_DELETE", "d/f"), ("IN_CREATE", "d/f")]


def test_report_all_below_a_renamed_directory(tmp_path: Path) -> None:
    """A new directory is watched and told though one above it was renamed before it could be watched."""
    (tmp_path / "old").mkdir()
    with Recording(report_all=True) as recording:
        recording.manager.add_watch(str(tmp_path), pyinotify.ALL_EVENTS, rec=True, auto_add=True)
        (tmp_path / "old/d").mkdir()
        (tmp_path / "old/d/f").touch()
        (tmp_path / "old").rename(tmp_path / "new")
        told = recording.told(tmp_path)
        assert told.index(("IN_CREATE|IN_ISDIR", "old/d")) < told.index(("IN_CREATE", "new/d/f"))
        (tmp_path / "new/d/g").touch()
        assert ("IN_CREATE", "new/d/g") in recording.told(tmp_path)


def test_report_all_of_what_comes_back(tmp_path: Path) -> None:
    """A tree that is moved out is told no more, and when it comes back its contents are told again."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    (inside / "d/e").mkdir(parents=True)
    mask = CREATE | pyinotify.IN_MOVED_FROM | pyinotify.IN_MOVED_TO | pyinotify.IN_MOVE_SELF
    with Recording(report_all=True) as recording:
        recording.manager.add_watch(str(inside), mask, rec=True, auto_add=True)
        (inside / "d").rename(outside / "d")
        assert [name for name, _ in recording.told(inside)] == ["IN_MOVED_FROM|IN_ISDIR", "IN_MOVE_SELF"]
        (outside / "d/e/f").touch()
        assert recording.told(inside) == []
        (outside / "d").rename(inside / "d")
        assert recording.told(inside) == [
            ("IN_MOVED_TO|IN_ISDIR", "d"),
            ("IN_CREATE|IN_ISDIR", "d/e"),
            ("IN_CREATE", "d/e/f"),
        ]
