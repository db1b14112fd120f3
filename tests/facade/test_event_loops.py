"""The notifiers that an event loop drives."""

from __future__ import annotations

import asyncio
import importlib.util
import select
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inotify_bridge import pyinotify
from tests.facade.recording import python

CREATE = pyinotify.IN_CREATE


def test_asyncio(tmp_path: Path) -> None:
    """Made before the loop runs, it calls handlers in it, which may make tasks, and then its callback."""
    loop = asyncio.new_event_loop()
    manager = pyinotify.WatchManager()
    order: list[str] = []
    done = asyncio.Event()

    async def later(name: str) -> None:
        order.append(f"task {name}")
        done.set()

    tasks: list[asyncio.Task[None]] = []
    notifier = pyinotify.AsyncioNotifier(
        manager,
        loop,
        callback=lambda of: order.append("callback"),
        default_proc_fun=lambda event: tasks.append(asyncio.create_task(later(event.name))),
    )
    assert isinstance(notifier, pyinotify.Notifier)
    assert notifier.loop is loop
    assert notifier.handle_read_callback is not None
    manager.add_watch(str(tmp_path), CREATE)
    (tmp_path / "a").touch()
    loop.run_until_complete(asyncio.wait_for(done.wait(), 30))
    assert order == ["callback", "task a"]
    fd = manager.get_fd()
    notifier.stop()
    notifier.stop()
    assert loop.remove_reader(fd) is False
    loop.close()
    assert notifier._fd is None


def test_asyncio_is_stopped_by_another_thread() -> None:
    """Another thread may stop it while the loop runs: it leaves the loop in the loop's thread."""

    async def run() -> None:
        manager = pyinotify.WatchManager()
        notifier = pyinotify.AsyncioNotifier(manager, asyncio.get_running_loop())
        await asyncio.to_thread(notifier.stop)
        while notifier._fd is not None:
            await asyncio.sleep(0)
        assert manager._ib_closed

    asyncio.run(asyncio.wait_for(run(), 30))


class IOLoop:
    """As much of tornado's loop as a notifier uses, over select.poll."""

    READ = select.POLLIN

    def __init__(self) -> None:
        self.handlers: dict[int, Callable[..., None]] = {}

    def add_handler(self, fd: int, handler: Callable[..., None], events: int) -> None:
        """Call `handler` when `fd` is ready."""
        assert events == self.READ
        self.handlers[fd] = handler

    def remove_handler(self, fd: int) -> None:
        """Call it no more."""
        del self.handlers[fd]

    def run_once(self) -> None:
        """Wait until one is ready, and call it as tornado does."""
        poll = select.poll()
        for fd in self.handlers:
            poll.register(fd, self.READ)
        for fd, events in poll.poll(30_000):
            self.handlers[fd](fd, events)


def test_tornado(tmp_path: Path) -> None:
    """It registers its descriptor for reading, reads, processes and calls back, and leaves by stop."""
    ioloop, calls = IOLoop(), list[Any]()
    manager = pyinotify.WatchManager()
    notifier = pyinotify.TornadoAsyncNotifier(
        manager, ioloop, calls.append, lambda event: calls.append(event.name)
    )
    assert (notifier.io_loop, notifier.handle_read_callback) == (ioloop, calls.append)
    manager.add_watch(str(tmp_path), CREATE)
    (tmp_path / "a").touch()
    ioloop.run_once()
    assert calls == ["a", notifier]
    notifier.stop()
    notifier.stop()
    assert ioloop.handlers == {}
    assert notifier._fd is None


@pytest.mark.skipif(importlib.util.find_spec("asyncore") is None, reason="there is no asyncore")
def test_asyncore(tmp_path: Path) -> None:
    """With asyncore it is a dispatcher in the map that it is given, and leaves that by stop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import asyncore
    seen: list[str] = []
    channels: dict[int, Any] = {}
    manager = pyinotify.WatchManager()
    notifier = pyinotify.AsyncNotifier(manager, lambda event: seen.append(event.name), channel_map=channels)
    assert isinstance(notifier, asyncore.file_dispatcher)
    assert isinstance(notifier, pyinotify.Notifier)
    manager.add_watch(str(tmp_path), CREATE)
    (tmp_path / "a").touch()
    asyncore.loop(timeout=30, map=channels, count=1)
    assert seen == ["a"]
    notifier.stop()
    notifier.stop()
    assert channels == {}
    asyncore.loop(map=channels)


def test_without_asyncore() -> None:
    """Without asyncore the module is there, and making an AsyncNotifier says what to do."""
    code = """
import sys
sys.modules["asyncore"] = None
from inotify_bridge import pyinotify
try:
    pyinotify.AsyncNotifier(pyinotify.WatchManager())
except ImportError as error:
    print(error.name, error)
"""
    done = python("-c", code)
    assert done.stdout.startswith("asyncore AsyncNotifier needs asyncore"), done.stderr
    assert "AsyncioNotifier" in done.stdout


def test_a_thread_beside_a_loop() -> None:
    """Nothing of the event loops' notifiers starts a thread."""
    before = set(threading.enumerate())
    notifier = pyinotify.TornadoAsyncNotifier(pyinotify.WatchManager(), IOLoop())
    assert set(threading.enumerate()) <= before
    notifier.stop()
