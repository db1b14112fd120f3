"""The notifier: its three steps, coalescing, moves, the loop, and its end."""

from __future__ import annotations

import logging
import select
import time
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from inotify_bridge import pyinotify
from tests.facade.recording import Recording

CREATE = pyinotify.IN_CREATE
MOVES = pyinotify.IN_MOVED_FROM | pyinotify.IN_MOVED_TO | pyinotify.IN_MOVE_SELF


def test_attributes() -> None:
    """A notifier has the attributes that programs read."""
    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager, print, 5, 6, 7)
    assert (notifier._read_freq, notifier._threshold, notifier._timeout) == (5, 6, 7)
    assert (notifier._fd, notifier._watch_manager) == (manager.get_fd(), manager)
    assert (notifier._default_proc_fun, notifier.proc_fun()) == (print, print)
    assert (notifier._eventq, notifier._coalesce) == (deque(), False)
    assert isinstance(notifier._sys_proc_fun, pyinotify._SysProcessEvent)
    assert hasattr(notifier._pollobj, "poll")
    notifier.stop()


def test_default_handler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a handler events are printed."""
    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager)
    manager.add_watch(str(tmp_path), CREATE)
    (tmp_path / "a").touch()
    notifier.read_events()
    notifier.process_events()
    notifier.stop()
    line = f"maskname=IN_CREATE name=a path={tmp_path} pathname={tmp_path}/a wd=1 >"
    assert capsys.readouterr().out == f"<Event dir=False mask=0x100 {line}\n"


def test_three_steps(tmp_path: Path) -> None:
    """Checking consumes nothing, reading only queues, and processing alone calls handlers."""
    with Recording() as recording:
        notifier = recording.notifier
        recording.manager.add_watch(str(tmp_path), CREATE)
        assert not notifier.check_events(timeout=0)
        for name in "ab":
            (tmp_path / name).touch()
        assert notifier.check_events(timeout=0)
        assert notifier.check_events()
        assert (len(notifier._eventq), recording.events) == (0, [])
        notifier.read_events()
        assert [type(raw) for raw in notifier._eventq] == [pyinotify._RawEvent] * 2
        assert not notifier.check_events(timeout=0.5)
        assert recording.events == []
        notifier.process_events()
        assert [event.name for event in recording.events] == ["a", "b"]


def test_the_descriptor_can_be_polled(tmp_path: Path) -> None:
    """The descriptor is readable as long as something waits, for whoever polls it."""
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), CREATE)
        fd = recording.manager.get_fd()
        assert select.select([fd], [], [], 0)[0] == []
        (tmp_path / "a").touch()
        recording.notifier.process_events()
        assert select.select([fd], [], [], 0)[0] == [fd]
        recording.notifier.read_events()
        assert select.select([fd], [], [], 0)[0] == []


def test_constructors_timeout() -> None:
    """The time that a check waits is the constructor's, unless it is given one."""
    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager, timeout=1)
    assert not notifier.check_events()
    assert not notifier.check_events(timeout=0)
    notifier.stop()


def test_nothing_to_read() -> None:
    """Reading where nothing waits returns at once."""
    with Recording() as recording:
        recording.notifier.read_events()
        assert not recording.notifier._eventq


def test_threshold(tmp_path: Path) -> None:
    """Nothing is read while fewer bytes wait than the threshold."""
    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager, threshold=64)
    manager.add_watch(str(tmp_path), CREATE)
    (tmp_path / "a").touch()
    notifier.read_events()
    assert len(notifier._eventq) == 0
    (tmp_path / "b").touch()
    notifier.read_events()
    assert len(notifier._eventq) == 2
    notifier.stop()


def test_failed_read() -> None:
    """A read that fails raises NotifierError."""
    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager)
    manager.close()
    with pytest.raises(pyinotify.NotifierError):
        notifier.read_events()


def test_events_appended_meanwhile(tmp_path: Path) -> None:
    """What a handler appends is processed in the same call, and an overridden append_event sees all."""
    appended: list[str] = []

    class Mine(pyinotify.Notifier):
        """Notes what is appended."""

        def append_event(self, event: Any) -> None:
            appended.append(event.name)
            super().append_event(event)

    seen: list[str] = []

    def handle(event: pyinotify.Event) -> None:
        seen.append(event.name)
        if event.name == "a":
            notifier.append_event(pyinotify._RawEvent(1, CREATE, 0, "made up"))

    manager = pyinotify.WatchManager()
    notifier = Mine(manager, handle)
    manager.add_watch(str(tmp_path), CREATE)
    (tmp_path / "a").touch()
    notifier.read_events()
    notifier.process_events()
    notifier.stop()
    assert appended == seen == ["a", "made up"]


