"""A TCP proxy before a broker, which does on command what networks and machines do to a connection."""

from __future__ import annotations

import contextlib
import ctypes
import select
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator

from tests.brokers.ports import free_port

_LIBC = ctypes.CDLL(None, use_errno=True)
_NOWHERE = bytes(16)  # a struct sockaddr of AF_UNSPEC
_CHUNK = 65536
_LOOK_SECONDS = 0.05


class Proxy:
    """
    Forwards both ways, until it is told to do otherwise; `heal` ends every lasting fault.

    Its port stays the same for its life, and is not one that the kernel gives to outgoing connections: while
    it refuses, nobody else gets it.

    Args:
        target: port of the broker on 127.0.0.1.
        address: where to listen.
        port: the same; None: a free one.
    """

    def __init__(self, target: int, address: str = "127.0.0.1", port: int | None = None) -> None:
        self.port = port or free_port()
        """Where clients connect."""
        self.happened: Counter[str] = Counter()
        """How often a fault really hit something: connections ended, bytes swallowed or held up."""
        self._target = target
        self._address = address
        self._allowance: int | None = None  # bytes of the broker that still pass
        self._left: int | None = None  # bytes of a client that still pass
        self._pace = 0.0
        self._mute = False
        self._flows = threading.Event()
        self._flows.set()
        self._closing = threading.Event()
        self._links: list[_Link] = []
        self._threads: list[threading.Thread] = []
        self._listener = self._listen()

    # -- faults that happen at once

    def cut(self) -> None:
        """End all connections in order (FIN), as a proxy does that stops. New ones pass."""
        self._end_all("cut", _Link.end)

    def reset(self) -> None:
        """End all connections by RST."""
        self._end_all("reset", _Link.reset)

    def half_open(self) -> None:
        """The broker's side is gone without a word to the client: what it still sends gets no answer."""
        for link in self._links:
            if link.alive:
                link.vanish()
                self.happened["half open"] += 1

    def cut_after(self, count: int) -> None:
        """Let so many bytes of a client pass, then reset its connection in the middle of what it says."""
        self._left = count

    # -- faults that last

    def hold_back(self, after: int = 0) -> None:
        """Swallow what the broker says (its confirms), after so many bytes more."""
        self._allowance = after

    def freeze(self) -> None:
        """Forward nothing. Connections stay, new ones are taken too."""
        self._flows.clear()

    def slow(self, pace: float = 1.0) -> None:
        """Forward so many bytes a second in each direction of each connection."""
        self._pace = pace

    def refuse(self) -> None:
        """Listen no more, and end the connections that there are."""
        self._shut()
        self.reset()

    def mute(self) -> None:
        """Take new connections and never say anything; end those that there are."""
        self._mute = True
        self.reset()

    def heal(self) -> None:
        """End every lasting fault. What was swallowed is lost, so the connections of that time end too."""
        swallowed = self._allowance is not None or self._mute
        if swallowed:  # first of all: nothing that the broker says just now may pass behind what is lost
            self._end_all("cut", _Link.end)
        self._allowance, self._left, self._pace, self._mute = None, None, 0.0, False
        if swallowed:
            self._end_all("cut", _Link.end)  # and whoever came meanwhile
        self._flows.set()
        if self._listener.fileno() < 0:
            self._listener = self._listen()

    def close(self) -> None:
        """End everything."""
        self._closing.set()
        self._flows.set()
        self._shut()
        for link in self._links:
            link.end()
        for thread in list(self._threads):
            thread.join(30)
        for link in self._links:
            link.close()

    # -- the proxy's own threads

    def _listen(self) -> socket.socket:
        listener = socket.create_server((self._address, self.port))
        self._start(self._accept, listener)
        return listener

    def _shut(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, name=f"proxy {target.__name__}", args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self.happened["connections"] += 1
                self._link(client)

    def _link(self, client: socket.socket) -> None:
        if self._mute:
            self.happened["mute"] += 1
            self._links.append(_Link(client, None))
            return
        try:
            broker = socket.create_connection(("127.0.0.1", self._target))
        except OSError:  # no broker behind us just now
            client.close()
            return
        link = _Link(client, broker)
        self._links.append(link)
        self._start(self._to_broker, link, broker)
        self._start(self._to_client, link, broker)

    def _to_broker(self, link: _Link, broker: socket.socket) -> None:
        for data in _read(link.client):
            if link.vanished:
                self.happened["bytes into the void"] += len(data)
            elif not self._cut_here(link, broker, data):
                self._forward(link, broker, data)
        link.end()

    def _to_client(self, link: _Link, broker: socket.socket) -> None:
        for data in _read(broker):
            if self._allowance is not None:
                passes, self._allowance = data[: self._allowance], max(0, self._allowance - len(data))
                self.happened["bytes swallowed"] += len(data) - len(passes)
                data = passes
            self._forward(link, link.client, data)
        if not link.vanished:
            link.end()

    def _cut_here(self, link: _Link, broker: socket.socket, data: bytes) -> bool:
        if self._left is None or len(data) <= self._left:
            self._left = None if self._left is None else self._left - len(data)
            return False
        passes, self._left = data[: self._left], None
        with contextlib.suppress(OSError):
            broker.sendall(passes)
        self.happened["cut in the middle"] += 1
        link.reset()
        return True

    def _forward(self, link: _Link, target: socket.socket, data: bytes) -> None:
        with contextlib.suppress(OSError):
            while data and (self._pace or not self._flows.is_set()):
                data = self._hold_up(target, data)
                if link.is_left():  # as in a network: its end overtakes what was held up
                    link.reset()
                    return
            target.sendall(data)

    def _hold_up(self, target: socket.socket, data: bytes) -> bytes:
        """Wait a little; what is left of the data then."""
        if not self._flows.is_set():
            self.happened["bytes held up"] += len(data)
            self._flows.wait(_LOOK_SECONDS)
            return data
        target.sendall(data[:1])
        self.happened["bytes held up"] += 1
        self._closing.wait(1 / self._pace if self._pace else 0)
        return data[1:]

    def _end_all(self, fault: str, end: Callable[[_Link], None]) -> None:
        for link in self._links:
            if link.alive:
                self.happened[fault] += 1
                end(link)


class _Link:
    """One connection of a client, and ours to the broker for it; None where we say nothing to it."""

    def __init__(self, client: socket.socket, broker: socket.socket | None) -> None:
        self.client = client
        self.vanished = False
        self.alive = True
        self._broker = broker
        self._both = [client] if broker is None else [client, broker]

    def end(self) -> None:
        self.alive = False
        for one in self._both:
            _shutdown(one)

    def reset(self) -> None:
        self.alive = False
        for one in self._both:
            _disconnect(one)

    def vanish(self) -> None:
        self.vanished = True
        if self._broker is not None:
            _disconnect(self._broker)

    def is_left(self) -> bool:
        """Whether the client has closed its side."""
        poll = select.poll()
        poll.register(self.client, select.POLLRDHUP)
        return bool(poll.poll(0))

    def close(self) -> None:
        for one in self._both:
            one.close()


def _read(source: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            yield data


def _shutdown(target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _disconnect(target: socket.socket) -> None:
    """An RST at once, whoever waits in a call on this socket (connect(2), AF_UNSPEC); a close would wait."""
    _LIBC.connect(target.fileno(), _NOWHERE, len(_NOWHERE))
