"""A running agent and the signals of its process: what `run` and `watch` share."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable

from inotify_bridge.agent import Agent


class Signals:
    """
    SIGTERM and SIGINT: the first drains, the second interrupts the drain. SIGHUP reloads, where `reload` is
    given.

    Made and used on the main thread. It waits on a descriptor that the C handler writes to, because the
    kernel may give a signal to any thread, and a main thread that waits for a lock would not learn of it.
    """

    def __init__(self, agent: Agent, reload: Callable[[], None] | None = None) -> None:
        self._agent = agent
        self._reload = reload
        self._stops = 0
        self._ended = False
        self._reload_wanted = False
        self._awake, self._alarm = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_stop)
        if reload is not None:
            signal.signal(signal.SIGHUP, self._ask_reload)

    # Handlers only note: they may interrupt anything on this thread.

    def _ask_stop(self, *_: object) -> None:
        self._stops += 1

    def _ask_reload(self, *_: object) -> None:
        self._reload_wanted = True

    def wake(self) -> None:
        """End `wait` as a signal would; from any thread."""
        self._ended = True
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it rings already
            os.write(self._alarm, b"\0")

    def wait(self) -> None:
        """Serve reloads until a signal, or `wake`, says to stop."""
        while not self._stops and not self._ended:
            self._sleep()
            if self._reload_wanted and self._reload is not None:
                self._reload_wanted = False
                self._reload()

    def stop(self, timeout: float | None = None) -> int:
        """Stop the agent, see `Agent.stop`; another signal interrupts its drain. Returns what it returns."""
        served = self._stops
        left: list[int] = []
        done = threading.Event()

        def drain() -> None:
            try:
                left.append(self._agent.stop(timeout))
            finally:
                done.set()
                self._ring()

        threading.Thread(target=drain, name="stop", daemon=True).start()
        while not done.is_set():
            self._sleep()
            if self._stops > served:
                served = self._stops
                self._agent.abort()
        return sum(left)

    def _sleep(self) -> None:
        poll = select.poll()
        poll.register(self._awake, select.POLLIN)
        poll.poll()
        with contextlib.suppress(BlockingIOError):
            os.read(self._awake, 4096)
