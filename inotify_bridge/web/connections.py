"""
One listening socket with its connections, workers and thread, and which connections have to go.

Waitress counts time without a single byte, and stops accepting at its limit: a few peers that send a byte now
and then would shut out all others. So a request has to be whole within a time, and where there are too many
connections the one goes that has asked nothing for longest.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final
from wsgiref.types import WSGIApplication

from waitress import create_server, wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser

REQUEST_SECONDS: Final = 10.0
STUCK_SECONDS: Final = 30.0
# Nothing waits for this timeout, `stop` wakes the loop: it only paces the search for what has to go.
IDLE_SECONDS: Final = 5.0
CONNECTIONS: Final = 100
UNSENT_BYTES: Final = 256 * 1024

LIMITS: Final = {
    # A client that goes away while it waits is noticed, and its place is free.
    "channel_request_lookahead": 1,
    # Of an answer, before its writer waits for the client: a tap is cut where it is too slow.
    "outbuf_high_watermark": UNSENT_BYTES,
    "connection_limit": CONNECTIONS,
    "channel_timeout": 30,
    "cleanup_interval": 10,
    "max_request_header_size": 16 * 1024,
    "max_request_body_size": 64 * 1024,
    "log_socket_errors": False,
    "ident": "inotify-bridge",
}


class _Request(HTTPRequestParser):  # type: ignore[misc]  # waitress publishes no types
    """Knows when its first byte came."""

    def __init__(self, adjustments: Any) -> None:
        super().__init__(adjustments)
        self.began = time.time()


class _Connection(HTTPChannel):  # type: ignore[misc]
    parser_class = _Request

    @property
    def asked_nothing_since(self) -> float:
        """Unix seconds: since when it has owed us a request, or the rest of one."""
        began: float = self.last_activity if self.request is None else self.request.began
        return began


class Listener:
    """
    Serves one socket. Another one's connections and workers take nothing from it.

    Args:
        app: answers, on several threads at a time.
        bound: listens; closed by `close`.
        backlog: of the socket.
        threads: workers.
        name: of the thread that accepts and reads.
    """

    def __init__(
        self, app: WSGIApplication, bound: socket.socket, backlog: int, threads: int, name: str
    ) -> None:
        self._descriptors: dict[int, Any] = {}
        self.server: Any = create_server(
            app, map=self._descriptors, sockets=[bound], backlog=backlog, threads=threads, **LIMITS
        )
        self.server.channel_class = _Connection
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        """Serve, on a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Accept and read nothing more. Returns at once."""
        self._stopping.set()
        self.server.pull_trigger()

    def close(self, timeout: float) -> bool:
        """
        Wait for the requests in hand and close every connection, after `stop`.

        Args:
            timeout: seconds.
        Returns:
            Whether nothing is left; else a worker still hangs in the agent, and `close` may come again.
        """
        self._thread.join(timeout)
        # A worker whose client takes nothing waits for the loop, which has ended.
        for connection in self._connections(lambda one: one.total_outbufs_len > UNSENT_BYTES):
            connection.handle_close()
        # The workers write their answers themselves and need no loop for it, but they pull the trigger: so
        # the descriptors go last.
        workers = self.server.task_dispatcher
        workers.shutdown(timeout=timeout)
        if not workers.threads:
            wasyncore.close_all(self._descriptors, ignore_all=True)
            return True
        self.server.socket.close()
        for connection in self._connections(lambda _: True):
            connection.handle_close()  # unlike `close` it tells the worker
        return False

    def _serve(self) -> None:
        while not self._stopping.is_set():
            wasyncore.loop(timeout=IDLE_SECONDS, use_poll=True, map=self._descriptors, count=1)
            self._drop(time.time())

    def _drop(self, now: float) -> None:
        """Close what takes nothing of its answers, or does not come to the end of its request."""
        for connection in self._connections(
            lambda one: (
                (one.total_outbufs_len and one.last_activity < now - STUCK_SECONDS)
                or (one.request is not None and one.request.began < now - REQUEST_SECONDS)
            )
        ):
            connection.handle_close()
        # One is accepted a turn, so that one place is enough, and waitress never comes to its limit.
        if len(self._descriptors) >= CONNECTIONS:
            idle = self._connections(lambda one: not one.requests)
            if idle:
                min(idle, key=lambda one: one.asked_nothing_since).handle_close()

    def _connections(self, which: Callable[[Any], object]) -> list[Any]:
        return [one for one in list(self.server.active_channels.values()) if which(one)]
