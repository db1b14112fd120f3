"""Notifiers that are driven by an event loop: of asyncio, of tornado, of asyncore."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

from inotify_bridge.pyinotify._handlers import Handler
from inotify_bridge.pyinotify._manager import WatchManager
from inotify_bridge.pyinotify._notifier import Callback, Notifier

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import asyncore
except ImportError:  # left the standard library with Python 3.12
    asyncore = None  # type: ignore[assignment]

__all__ = ["AsyncNotifier", "AsyncioNotifier", "TornadoAsyncNotifier", "asyncore"]


class _Driven(Notifier):
    """Reads and processes when the event loop says that something is there."""

    handle_read_callback: Callback | None

    def handle_read(self, *args: Any, **kwargs: Any) -> None:
        """Read, process, then call the callback. Called by the event loop."""
        self.read_events()
        self.process_events()
        if self.handle_read_callback is not None:
            self.handle_read_callback(self)


class TornadoAsyncNotifier(_Driven):
    """
    Runs in a loop of tornado.

    Args:
        ioloop: a tornado.ioloop.IOLoop.
        callback: called with this notifier after each batch.
        channel_map: of no use here; there for programs that give it.
    """

    def __init__(
        self,
        watch_manager: WatchManager,
        ioloop: Any,
        callback: Callback | None = None,
        default_proc_fun: Handler | None = None,
        read_freq: float = 0,
        threshold: int = 0,
        timeout: float | None = None,
        channel_map: object = None,
    ) -> None:
        super().__init__(watch_manager, default_proc_fun, read_freq, threshold, timeout)
        self.io_loop = ioloop
        self.handle_read_callback = callback
        ioloop.add_handler(self._fd, self.handle_read, ioloop.READ)

    def stop(self) -> None:
        """Leave the loop and close. In the loop's thread; a second call does nothing."""
        if self._fd is not None:
            self.io_loop.remove_handler(self._fd)
            super().stop()


class AsyncioNotifier(_Driven):
    """
    Runs in a loop of asyncio, which need not run yet. Handlers may call asyncio.create_task.

    Args:
        loop: the event loop.
        callback: called with this notifier after each batch.
    """

    loop: asyncio.AbstractEventLoop  # type: ignore[assignment]

    def __init__(
        self,
        watch_manager: WatchManager,
        loop: asyncio.AbstractEventLoop,
        callback: Callback | None = None,
        default_proc_fun: Handler | None = None,
        read_freq: float = 0,
        threshold: int = 0,
        timeout: float | None = None,
    ) -> None:
        super().__init__(watch_manager, default_proc_fun, read_freq, threshold, timeout)
        self.loop = loop
        self.handle_read_callback = callback
        loop.add_reader(watch_manager.get_fd(), self.handle_read)

    def stop(self) -> None:
        """Leave the loop and close. From any thread; a second call does nothing."""
        if self.loop.is_running() and not self._is_here():
            self.loop.call_soon_threadsafe(self._leave)
        else:
            self._leave()

    def _is_here(self) -> bool:
        """Whether this is the thread in which the loop runs."""
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False

    def _leave(self) -> None:
        if self._fd is not None:
            self.loop.remove_reader(self._fd)
            super().stop()


if asyncore is not None:

    class AsyncNotifier(asyncore.file_dispatcher, Notifier):
        """
        Runs in asyncore's loop.

        Args:
            channel_map: the map to be registered in; asyncore's own where None.
        """

        def __init__(
            self,
            watch_manager: WatchManager,
            default_proc_fun: Handler | None = None,
            read_freq: float = 0,
            threshold: int = 0,
            timeout: float | None = None,
            channel_map: dict[int, Any] | None = None,
        ) -> None:
            Notifier.__init__(self, watch_manager, default_proc_fun, read_freq, threshold, timeout)
            asyncore.file_dispatcher.__init__(self, watch_manager.get_fd(), channel_map)

        def handle_read(self) -> None:
            """Read and process. Called by asyncore."""
            self.read_events()
            self.process_events()

        def stop(self) -> None:
            """Leave asyncore's map and close. A second call does nothing."""
            if self._fd is not None:
                self.close()
                Notifier.stop(self)

else:

    class AsyncNotifier(Notifier):  # type: ignore[no-redef]
        """Needs asyncore, which is not here."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            raise ImportError(
                "AsyncNotifier needs asyncore, which left the standard library with Python 3.12: install"
                " pyasyncore, or use AsyncioNotifier or ThreadedNotifier",
                name="asyncore",
            )
