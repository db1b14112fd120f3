"""
The agent as a service: what a service manager is told of it.

    STATUS=… ─► READY=1 ─► (RELOADING=1 ─► READY=1)* ─► STOPPING=1         WATCHDOG=1 as long as it lives
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Final

from inotify_bridge.agent import Agent
from inotify_bridge.log import escaped
from inotify_bridge.systemd import ServiceManager
from inotify_bridge.web.view import AgentStatus

STATUS_SECONDS: Final = 10.0
"""Between two looks at the figures."""

SCAN_SECONDS: Final = 1.0
"""The same, until the first scan is over."""

WATCHDOG_SHARE: Final = 4
"""Looks in one watchdog period: one that comes late costs no life."""

STOP_GRACE: Final = 60.0
"""Seconds for all of a stop that is no drain."""

SHOWN: Final = 300
"""Characters of a status."""

_log = logging.getLogger("inotify_bridge.agent")


class Service:
    """
    Tells a service manager how an agent does, once it is ready on a thread of its own.

    The methods are called in the order of a process's life, and `reloading` and `reloaded` in between.
    """

    def __init__(self, agent: Agent, manager: ServiceManager) -> None:
        self._agent = agent
        self._manager = manager
        self._period = min(STATUS_SECONDS, manager.watchdog / WATCHDOG_SHARE or STATUS_SECONDS)
        self._busy = False
        self._told = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="service", daemon=True)

    def ready(self) -> None:
        """
        The configuration is in force, lock and port are held, and the threads of the groups run.

        The first scan may go on meanwhile: it can have to wait for a disk or a broker, and no boot should
        wait with it. The status tells of it.
        """
        if self._manager.listens:
            self._tell_ready()
            self._thread.start()

    def reloading(self) -> None:
        """The configuration is read again; `reloaded` follows, whatever comes of it."""
        if self._thread.ident is not None:
            self._busy = True
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self._manager.tell(RELOADING=1, MONOTONIC_USEC=now, STATUS="Reloading the configuration")

    def reloaded(self) -> None:
        """The configuration is in force, or the old one stays: the status has it among what is wrong."""
        if self._thread.ident is not None:
            self._tell_ready()
            self._busy = False

    def stopping(self) -> None:
        """The drain begins. It may take longer than the manager would wait by itself."""
        self._busy = True
        seconds = self._agent.config.shutdown_timeout + STOP_GRACE
        self._manager.tell(STOPPING=1, EXTEND_TIMEOUT_USEC=int(seconds * 1e6), STATUS="Draining")

    def ended(self) -> None:
        """The drain is over. Idempotent."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _tell_ready(self) -> None:
        self._told = self._status()
        self._manager.tell(READY=1, STATUS=self._told)

    def _watch(self) -> None:
        period = min(self._period, SCAN_SECONDS)
        while not self._ended.wait(period):
            if self._manager.watchdog and not self._agent.view.live():
                self._manager.tell(WATCHDOG=1)
            status = self._status()
            if status != self._told and not self._busy:
                self._manager.tell(STATUS=status)
                self._told = status
            period = min(self._period, SCAN_SECONDS) if self._agent.view.ready() else self._period

    def _status(self) -> str:
        view = self._agent.view
        try:
            return in_words(view.status(), view.live() or view.ready())
        except Exception as error:
            # A fault of ours: it must not end this thread, and by the watchdog the agent.
            _log.warning("the status for the service manager could not be read: %r", error)
            _log.debug("where that was", exc_info=True)
            return self._told


def in_words(status: AgentStatus, unready: Sequence[str]) -> str:
    """
    The status in one line.

    Args:
        unready: why the agent does not live, or is not ready, in words.
    """
    groups = status["groups"]
    watches = sum(group["watches"] for group in groups)
    waiting = sum(group["outbox"]["events"] for group in groups)
    problems = [*unready, *status["problems"]]
    problems += [f"group {group['name']}: {problem}" for group in groups for problem in group["problems"]]
    told = f"; {len(problems)} to look at: {problems[0]}" if problems else ""
    line = f"groups: {len(groups)}, directories watched: {watches}, events to be confirmed: {waiting}{told}"
    return escaped(line)[:SHOWN]
