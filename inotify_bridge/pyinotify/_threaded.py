"""A notifier with a thread of its own."""

from __future__ import annotations

import os
import select
import threading

import inotify_bridge.pyinotify as module
from inotify_bridge.pyinotify._handlers import Handler
from inotify_bridge.pyinotify._manager import WatchManager
from inotify_bridge.pyinotify._notifier import Notifier


class ThreadedNotifier(threading.Thread, Notifier):
    """
    Runs the loop, and so the handlers, in its own thread, from `start` to `stop`.

    Attributes:
        exception: what ended the thread before its time, usually of a handler; it is also logged, and handed
            to threading.excepthook. None while all is well.
    """

    def __init__(
        self,
        watch_manager: WatchManager,
        default_proc_fun: Handler | None = None,
        read_freq: float = 0,
        threshold: int = 0,
        timeout: float | None = None,
    ) -> None:
        threading.Thread.__init__(self)
        self._stop_event = threading.Event()
        self.exception: BaseException | None = None
        Notifier.__init__(self, watch_manager, default_proc_fun, read_freq, threshold, timeout)
        self._pipe = os.pipe()
        self._pollobj.register(self._pipe[0], select.POLLIN)

    def stop(self) -> None:
        """
        End the thread when it has processed what it has read, and close everything. Again: nothing.

        From any thread, also before `start`. Called by a handler it does not wait: the thread ends and closes
        after the batch.
        """
        with self._ending:
            self._stop_event.set()
            if self._fd is not None:
                os.write(self._pipe[1], b"\0")
        if threading.current_thread() is self:
            return
        if self.ident is not None:
            self.join()
        self._close()

    def _close(self) -> None:
        with self._ending:
            if self._fd is None:
                return
            self._pollobj.unregister(self._pipe[0])
            for fd in self._pipe:
                os.close(fd)
            self._pipe = (-1, -1)
            Notifier.stop(self)

    def _pause(self, seconds: float) -> None:
        self._stop_event.wait(seconds)

    def loop(self) -> None:  # type: ignore[override]
        """What the thread runs: process, wait and read until `stop`. Subclasses may write their own."""
        self._begin_reading_ahead()
        while not self._stop_event.is_set():
            self.process_events()
            self._wait_and_read()

    def run(self) -> None:
        """Run the loop; say so if it ends by an exception."""
        try:
            self.loop()
        except BaseException as error:
            self.exception = error
            module.log.error("%s has died: nothing is watched any more", self.name, exc_info=True)
            raise
        if self._stop_event.is_set():
            self._close()
