"""A running agent and the signals of its process: what `run` and `watch` share."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from inotify_bridge.agent import Agent, Undelivered
from inotify_bridge.cli.file_watch import FileWatch
from inotify_bridge.cli.terminal import Terminal
from inotify_bridge.errors import BridgeError, UnavailableError

HANG_UP_SECONDS: Final = 5.0
"""Longest drain of an agent whose terminal has gone: a sink may be that terminal, and nobody looks."""

RELOAD_SECONDS: Final = 120.0
_PATIENCE: Final = 2.0

_log = logging.getLogger("inotify_bridge.agent")


class Signals:
    """
    SIGTERM and SIGINT: the first drains, the second interrupts the drain. SIGHUP reloads, where `reload` is
    given, unless it comes with the hang-up of the terminal that the process was started on. That ends it, and
    where the process is in the terminal's foreground no SIGHUP needs to come.

    Made and used on the main thread. It waits on a descriptor that the C handler writes to, because the
    kernel may give a signal to any thread, and a main thread that waits for a lock would not learn of it.

    Args:
        reload: called on a thread of its own while the main thread waits; returns why the configuration
            stayed as it was, or None.
        file: the file whose changes lead to a reload as well, where there is one.
    """

    def __init__(
        self,
        agent: Agent,
        reload: Callable[[], BridgeError | None] | None = None,
        file: FileWatch | None = None,
    ) -> None:
        self._agent = agent
        self._reload = reload
        self._file = file
        self._stops = 0
        self._by_keyboard = False
        self._ended = False
        self._hang_up = False
        self._orphaned = False
        self._requests: list[Future[None]] = []
        self._requesting = threading.Lock()
        self._waited = False
        self._awake, self._alarm = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_stop)
        self._terminal: Terminal | None = None
        if reload is not None:
            self._terminal = Terminal()
            signal.signal(signal.SIGHUP, self._ask_reload)
            # Continued by a shell (`fg`, `bg`): the terminal is looked at anew.
            signal.signal(signal.SIGCONT, lambda *_: None)

    # Handlers only note: they may interrupt anything on this thread.

    def _ask_stop(self, number: int, _: object) -> None:
        self._stops += 1
        self._by_keyboard = number == signal.SIGINT

    def _ask_reload(self, *_: object) -> None:
        self._hang_up = True

    # From any thread

    def wake(self) -> None:
        """End `wait` as a signal would."""
        self._ended = True
        self._ring()

    def request_reload(self) -> None:
        """
        Have the main thread reload, and wait for it.

        Raises:
            ConfigError: the old configuration stays in force, and why.
            UnavailableError: the process ends, or does not come to it.
        """
        asked: Future[None] = Future()
        with self._requesting:
            if self._waited:
                raise UnavailableError("the agent is stopping")
            self._requests.append(asked)
        self._ring()
        try:
            asked.result(RELOAD_SECONDS)
        except TimeoutError:
            raise UnavailableError(f"no reload within {RELOAD_SECONDS:g} s", "see its log") from None

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it rings already
            os.write(self._alarm, b"\0")

    # On the main thread

    def wait(self) -> None:
        """Serve reloads until a signal, or `wake`, says to stop."""
        while not self._stops and not self._ended:
            if not self._heed():
                self._sleep(file=self._file)
        with self._requesting:
            self._waited = True
        for asked in self._requests:
            asked.set_exception(UnavailableError("the agent is stopping"))

    def _heed(self) -> bool:
        """Do what is asked for. Returns whether that was anything: meanwhile more may have been asked."""
        signalled = self._hang_up
        if signalled:
            self._hang_up = False
        if self._has_lost_terminal(signalled):
            self._orphaned = self._ended = True
            _log.warning("the terminal has gone: ending")
            return True
        requested = bool(self._requests)
        changed = self._file is not None and self._file.changed()
        if changed:
            _log.info("the configuration file has changed")
        if signalled or changed:
            self._reload_now()
        if requested:
            self._serve()
        return signalled or requested or changed

    def _has_lost_terminal(self, signalled: bool) -> bool:
        if self._terminal is None:
            return False
        return self._terminal.has_left_foreground() or (signalled and self._terminal.has_just_gone())

    def _serve(self) -> None:
        with self._requesting:
            requests, self._requests = self._requests, []
        refused = self._reload_now()
        for asked in requests:
            if refused is None:
                asked.set_result(None)
            else:
                asked.set_exception(refused)

    def _reload_now(self) -> BridgeError | None:
        """Reload. A signal to stop does not wait for brokers of what is removed or changed."""
        if self._reload is None:
            return None
        reload, refused = self._reload, Future[BridgeError | None]()

        def act() -> None:
            try:
                refused.set_result(reload())
            except BaseException as error:  # a bug: it ends the process, as it would on the main thread
                refused.set_exception(error)
            finally:
                self._ring()

        threading.Thread(target=act, name="reload", daemon=True).start()
        while not refused.done():
            self._sleep()
            if self._stops:
                self._agent.hurry()
        return refused.result()

    def stop(self, timeout: float | None = None) -> Undelivered:
        """
        Stop the agent, see `Agent.stop`; another signal interrupts its drain, and so does, seconds later, the
        end of the terminal. A drain that takes longer says what it waits for.
        """
        served = self._stops
        left: list[Undelivered] = []
        done = threading.Event()
        if self._orphaned and timeout is None:
            timeout = min(HANG_UP_SECONDS, self._agent.config.shutdown_timeout)

        def drain() -> None:
            try:
                left.append(self._agent.stop(timeout))
            finally:
                done.set()
                self._ring()

        threading.Thread(target=drain, name="stop", daemon=True).start()
        told = False
        latest = math.inf
        while not done.is_set():
            rung = self._sleep(_PATIENCE)
            if latest == math.inf and self._has_lost_terminal(self._hang_up):
                latest = time.monotonic() + HANG_UP_SECONDS
            if self._stops > served or time.monotonic() >= latest:
                served = self._stops
                told = True
                self._agent.abort()
            elif not rung and not told:
                told = self._tell(self._agent.undelivered())
        return left[0] if left else {}

    def _tell(self, waiting: Undelivered) -> bool:
        if waiting:
            again = "Ctrl-C again" if self._by_keyboard else "a second signal"
            _log.warning("draining %s; %s ends it now", in_words(waiting), again)
        return bool(waiting)

    def _sleep(self, seconds: float | None = None, file: FileWatch | None = None) -> bool:
        """Until something rings, the file changes, or the seconds are over. Returns whether they were not."""
        poll = select.poll()
        poll.register(self._awake, select.POLLIN)
        if file is not None:
            poll.register(file.fd, select.POLLIN)
        if self._terminal is not None:
            self._terminal.watch(poll)
        rung = bool(poll.poll(None if seconds is None else seconds * 1000))
        if self._terminal is not None:
            self._terminal.look()
        with contextlib.suppress(BlockingIOError):
            os.read(self._awake, 4096)
        return rung


def in_words(left: Undelivered) -> str:
    """How many messages for which sinks: ``12 messages to orders (group uploads), 3 messages to …``."""
    parts = [f"{count} messages to {sink} (group {group})" for (group, sink), count in sorted(left.items())]
    return ", ".join(parts)
