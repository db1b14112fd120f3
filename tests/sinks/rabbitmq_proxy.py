"""A TCP proxy before a broker that can hold back what the broker says."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator


class Proxy:
    """
    Forwards both ways, until it is told to hold back the broker's answers: the broker then gets everything,
    and its confirms reach nobody.

    Args:
        port: of the broker on 127.0.0.1.
        address: where to listen, on a port of its own.
    """

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._target = port
        self._listener = socket.create_server((address, 0))
        self._allowance: int | None = None
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._start(self._accept, "accept")

    @property
    def port(self) -> int:
        """Where clients connect."""
        port: int = self._listener.getsockname()[1]
        return port

    def hold_back(self, after: int = 0) -> None:
        """From now on hold back what the broker says, after so many bytes more."""
        self._allowance = after

    def cut(self) -> None:
        """End all connections, as a network does: what was held back is lost. New ones pass."""
        for one in self._sockets:
            _end(one)
        self._allowance = None

    def close(self) -> None:
        """End everything."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in list(self._threads):
            thread.join(30)
        for one in self._sockets:
            one.close()

    def _start(self, target: Callable[..., None], name: str, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=target, name=f"proxy {name}", args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                broker = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, broker]
                self._start(self._to_broker, "to broker", client, broker)
                self._start(self._to_client, "to client", broker, client)

    def _to_broker(self, client: socket.socket, broker: socket.socket) -> None:
        for data in _read(client):
            with contextlib.suppress(OSError):
                broker.sendall(data)
        _end(broker)

    def _to_client(self, broker: socket.socket, client: socket.socket) -> None:
        for data in _read(broker):
            if self._allowance is not None:
                data, self._allowance = data[: self._allowance], max(0, self._allowance - len(data))
            with contextlib.suppress(OSError):
                client.sendall(data)
        _end(client)


def _read(source: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            yield data


def _end(target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
