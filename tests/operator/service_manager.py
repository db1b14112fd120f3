"""What systemd is to the services it starts: a datagram socket that hears what they say."""

from __future__ import annotations

import os
import select
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

Message = dict[str, str]


class ServiceManager:
    """
    Hears what is sent to its socket.

    Args:
        address: as in ``NOTIFY_SOCKET``: a path, or ``@`` and an abstract name.
    """

    def __init__(self, address: str | Path) -> None:
        self.address = os.fspath(address)
        self.heard: list[Message] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address.replace("@", "\0", 1) if self.address[0] == "@" else self.address)

    def until(self, within: float = 60.0, **wanted: str) -> Message:
        """
        The next message with at least these assignments.

        Raises: AssertionError, none came.
        """
        deadline = time.monotonic() + within
        since = len(self.heard)
        while (left := deadline - time.monotonic()) > 0:
            message = self.next(left)
            if message is not None and wanted.items() <= message.items():
                return message
        raise AssertionError(f"no {wanted} within {within:g} s; heard {self.heard[since:]}")

    def next(self, within: float) -> Message | None:
        """The next message, or None where none comes within these seconds."""
        readable, _, _ = select.select([self._socket], [], [], within)
        if not readable:
            return None
        lines = self._socket.recv(65536).decode().split("\n")
        self.heard.append(dict(line.split("=", 1) for line in lines))
        return self.heard[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
