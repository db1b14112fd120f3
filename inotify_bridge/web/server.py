"""The HTTP server: waitress on a thread of its own, started and stopped by the agent."""

from __future__ import annotations

import errno
import ipaddress
import logging
import re
import socket
import threading
from collections.abc import Callable
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry

from inotify_bridge.errors import ConfigError, UnavailableError
from inotify_bridge.log import escaped
from inotify_bridge.web.admin_socket import AdminSocket
from inotify_bridge.web.app import TAPS, WAITING, Access, App
from inotify_bridge.web.connections import Listener
from inotify_bridge.web.signals import Operator
from inotify_bridge.web.view import AgentView

log = logging.getLogger(__name__)

DEFAULT_LISTEN: Final = "127.0.0.1:10477"
STOP_SECONDS: Final = 5.0
BACKLOG: Final = 128
# A scrape, a probe, a page and a command at once, and one to spare, beside those that wait.
THREADS: Final = WAITING + TAPS + 5

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
    Threads: ``web``, ``web-admin`` and waitress's own workers.
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
        self._admin = AdminSocket(admin_socket) if admin_socket is not None else None
        self._listeners: list[Listener] = []
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
        self._add(bound, self._access(), "web")
        if admin is not None:
            # The file's mode says who may ask, and no browser asks over a Unix socket.
            self._add(
                admin, Access(hosts=None, needs_token=False, token=self._token, trusted=True), "web-admin"
            )
        beyond = ", and on every other address of this machine" if self._is_everywhere else ""
        log.info("http: listening on %s%s", self.url, beyond)
        if self._admin is not None:
            log.info("http: listening on unix:%s", escaped(self._admin.path))

    def _add(self, bound: socket.socket, access: Access, name: str) -> None:
        app = App(self._view, self._registry, access, self._operator)
        self._listeners.append(Listener(app, bound, BACKLOG, THREADS, name))
        self._listeners[-1].start()

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
        for listener in self._listeners:
            listener.stop()
        self._listeners = [listener for listener in self._listeners if not listener.close(timeout)]

    @property
    def port(self) -> int:
        """The port that is served. Only after `start`."""
        return self._bound[1]

    @property
    def url(self) -> str:
        """Where this machine reaches the server. Only after `start`."""
        host, port = self._bound
        if self._is_everywhere:
            host = "127.0.0.1"  # a dual-stack socket takes it too
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def _is_everywhere(self) -> bool:
        return ipaddress.ip_address(self._bound[0]).is_unspecified

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
