"""Beside the interface: names of their own in subclasses, descriptors closed behind the back, fork."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from inotify_bridge import pyinotify
from tests.waiting import eventually

CREATE = pyinotify.IN_CREATE
# What subclasses of notifiers found in programs, and any that has a queue, call what is theirs.
NAMES = ["_queue", "_process", "_pause", "_close", "_wake", "_looping", "_ending", "_reads", "_ahead", "lock"]


class Locked(pyinotify.WatchManager):
    """A manager with a lock and a mark of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self._closed = False

    def watch(self, path: str) -> dict[str, int]:
        """Add one watch, one thread at a time."""
        with self.lock:
            return self.add_watch(path, CREATE)

    def close(self) -> None:
        """Close, and say so first."""
        self._closed = True
        super().close()


def test_manager_with_a_lock_of_its_own(tmp_path: Path) -> None:
    """A subclass's `lock` and `_closed` are its own: no deadlock, no open descriptor."""
    manager = Locked()
    thread = threading.Thread(target=manager.watch, args=(str(tmp_path),), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert manager.get_wd(str(tmp_path)) == 1
    fd = manager.get_fd()
    manager.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@pytest.mark.parametrize("name", NAMES)
def test_thread_with_names_of_its_own(tmp_path: Path, name: str) -> None:
    """A subclass of ThreadedNotifier may call an attribute of its own anything that pyinotify left free."""
    seen: list[str] = []
    manager = pyinotify.WatchManager()
    manager.add_watch(str(tmp_path), CREATE)
    notifier = pyinotify.ThreadedNotifier(manager, lambda event: seen.append(event.name))
    setattr(notifier, name, object())
    notifier.daemon = True
    notifier.start()
    (tmp_path / "a").touch()
    eventually(lambda: bool(seen))
    notifier.stop()
    assert seen == ["a"]
    assert notifier.exception is None


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("threaded", [True, False])
def test_stop_in_a_child(tmp_path: Path, threaded: bool) -> None:
    """A child process that stops its copy of a notifier leaves its parent's thread awake and hearing."""
    seen: list[str] = []
    manager = pyinotify.WatchManager()
    manager.add_watch(str(tmp_path), CREATE)
    kind = pyinotify.ThreadedNotifier if threaded else pyinotify.Notifier
    notifier = kind(manager, lambda event: seen.append(event.name))
    thread = notifier if isinstance(notifier, threading.Thread) else threading.Thread(target=notifier.loop)
    thread.daemon = True
    thread.start()
    (tmp_path / "before").touch()
    eventually(lambda: seen == ["before"])
    child = os.fork()
    if child == 0:
        try:
            notifier.stop()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    (tmp_path / "after").touch()
    eventually(lambda: seen == ["before", "after"])
    notifier.stop()
    thread.join()