def test_handlers_exception(tmp_path: Path) -> None:
    """What a handler raises comes out; its event is consumed, and the rest is there for the next call."""
    seen: list[str] = []

    def handle(event: pyinotify.Event) -> None:
        if event.name == "a":
            raise ValueError(event.name)
        seen.append(event.name)

    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager, handle)
    manager.add_watch(str(tmp_path), CREATE)
    for name in "abc":
        (tmp_path / name).touch()
    notifier.read_events()
    with pytest.raises(ValueError, match="a"):
        notifier.process_events()
    assert (seen, len(notifier._eventq)) == ([], 2)
    notifier.process_events()
    assert seen == ["b", "c"]
    notifier.stop()


def test_coalescing(tmp_path: Path) -> None:
    """While coalescing, what was read since the last processing is not queued again; the order stays."""
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), CREATE | pyinotify.IN_DELETE)
        recording.notifier.coalesce_events()

        def make(*names: str) -> list[tuple[str, str]]:
            for name in names:
                (tmp_path / name).touch()
                (tmp_path / name).unlink()
            return recording.told(tmp_path)

        once = [("IN_CREATE", "b"), ("IN_DELETE", "b"), ("IN_CREATE", "a"), ("IN_DELETE", "a")]
        assert make("b", "a", "b", "a") == once
        assert make("b") == once[:2]
        recording.notifier.coalesce_events(False)
        assert make("b", "b") == once[:2] * 2


def test_unlinked_file(tmp_path: Path) -> None:
    """A watched file that is unlinked tells so in three events, and its watch is gone."""
    (tmp_path / "f").touch()
    with Recording() as recording:
        recording.manager.add_watch(f"{tmp_path}/f", pyinotify.ALL_EVENTS)
        (tmp_path / "f").unlink()
        assert [name for name, _ in recording.told(tmp_path)] == ["IN_ATTRIB", "IN_DELETE_SELF", "IN_IGNORED"]
        assert recording.manager.watches == {}


def test_replaced_file(tmp_path: Path) -> None:
    """A file that is replaced by a rename ends its watch, and its handler may watch the new one."""
    target = tmp_path / "f"
    target.touch()
    names: list[str] = []

    class Mine(pyinotify.ProcessEvent):
        """Watches again what was ignored."""

        def process_IN_IGNORED(self, event: pyinotify.Event) -> None:
            manager.add_watch(event.pathname, pyinotify.IN_MODIFY | pyinotify.IN_DELETE_SELF, proc_fun=self)

        def process_default(self, event: pyinotify.Event) -> None:
            names.append(event.maskname)

    with Recording() as recording:
        manager = recording.manager
        manager.add_watch(str(target), pyinotify.IN_DELETE_SELF, proc_fun=Mine())
        (tmp_path / "new").touch()
        (tmp_path / "new").rename(target)
        recording.drain()
        target.write_text("x")
        recording.drain()
    assert names == ["IN_DELETE_SELF", "IN_MODIFY"]


def test_oneshot(tmp_path: Path) -> None:
    """IN_ONESHOT gives one event, then IN_IGNORED, and the watch is gone."""
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), CREATE | pyinotify.IN_ONESHOT)
        for name in "ab":
            (tmp_path / name).touch()
        assert recording.told(tmp_path) == [("IN_CREATE", "a"), ("IN_IGNORED", ".")]
        assert recording.manager.watches == {}


def test_unmount(tmp_path: Path) -> None:
    """What the kernel tells of an unmount has its names."""
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), CREATE)
        for mask in (pyinotify.IN_UNMOUNT | pyinotify.IN_ISDIR, pyinotify.IN_IGNORED):
            recording.notifier.append_event(pyinotify._RawEvent(1, mask, 0, ""))
        assert [name for name, _ in recording.told(tmp_path)] == ["IN_UNMOUNT|IN_ISDIR", "IN_IGNORED"]


def test_overflow_goes_to_the_default_handler(tmp_path: Path) -> None:
    """An overflow reaches the notifier's handler, whatever handlers watches have."""
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), CREATE, proc_fun=print)
        recording.notifier.append_event(pyinotify._RawEvent(-1, pyinotify.IN_Q_OVERFLOW, 0, ""))
        assert [event.maskname for event in recording.drain()] == ["IN_Q_OVERFLOW"]


