"""The HTTP server: waitress on a thread of its own, started and stopped by the agent."""

from __future__ import annotations

import errno
import ipaddress
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from prometheus_client import CollectorRegistry
from waitress import create_server, wasyncore

from inotify_bridge.errors import ConfigError, UnavailableError
from inotify_bridge.log import escaped
from inotify_bridge.web.admin_socket import AdminSocket
from inotify_bridge.web.app import WAITING, Access, App
from inotify_bridge.web.signals import Operator
from inotify_bridge.web.view import AgentView

log = logging.getLogger(__name__)

DEFAULT_LISTEN: Final = "127.0.0.1:10477"
STOP_SECONDS: Final = 5.0
BACKLOG: Final = 128
# Nothing waits for this timeout, `stop` wakes the loop: it only paces the search for idle connections.
IDLE_SECONDS: Final = 10.0
STUCK_SECONDS: Final = 30.0

# A scrape, a probe, a page and a command at once, and one to spare, beside those that wait. Bodies are small
# by design; a peer that says nothing for half a minute is not worth a descriptor, and no number of peers
# takes more than the limit.
LIMITS: Final = {
    "threads": WAITING + 5,
    "backlog": BACKLOG,
    # A client that goes away while it waits is noticed, and its place is free.
    "channel_request_lookahead": 1,
    # Of an answer, before its writer waits for the client: a tap is cut where it is too slow.
    "outbuf_high_watermark": 256 * 1024,
    "connection_limit": 100,
    "channel_timeout": 30,
    "cleanup_interval": 10,
    "max_request_header_size": 16 * 1024,
    "max_request_body_size": 64 * 1024,
    "log_socket_errors": False,
    "ident": "inotify-bridge",
}
# Workers of its own: the admin socket answers also while the others hang or are busy.
ADMIN_LIMITS: Final = {**LIMITS, "threads": WAITING + 2}

_LISTEN: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\s:\[\]]*)):(?P<port>[0-9]{1,5})")
_BIND_HINTS: Final = {
    errno.EADDRINUSE: "another program has the port: stop it, or set http.listen",
    errno.EADDRNOTAVAIL: "no interface of this machine has the address: set http.listen",
    errno.EACCES: "ports below 1024 need a privilege: set http.listen",
}


