"""The notifier's own loop: its rounds, what it reads ahead, and its end."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from inotify_bridge import pyinotify
from inotify_bridge.pyinotify import _notifier
from tests.waiting import eventually

CREATE = pyinotify.IN_CREATE


def noted(numbers: list[int], number: int) -> bool:
    """Append, in an expression."""
    numbers.append(number)
    return True


def test_loop(tmp_path: Path) -> None:
    """The loop calls back before any event, then after each batch, ends by True alone, and closes."""
    seen: list[str] = []
    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager, lambda event: seen.append(event.name))
    manager.add_watch(str(tmp_path), CREATE)
    rounds: list[list[str]] = []

    def callback(of: pyinotify.Notifier) -> object:
        assert of is notifier
        rounds.append(list(seen))
        (tmp_path / f"{len(rounds)}").touch()
        return True if len(rounds) == 3 else 1

    notifier.loop(callback=callback)
    assert rounds == [[], ["1"], ["1", "2"]]
    assert notifier._fd is None


def test_loop_with_a_timeout() -> None:
    """With a timeout the loop calls back though nothing happens."""
    notifier = pyinotify.Notifier(pyinotify.WatchManager(), timeout=1)
    rounds: list[int] = []
    notifier.loop(callback=lambda of: noted(rounds, 1) and len(rounds) == 4)
    assert len(rounds) == 4


def test_interrupted_loop() -> None:
    """KeyboardInterrupt ends the loop quietly, and everything is closed."""
    notifier = pyinotify.Notifier(pyinotify.WatchManager())

    def interrupt(of: pyinotify.Notifier) -> None:
        raise KeyboardInterrupt

    notifier.loop(callback=interrupt)
    assert notifier._fd is None


def test_exit_from_a_callback() -> None:
    """A callback may stop the notifier and exit."""
    notifier = pyinotify.Notifier(pyinotify.WatchManager())

    def leave(of: pyinotify.Notifier) -> None:
        of.stop()
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        notifier.loop(callback=leave)
    assert notifier._fd is None


def test_read_freq(tmp_path: Path) -> None:
    """With a read frequency, what comes after the first event is in one batch with it."""
    batches: list[int] = []
    seen: list[str] = []
    manager = pyinotify.WatchManager()

    class Mine(pyinotify.Notifier):
        """Lets more happen while the loop sleeps."""

        def _sleep(self, ref_time: float) -> None:
            (tmp_path / "b").touch()
            super()._sleep(ref_time)

    notifier = Mine(manager, lambda event: seen.append(event.name), read_freq=0.01)
    manager.add_watch(str(tmp_path), CREATE)
    (tmp_path / "a").touch()
    notifier.loop(callback=lambda of: noted(batches, len(seen)) and len(batches) == 2)
    assert batches == [0, 2]


def test_loop_reads_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop empties a kernel queue that fills while handlers run, and keeps the order."""
    monkeypatch.setattr(_notifier, "READ_AHEAD_BYTES_PER_EVENT", 0)
    monkeypatch.setattr(_notifier, "EVENTS_PER_LOOK", 1)
    seen: list[str] = []
    ahead: list[int] = []
    batches: list[int] = []

    def handle(event: pyinotify.Event) -> None:
        seen.append(event.name)
        ahead.append(len(notifier._ahead))
        if len(seen) < 6:
            (tmp_path / str(len(seen))).touch()

    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager, handle)
    manager.add_watch(str(tmp_path), CREATE)
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    notifier.loop(callback=lambda of: noted(batches, len(seen)) and len(seen) == 8)
    assert seen == ["a", "b", "c", "1", "2", "3", "4", "5"]
    assert max(ahead) > 1
    assert len(batches) > 3


def test_what_was_read_ahead_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the loop has read ahead when a handler raises is queued, and comes by the next processing."""
    monkeypatch.setattr(_notifier, "READ_AHEAD_BYTES_PER_EVENT", 0)
    monkeypatch.setattr(_notifier, "EVENTS_PER_LOOK", 1)
    seen: list[str] = []

    def handle(event: pyinotify.Event) -> None:
        seen.append(event.name)
        if event.name == "a":
            (tmp_path / "later").touch()
        if event.name == "b":
            raise ValueError(event.name)

    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager, handle)
    manager.add_watch(str(tmp_path), CREATE)
    for name in "abc":
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="b"):
        notifier.loop()
    assert not notifier.check_events(timeout=0)
    notifier.process_events()
    assert seen == ["a", "b", "c", "later"]
    notifier.stop()


def test_a_subclass_that_reads_gets_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a subclass reads in a way of its own, the loop reads nothing behind its back."""
    monkeypatch.setattr(_notifier, "READ_AHEAD_BYTES_PER_EVENT", 0)
    monkeypatch.setattr(_notifier, "EVENTS_PER_LOOK", 1)

    class Mine(pyinotify.Notifier):
        """Overrides the reading."""

        def read_events(self) -> None:
            super().read_events()

    def handle(event: pyinotify.Event) -> None:
        if event.name == "a":
            (tmp_path / "later").touch()
        waiting.append(len(notifier._ahead))

    waiting: list[int] = []
    manager = pyinotify.WatchManager()
    notifier = Mine(manager, handle)
    manager.add_watch(str(tmp_path), CREATE)
    for name in "abc":
        (tmp_path / name).touch()
    notifier.loop(callback=lambda of: len(waiting) == 4)
    assert waiting == [0, 0, 0, 0]


def test_stop_closes_once(tmp_path: Path) -> None:
    """A second stop does nothing, not even to a file that got the same descriptor."""
    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager)
    fd = manager.get_fd()
    notifier.stop()
    other = os.open(tmp_path, os.O_RDONLY)
    try:
        os.dup2(other, fd)
        notifier.stop()
        manager.close()
        assert os.fstat(fd).st_ino == tmp_path.stat().st_ino
    finally:
        for number in {other, fd}:
            os.close(number)
    assert not notifier.check_events()
    notifier.read_events()
    notifier.process_events()
    notifier.loop()


def test_stop_from_a_handler(tmp_path: Path) -> None:
    """A handler that stops the notifier gets no more events, and the loop ends."""
    seen: list[str] = []

    def handle(event: pyinotify.Event) -> None:
        seen.append(event.name)
        notifier.stop()

    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager, handle)
    manager.add_watch(str(tmp_path), CREATE)
    for name in "ab":
        (tmp_path / name).touch()
    notifier.loop()
    assert seen == ["a"]


def test_stop_from_another_thread() -> None:
    """A loop that waits for events ends when another thread stops the notifier, and everything is closed."""
    started = threading.Event()
    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager)
    thread = threading.Thread(target=notifier.loop, kwargs={"callback": lambda of: started.set()})
    thread.start()
    assert started.wait(30)
    notifier.stop()
    notifier.stop()
    thread.join(30)
    assert not thread.is_alive()
    eventually(lambda: manager._closed)
