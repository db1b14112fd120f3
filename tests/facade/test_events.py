"""Events: which attributes they have, and how they are written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inotify_bridge import pyinotify
from tests.facade.recording import Recording


def test_attributes_of_a_child(tmp_path: Path) -> None:
    """An event about an entry of a watched directory has its name, and absolute and given paths."""
    with Recording() as recording:
        recording.manager.add_watch(f"{tmp_path}/", pyinotify.IN_CREATE)
        (tmp_path / "a").touch()
        (tmp_path / "d").mkdir()
        file, directory = recording.drain()
    assert isinstance(file, pyinotify.Event)
    assert vars(file) == {
        "wd": 1,
        "mask": 0x100,
        "maskname": "IN_CREATE",
        "path": str(tmp_path),
        "name": "a",
        "pathname": f"{tmp_path}/a",
        "dir": False,
    }
    assert (directory.mask, directory.maskname, directory.dir) == (0x40000100, "IN_CREATE|IN_ISDIR", True)


def test_attributes_of_the_watched_item(tmp_path: Path) -> None:
    """An event about the watched item itself has an empty name, and `dir` says what it was when added."""
    file, directory = tmp_path / "f", tmp_path / "d"
    file.touch()
    directory.mkdir()
    with Recording() as recording:
        recording.manager.add_watch([str(file), str(directory)], pyinotify.IN_DELETE_SELF)
        file.unlink()
        directory.rmdir()
        events = recording.drain()
    assert [(event.maskname, event.name, event.path, event.pathname, event.dir) for event in events] == [
        ("IN_DELETE_SELF", "", str(file), str(file), False),
        ("IN_IGNORED", "", str(file), str(file), False),
        ("IN_DELETE_SELF", "", str(directory), str(directory), True),
        ("IN_IGNORED", "", str(directory), str(directory), False),
    ]


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that was given relative stays so in `path`, normalised, while `pathname` is absolute."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    with Recording() as recording:
        recording.manager.add_watch("./d/../d", pyinotify.IN_CREATE)
        (tmp_path / "d/a").touch()
        (event,) = recording.drain()
    assert (event.path, event.name, event.pathname) == ("d", "a", f"{tmp_path}/d/a")


def test_cookie_and_source_of_moves(tmp_path: Path) -> None:
    """Moves have a cookie, and the destination has the source's path if that was watched."""
    (tmp_path / "in").mkdir()
    (tmp_path / "outside").touch()
    with Recording() as recording:
        recording.manager.add_watch(f"{tmp_path}/in", pyinotify.ALL_EVENTS)
        (tmp_path / "outside").rename(tmp_path / "in/a")
        (tmp_path / "in/a").rename(tmp_path / "in/b")
        (tmp_path / "in/b").rename(tmp_path / "outside")
        came, source, destination, went = recording.drain()
    assert [event.maskname for event in (came, source, destination, went)] == [
        "IN_MOVED_TO",
        "IN_MOVED_FROM",
        "IN_MOVED_TO",
        "IN_MOVED_FROM",
    ]
    assert not hasattr(came, "src_pathname")
    assert source.cookie == destination.cookie != came.cookie
    assert destination.src_pathname == f"{tmp_path}/in/a"


def test_overflow_has_two_attributes() -> None:
    """The event of an overflow has a mask and its name, and nothing else."""
    with Recording() as recording:
        recording.notifier.append_event(pyinotify._RawEvent(-1, pyinotify.IN_Q_OVERFLOW, 0, ""))
        (event,) = recording.drain()
    assert vars(event) == {"mask": 0x4000, "maskname": "IN_Q_OVERFLOW"}


def test_text_of_an_event() -> None:
    """An event is written with its public attributes in the order of their names."""
    event = pyinotify.Event({"wd": 1, "mask": 0x100, "path": "/p", "name": "a", "dir": False})
    assert (
        repr(event)
        == str(event)
        == "<Event dir=False mask=0x100 maskname=IN_CREATE name=a path=/p pathname=/p/a wd=1 >"
    )
    event.name = ""  # type: ignore[attr-defined, unused-ignore]
    event._hidden = 5  # type: ignore[attr-defined]
    assert str(event) == "<Event dir=False mask=0x100 maskname=IN_CREATE name='' path=/p pathname=/p/a wd=1 >"


def test_event_of_a_dict() -> None:
    """An event made by hand takes its attributes from a dict, and has a pathname only if it can have one."""
    assert pyinotify.Event({"mask": 1, "path": "/p/../q", "name": ""}).pathname == "/q"
    assert pyinotify.Event({"mask": 1, "path": "/", "name": "a"}).pathname == "/a"
    assert pyinotify.Event({"mask": 1, "path": "/p", "name": ".."}).pathname == "/"
    assert pyinotify.Event({"mask": 1, "path": "/p", "name": "../x/a"}).pathname == "/x/a"
    assert not hasattr(pyinotify.Event({"mask": 1, "path": "/p"}), "pathname")
    with pytest.raises(KeyError):
        pyinotify.Event({"mask": 3})


def test_raw_event() -> None:
    """A raw event loses the padding of its name, and keeps its text once that was asked for."""
    raw = pyinotify._RawEvent(1, 0x100, 0, "a\0\0\0")
    assert (raw.wd, raw.mask, raw.cookie, raw.name) == (1, 0x100, 0, "a")
    assert str(raw) == "<_RawEvent cookie=0 mask=0x100 name=a wd=1 >"
    raw.name = "b"
    assert str(raw) == "<_RawEvent cookie=0 mask=0x100 name=a wd=1 >"


def test_raw_events_of_a_program(tmp_path: Path) -> None:
    """A raw event that a program appends is processed like one of the kernel, whatever its name."""
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), pyinotify.IN_DELETE)
        for name in ("a", ".", "../x"):
            recording.notifier.append_event(pyinotify._RawEvent(1, pyinotify.IN_CREATE, 0, name))
        events = recording.drain()
    assert [event.pathname for event in events] == [
        f"{tmp_path}/a",
        str(tmp_path),
        f"{tmp_path.parent}/x",
    ]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """Any name of a file or directory is told, watched and walked, and can be turned back into its bytes."""
    top = os.fsencode(tmp_path) + b"/\xffd"
    os.mkdir(top)
    with Recording() as recording:
        added = recording.manager.add_watch(str(tmp_path), pyinotify.IN_CREATE, rec=True, auto_add=True)
        os.makedirs(top + b"/\xfee")
        recording.drain()
        with open(top + b"/\xfee/f\x80", "wb"):
            pass
        (event,) = recording.drain()
        assert recording.manager.get_wd(os.fsdecode(top)) == added[os.fsdecode(top)]
    assert os.fsencode(event.pathname) == top + b"/\xfee/f\x80"
    assert os.fsencode(event.name) == b"f\x80"


def test_kernel_order(tmp_path: Path) -> None:
    """Events come in the order of the kernel, none merged and none made up."""
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), pyinotify.ALL_EVENTS)
        for _ in range(3):
            (tmp_path / "a").write_text("x")
            (tmp_path / "a").unlink()
        told = recording.told(tmp_path)
    once = ["IN_CREATE", "IN_OPEN", "IN_MODIFY", "IN_CLOSE_WRITE", "IN_DELETE"]
    assert told == [(name, "a") for name in once * 3]