def test_a_watch_that_is_removed_meanwhile(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A watch that another thread removes while its event is processed harms nothing."""

    class Vanishing(pyinotify.WatchManager):
        """Has each watch removed as soon as it was looked up."""

        def get_watch(self, wd: int) -> pyinotify.Watch | None:
            return self._wmd.pop(wd, None)

    names: list[str] = []
    manager = Vanishing()
    notifier = pyinotify.Notifier(manager, lambda event: names.append(event.maskname))
    masks = (
        CREATE | pyinotify.IN_ISDIR,
        pyinotify.IN_MOVED_FROM,
        pyinotify.IN_MOVED_TO,
        pyinotify.IN_IGNORED,
    )
    for mask in masks:
        wd = manager.add_watch(str(tmp_path), MOVES | CREATE)[str(tmp_path)]
        notifier.append_event(pyinotify._RawEvent(wd, mask, 1, "a"))
        notifier.process_events()
    notifier.stop()
    assert names == ["IN_CREATE|IN_ISDIR", "IN_MOVED_FROM", "IN_MOVED_TO", "IN_IGNORED"]
    assert caplog.records == []


def test_moved_directories(tmp_path: Path) -> None:
    """A directory that moves between watched ones keeps its watch and those below, under the new paths."""
    for path in ("a/d/e", "b", "a/de"):
        (tmp_path / path).mkdir(parents=True)
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), MOVES | CREATE, rec=True)
        (tmp_path / "a/d").rename(tmp_path / "b/x")
        events = recording.drain()
        assert [event.maskname for event in events] == [
            "IN_MOVED_FROM|IN_ISDIR",
            "IN_MOVED_TO|IN_ISDIR",
            "IN_MOVE_SELF",
        ]
        assert (events[2].path, events[2].dir) == (f"{tmp_path}/b/x", True)
        (tmp_path / "b/x/e/f").touch()
        assert recording.told(tmp_path) == [("IN_CREATE", "b/x/e/f")]
        paths = {watch.path for watch in recording.manager.watches.values()}
        assert f"{tmp_path}/a/de" in paths


def test_moved_out_of_sight(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A watched directory that moves to where nobody watches is logged, and its path marked once."""
    (tmp_path / "d").mkdir()
    with Recording() as recording:
        recording.manager.add_watch(f"{tmp_path}/d", MOVES | CREATE)
        (tmp_path / "d").rename(tmp_path / "x")
        events = recording.drain()
        (tmp_path / "x").rename(tmp_path / "y")
        (tmp_path / "y/f").touch()
        events += recording.drain()
    assert [event.path for event in events] == [f"{tmp_path}/d-unknown-path"] * 3
    assert events[2].pathname == f"{tmp_path}/d-unknown-path/f"
    message = caplog.records[0].getMessage()
    assert message.startswith(f"The pathname '{tmp_path}/d' of this watch <Watch ")
    assert message.endswith(f"put a watch on '{tmp_path}'.")


def test_another_directory_of_an_old_name(tmp_path: Path) -> None:
    """A directory in the place of one that was renamed is not taken for that when it moves out of sight."""
    (tmp_path / "in/a").mkdir(parents=True)
    with Recording() as recording:
        recording.manager.add_watch(f"{tmp_path}/in", MOVES | CREATE, rec=True, auto_add=True)
        (tmp_path / "in/a").rename(tmp_path / "in/b")
        (tmp_path / "in/a").mkdir()
        recording.drain()
        (tmp_path / "in/a").rename(tmp_path / "out")
        events = recording.drain()
    assert [event.path for event in events] == [f"{tmp_path}/in", f"{tmp_path}/in/a-unknown-path"]


def test_old_moves_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source is remembered for a minute."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), MOVES)
        for mask, seconds in ((pyinotify.IN_MOVED_FROM, 59.0), (pyinotify.IN_MOVED_TO, 61.0)) * 2:
            recording.notifier.append_event(pyinotify._RawEvent(1, mask, 7, "a"))
            recording.notifier.process_events()
            clock[0] += seconds
            recording.notifier.process_events()
        recording.notifier.append_event(pyinotify._RawEvent(1, pyinotify.IN_MOVED_TO, 7, "a"))
        recording.notifier.process_events()
    assert [hasattr(event, "src_pathname") for event in recording.events] == [False, True, False, True, False]


def test_debug_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG new watches and raw events are logged."""
    caplog.set_level(logging.DEBUG, "pyinotify")
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), CREATE)
        (tmp_path / "a").touch()
        recording.drain()
    assert "New <Watch " in caplog.text
    assert "<_RawEvent " in caplog.text
