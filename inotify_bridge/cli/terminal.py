"""The terminal that a process was started on: whether it has gone."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from typing import Final

TOGETHER_SECONDS: Final = 10.0
"""A SIGHUP so soon after the terminal hung up was sent because of that."""


class Terminal:
    """
    The controlling terminal, if there is one and its end is to end the process: not under nohup(1), which
    ignores SIGHUP. Made before SIGHUP has a handler, used on one thread.

    SIGHUP alone does not tell: the kernel sends it when the terminal hangs up, shells pass it on, and
    operators send it to have the configuration reloaded. Nor does it always come: the kernel sends it to the
    leader of the session, and to the foreground only when that leader ends, which make(1) does not before
    its children have. So the end of a terminal whose foreground this process is in counts by itself.
    """

    def __init__(self) -> None:
        self._descriptor = -1
        self._gone_at: float | None = None
        self._in_foreground = False
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            with contextlib.suppress(OSError):  # ENXIO: started by no terminal, or in a session of its own
                self._descriptor = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
                self._in_foreground = os.tcgetpgrp(self._descriptor) == os.getpgrp()

    def watch(self, poll: select.poll) -> None:
        """Have a poll end when the terminal hangs up."""
        if self._descriptor >= 0:
            poll.register(self._descriptor, 0)  # POLLHUP comes unasked: poll(2)

    def look(self) -> None:
        """
        Note the moment when it hangs up, and until then whether this process is in its foreground. A process
        that outlives its terminal has none from then on.
        """
        if self._descriptor < 0:
            return
        poll = select.poll()
        poll.register(self._descriptor, 0)
        if poll.poll(0):
            self._gone_at = time.monotonic()
            os.close(self._descriptor)
            self._descriptor = -1
            return
        with contextlib.suppress(OSError):  # it hangs up now
            self._in_foreground = os.tcgetpgrp(self._descriptor) == os.getpgrp()

    def has_left_foreground(self) -> bool:
        """Whether it hung up while this process was in its foreground, as far as `look` saw."""
        return self._gone_at is not None and self._in_foreground

    def has_just_gone(self) -> bool:
        """Whether it hung up so lately that a SIGHUP of now is the sign of that."""
        self.look()
        return self._gone_at is not None and time.monotonic() - self._gone_at < TOGETHER_SECONDS


def hold_reloads() -> Terminal:
    """
    Keep SIGHUP waiting, which would end a process that has no handler for it yet, until `release_reloads`.

    Returns:
        The terminal as it is now: where it hangs up meanwhile, that is still known when the signal comes.
    """
    terminal = Terminal()
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP,))
    return terminal


def release_reloads() -> None:
    """SIGHUP has a handler from now on. On the main thread, as `hold_reloads`."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))
