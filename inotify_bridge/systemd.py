"""
The service manager's side of a start: what sd_notify(3) says, without its library.

A service manager that wants to know names a datagram socket in ``NOTIFY_SOCKET``; where that is not set,
nothing is told to anybody.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping
from typing import Final, Self

_ADDRESS: Final = "NOTIFY_SOCKET"
_WATCHDOG: Final = "WATCHDOG_USEC"
_WATCHDOG_PROCESS: Final = "WATCHDOG_PID"
_SEND_SECONDS: Final = 5.0
"""Longest wait for a manager that takes nothing: it must hold up no reload and no stop."""

_log = logging.getLogger("inotify_bridge.agent")


class ServiceManager:
    """
    Whoever started this process, and waits to hear of it. Every method may come from any thread.

    Args:
        address: of its socket: a path, or ``@`` and an abstract name; empty: there is nobody.
        watchdog: seconds within which it wants to hear that all is well, again and again; 0: it does not.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self.watchdog = watchdog
        self._address = address
        self._failed = False

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        """
        The one that the environment names, and takes it out there: a child process would speak for this one.

        What is named and cannot be spoken to is logged, and counts as nobody.
        """
        address = environment.pop(_ADDRESS, "")
        period = environment.pop(_WATCHDOG, "")
        process = environment.pop(_WATCHDOG_PROCESS, "")
        if not address:
            return cls()
        if not address.startswith(("/", "@")):
            _log.warning("%s %s is no address of a Unix socket: nobody is told", _ADDRESS, address)
            return cls()
        meant = process in ("", str(os.getpid()))
        return cls(address, int(period) / 1e6 if meant and period.isdecimal() else 0.0)

    @property
    def listens(self) -> bool:
        """Whether there is anybody."""
        return bool(self._address)

    def tell(self, **assignments: str | int) -> None:
        """
        Send assignments in one message, in their order.

        A failure is logged once: there is nobody else to tell, and the agent goes on without.
        """
        if not self._address:
            return
        lines = (f"{name}={' '.join(str(value).split())}" for name, value in assignments.items())
        try:
            self._send("\n".join(lines).encode(errors="backslashreplace"))
        except OSError as error:
            if not self._failed:
                _log.warning("the service manager at %s cannot be told: %s", self._address, error)
            self._failed = True
        else:
            self._failed = False

    def _send(self, message: bytes) -> None:
        name = os.fsencode(self._address)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_SEND_SECONDS)
            sender.sendto(message, b"\0" + name[1:] if name.startswith(b"@") else name)
