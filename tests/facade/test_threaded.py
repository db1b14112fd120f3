"""The notifier with a thread of its own: its life, its end, and its death."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from inotify_bridge import pyinotify
from tests.waiting import eventually

CREATE = pyinotify.IN_CREATE


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[type[BaseException]]:
    """What has ended threads."""
    ended: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda given: ended.append(given.exc_type))
    return ended


def open_descriptors() -> set[str]:
    """What this process has open."""
    return set(os.listdir("/proc/self/fd"))


def test_life(tmp_path: Path) -> None:
    """Handlers run in the thread, for watches from before and after its start; stop closes all."""
    before = open_descriptors()
    seen: list[tuple[str, int]] = []
    manager = pyinotify.WatchManager()
    notifier = pyinotify.ThreadedNotifier(
        manager, lambda event: seen.append((event.name, threading.get_ident()))
    )
    assert isinstance(notifier, threading.Thread)
    assert isinstance(notifier, pyinotify.Notifier)
    assert not notifier.daemon
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    manager.add_watch(f"{tmp_path}/a", CREATE)
    notifier.start()
    manager.add_watch(f"{tmp_path}/b", CREATE)
    (tmp_path / "a/x").touch()
    (tmp_path / "b/y").touch()
    eventually(lambda: len(seen) == 2)
    assert seen == [("x", notifier.ident), ("y", notifier.ident)]
    notifier.stop()
    assert not notifier.is_alive()
    assert notifier.exception is None
    assert open_descriptors() <= before


def test_stop_while_nothing_happens() -> None:
    """Stop wakes a thread that waits for ever."""
    notifier = pyinotify.ThreadedNotifier(pyinotify.WatchManager(), read_freq=3600)
    notifier.start()
    notifier.stop()
    assert not notifier.is_alive()


def test_stop_while_it_gathers(tmp_path: Path) -> None:
    """Stop wakes a thread that lets events gather for an hour."""
    reached = threading.Event()

    class Mine(pyinotify.ThreadedNotifier):
        """Says when it sleeps."""

        def _sleep(self, ref_time: float) -> None:
            reached.set()
            super()._sleep(ref_time)

    manager = pyinotify.WatchManager()
    notifier = Mine(manager, read_freq=3600)
    manager.add_watch(str(tmp_path), CREATE)
    notifier.start()
    (tmp_path / "a").touch()
    assert reached.wait(30)
    notifier.stop()
    assert not notifier.is_alive()


def test_stop_twice(tmp_path: Path) -> None:
    """A second stop does nothing, not even to descriptors that got the same numbers."""
    manager = pyinotify.WatchManager()
    notifier = pyinotify.ThreadedNotifier(manager)
    numbers = [manager.get_fd(), *notifier._pipe]
    notifier.start()
    notifier.stop()
    with open(tmp_path / "f", "w") as file:
        for number in numbers:
            os.dup2(file.fileno(), number)
        try:
            notifier.stop()
            for number in numbers:
                os.fstat(number)
        finally:
            for number in set(numbers) - {file.fileno()}:
                os.close(number)


def test_stop_before_the_start() -> None:
    """Stopped before its start it closes everything; started then, it ends at once."""
    before = open_descriptors()
    notifier = pyinotify.ThreadedNotifier(pyinotify.WatchManager())
    notifier.stop()
    assert open_descriptors() <= before
    notifier.start()
    notifier.join(30)
    assert not notifier.is_alive()


def test_stop_from_a_handler(tmp_path: Path) -> None:
    """A handler that stops its notifier ends the thread after the batch, and everything is closed."""
    before = open_descriptors()
    seen: list[str] = []

    def handle(event: pyinotify.Event) -> None:
        seen.append(event.name)
        notifier.stop()

    manager = pyinotify.WatchManager()
    notifier = pyinotify.ThreadedNotifier(manager, handle)
    manager.add_watch(str(tmp_path), CREATE)
    for name in "ab":
        (tmp_path / name).touch()
    notifier.start()
    notifier.join(30)
    assert not notifier.is_alive()
    assert seen == ["a", "b"]
    assert open_descriptors() <= before
    notifier.stop()


def test_stop_from_many_threads() -> None:
    """Stopped by several threads at once it ends once."""
    notifier = pyinotify.ThreadedNotifier(pyinotify.WatchManager())
    notifier.start()
    threads = [threading.Thread(target=notifier.stop) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in [*threads, notifier])


def test_death_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ended: list[type[BaseException]]
) -> None:
    """A thread that an exception ends logs it, keeps it, and hands it to threading.excepthook."""
    error = ValueError("of the handler")

    def handle(event: pyinotify.Event) -> None:
        raise error

    manager = pyinotify.WatchManager()
    notifier = pyinotify.ThreadedNotifier(manager, handle)
    notifier.name = "watcher"
    manager.add_watch(str(tmp_path), CREATE)
    notifier.start()
    (tmp_path / "a").touch()
    notifier.join(30)
    assert notifier.exception is error
    assert ended == [ValueError]
    (record,) = caplog.records
    assert record.getMessage() == "watcher has died: nothing is watched any more"
    assert record.exc_info is not None
    notifier.stop()
    assert notifier._fd is None


def test_own_loop(tmp_path: Path) -> None:
    """A subclass may write its own loop from the parts of the original."""
    seen: list[str] = []

    class Mine(pyinotify.ThreadedNotifier):
        """Has a loop of its own."""

        def loop(self) -> None:  # type: ignore[override]
            while not self._stop_event.is_set():
                self.process_events()
                start = 0.0
                if self.check_events():
                    self._sleep(start)
                    self.read_events()

    manager = pyinotify.WatchManager()
    notifier = Mine(manager, lambda event: seen.append(event.name))
    manager.add_watch(str(tmp_path), CREATE)
    notifier.start()
    (tmp_path / "a").touch()
    eventually(lambda: seen == ["a"])
    notifier.stop()
    assert not notifier.is_alive()


def test_events_of_a_watch_that_is_being_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel tells of a watch before the call that adds it is through reaches the handler."""
    seen: list[str] = []
    manager = pyinotify.WatchManager()
    notifier = pyinotify.ThreadedNotifier(manager, lambda event: seen.append(event.name))
    add = manager._inotify_wrapper.inotify_add_watch

    def slowly(fd: int, path: str, mask: int) -> int:
        wd = add(fd, path, mask)
        (tmp_path / "x").touch()
        eventually(lambda: notifier._ib_reads_done() and not notifier._eventq, what="the thread has it")
        return wd

    monkeypatch.setattr(manager._inotify_wrapper, "inotify_add_watch", slowly)
    notifier.start()
    manager.add_watch(str(tmp_path), CREATE)
    eventually(lambda: seen == ["x"])
    notifier.stop()
