"""A running agent and the signals of its process: what `run` and `watch` share."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from inotify_bridge.agent import Agent


class Signals:
    """
    SIGTERM and SIGINT: the first drains, the second interrupts the drain. SIGHUP reloads, where `reload` is
    given.

    Made and used on the main thread, where Python runs signal handlers.
    """

    def __init__(self, agent: Agent, reload: Callable[[], None] | None = None) -> None:
        self._agent = agent
        self._wanted = threading.Event()
        self._reload_wanted = False
        self._reload = reload
        self.stopping = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        if reload is not None:
            signal.signal(signal.SIGHUP, self._ask_reload)

    def _stop(self, *_: object) -> None:
        if self.stopping:
            self._agent.abort()
        self.stopping = True
        self._wanted.set()

    def _ask_reload(self, *_: object) -> None:
        self._reload_wanted = True
        self._wanted.set()

    def wake(self) -> None:
        """End `wait`; from any thread."""
        self.stopping = True
        self._wanted.set()

    def wait(self) -> None:
        """Serve reloads until a signal, or `wake`, says to stop."""
        while not self.stopping:
            self._wanted.wait()
            self._wanted.clear()
            if self._reload_wanted and self._reload is not None:
                self._reload_wanted = False
                self._reload()
