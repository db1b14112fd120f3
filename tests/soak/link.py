"""The network between agent and broker: a TCP proxy that can be broken in several ways."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from enum import Enum
from typing import Final

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER that makes close(2) send a reset."""


class Way(Enum):
    """What becomes of connections."""

    OPEN = "everything passes"
    MUTE = "the broker gets everything, its answers reach nobody"
    REFUSING = "whoever connects is reset"
    SILENT = "whoever connects is answered by nothing"


class Link:
    """
    Forwards connections to 127.0.0.1:`target`; the port where clients connect is `port`.

    A broker that is away gives a reset. `target` may be set once the broker's port is known.
    """

    def __init__(self, target: int = 0) -> None:
        self.target = target
        self.cuts = 0
        self._way = Way.OPEN
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def set(self, way: Way) -> None:
        """From now on; connections that are open stay open, except where new ones are refused."""
        self._way = way
        if way is Way.REFUSING:
            self.cut()

    def cut(self) -> int:
        """Reset every connection. Returns how many there were; both of its ends count as one."""
        ends = list(self._open)
        for one in ends:
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                one.shutdown(socket.SHUT_RDWR)
        self.cuts += len(ends) // 2
        return len(ends) // 2

    def close(self) -> None:
        """End everything."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in list(self._threads):
            thread.join(30)

    def _run(self, target: object, *arguments: socket.socket) -> None:
        assert callable(target)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=target, name="link", args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._connect(self._listener.accept()[0])

    def _connect(self, client: socket.socket) -> None:
        try:
            if self._way is Way.REFUSING:
                raise ConnectionRefusedError
            broker = socket.create_connection(("127.0.0.1", self.target), timeout=10)
            broker.settimeout(None)
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            client.close()
            return
        self._open |= {client, broker}
        self._run(self._forward, client, broker)
        self._run(self._answer, broker, client)

    def _forward(self, client: socket.socket, broker: socket.socket) -> None:
        for data in self._read(client):
            if self._way is not Way.SILENT:
                _send(broker, data)
        self._end(client, broker)

    def _answer(self, broker: socket.socket, client: socket.socket) -> None:
        for data in self._read(broker):
            if self._way in (Way.OPEN, Way.REFUSING):
                _send(client, data)
        self._end(broker, client)

    @staticmethod
    def _read(source: socket.socket) -> Iterator[bytes]:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                yield data

    def _end(self, read: socket.socket, written: socket.socket) -> None:
        """One direction has ended: the other one hears of it, and closes too."""
        with contextlib.suppress(OSError):
            written.shutdown(socket.SHUT_WR)
        self._open.discard(read)
        with contextlib.suppress(OSError):
            read.shutdown(socket.SHUT_RD)
        if written not in self._open:
            read.close()
            written.close()


def _send(target: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        target.sendall(data)