class WebServer:
    """
    Serves the pages, metrics and probes of one agent.

    Args:
        listen: ``host:port``, ``[v6]:port`` or ``:port`` for all addresses; port 0 takes any free one.
        view: the agent; asked on the server's threads.
        registry: what `/metrics` exposes.
        token: the bearer token in force, or None; asked at every request.
        admin_socket: path of a Unix socket that answers the same, without a token, to this user alone; None:
            there is none.
        operator: carries out operator signals; None: they are not served.

    `start` and `stop` come from one thread; `stop` may come without `start`, and is final.
    Threads: ``web`` and waitress's own workers.
    """

    def __init__(
        self,
        listen: str,
        view: AgentView,
        registry: CollectorRegistry,
        token: Callable[[], str | None],
        admin_socket: str | None = None,
        operator: Operator | None = None,
    ) -> None:
        self._host, self._wanted_port = parse_listen(listen)
        self._view = view
        self._registry = registry
        self._token = token
        self._operator = operator
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._admin = AdminSocket(admin_socket) if admin_socket is not None else None
        self._servers: list[Any] = []  # waitress publishes no types
        self._descriptors: dict[int, Any] = {}
        self._address: tuple[str, int] | None = None

    def start(self) -> None:
        """
        Bind, and serve on a thread.

        Raises:
            UnavailableError: the address or the admin socket cannot be had.
        """
        if self._stopping.is_set():
            return
        bound = self._bind()
        try:
            admin = self._admin.bind(BACKLOG) if self._admin is not None else None
        except BaseException:
            bound.close()
            raise
        self._address = bound.getsockname()[:2]
        self._add(bound, self._access(), LIMITS)
        if admin is not None:
            # The file's mode says who may ask, and no browser asks over a Unix socket.
            self._add(
                admin, Access(hosts=None, needs_token=False, token=self._token, trusted=True), ADMIN_LIMITS
            )
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)
        self._thread.start()
        log.info("http: listening on %s", self.url)
        if self._admin is not None:
            log.info("http: listening on unix:%s", escaped(self._admin.path))

    def _add(self, bound: socket.socket, access: Access, limits: Mapping[str, object]) -> None:
        app = App(self._view, self._registry, access, self._operator)
        self._servers.append(create_server(app, map=self._descriptors, sockets=[bound], **limits))

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """
        Finish the requests in hand, close every connection and remove the admin socket. Idempotent.

        Args:
            timeout: seconds for the requests; one that hangs longer in the agent is left behind, its thread
                ends when the agent answers. Another `stop` then frees what was left.
        """
        self._stopping.set()
        if self._admin is not None:
            self._admin.remove()
        if not self._servers or self._thread is None:
            return
        self._servers[0].pull_trigger()
        self._thread.join(timeout)
        # The workers write their answers themselves and need no loop for it, but they pull the trigger: so
        # the descriptors go last.
        workers = [server.task_dispatcher for server in self._servers]
        for each in workers:
            each.shutdown(timeout=timeout)
        if not any(each.threads for each in workers):
            wasyncore.close_all(self._descriptors, ignore_all=True)
            self._servers = []
            return
        for server in self._servers:
            _close_but_trigger(server)

    @property
    def port(self) -> int:
        """The port that is served. Only after `start`."""
        return self._bound[1]

    @property
    def url(self) -> str:
        """Where this machine reaches the server. Only after `start`."""
        host, port = self._bound
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1"  # a dual-stack socket takes it too
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def _bound(self) -> tuple[str, int]:
        if self._address is None:
            raise RuntimeError("the HTTP server has not been started")
        return self._address

    def _access(self) -> Access:
        if not _is_loopback(self._bound[0]):
            return Access(hosts=None, needs_token=True, token=self._token)
        names = {"localhost", "127.0.0.1", "::1", self._host.lower(), self._bound[0]}
        return Access(hosts=frozenset(names), needs_token=False, token=self._token)

    def _serve(self) -> None:
        while not self._stopping.is_set():
            wasyncore.loop(timeout=IDLE_SECONDS, use_poll=True, map=self._descriptors, count=1)
            self._drop_stuck(time.time() - STUCK_SECONDS)

    def _drop_stuck(self, since: float) -> None:
        """Close the connections of clients that take nothing of their answers: a worker waits for each."""
        for server in self._servers:
            for connection in list(server.active_channels.values()):
                if connection.total_outbufs_len and connection.last_activity < since:
                    connection.handle_close()

    def _bind(self) -> socket.socket:
        try:
            family, kind, protocol, _, address = _resolve(self._host, self._wanted_port)
            bound = socket.socket(family, kind, protocol)
            try:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                bound.bind(address)
                bound.listen(BACKLOG)
            except OSError:
                bound.close()
                raise
        except OSError as exc:
            raise self._unavailable(exc) from exc
        return bound

    def _unavailable(self, exc: OSError) -> UnavailableError:
        host = f"[{self._host}]" if ":" in self._host else self._host
        message = f"http: cannot listen on {host}:{self._wanted_port}: {exc.strerror or exc}"
        return UnavailableError(message, _BIND_HINTS.get(exc.errno or 0, "set http.listen"))


def _close_but_trigger(server: Any) -> None:
    """A worker that hangs will pull the trigger when it is back: its descriptor stays."""
    server.socket.close()
    for connection in list(server.active_channels.values()):
        connection.close()


def parse_listen(listen: str) -> tuple[str, int]:
    """
    Take ``host:port`` apart; the host without brackets, empty for all addresses.

    Raises:
        ConfigError: it is no such thing.
    """
    parts = _LISTEN.fullmatch(listen)
    if parts is None or int(parts["port"]) > 65535:
        raise ConfigError(f"http.listen: {listen!r} is not host:port", f"for example {DEFAULT_LISTEN}")
    return parts["v6"] or parts["host"] or "", int(parts["port"])


_Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


def _resolve(host: str, port: int) -> tuple[int, int, int, str, _Address]:
    """The first address of the host, IPv4 before IPv6: ``localhost`` is where every client looks for it."""
    found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return min(found, key=lambda entry: entry[0] != socket.AF_INET)


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
