"""A connection to a running agent, by the address that ``--url`` takes."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

from inotify_bridge.errors import UsageError


def connection(url: str, timeout: float) -> http.client.HTTPConnection:
    """
    A connection to the agent at ``http://HOST:PORT`` or ``unix:PATH``, not opened yet.

    Not urllib's: a proxy of the environment has no part in this, and a redirect must not carry a token away.

    Args:
        timeout: seconds for each operation on the socket.
    Raises:
        UsageError: `url` is neither.
    """
    path = url.removeprefix("unix:")
    if path and path != url:  # whole: in a file's name `?` and `#` mean themselves
        return _UnixConnection(path, timeout)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _no_address(url) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or port == 0:
        raise _no_address(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, port, timeout=timeout)


def _no_address(url: str) -> UsageError:
    return UsageError(f"--url {url!r} is no address of an agent", "for example http://127.0.0.1:10477")


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
