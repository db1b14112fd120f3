"""``inotify-bridge healthcheck``"""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

import click

from inotify_bridge.cli.options import url_option
from inotify_bridge.errors import BridgeError, UnavailableError, UsageError

_TIMEOUT_SECONDS = 5.0
_SHOWN_CHARACTERS = 300


@click.command("healthcheck")
@url_option
@click.option(
    "--probe",
    type=click.Choice(["livez", "readyz", "startupz"]),
    default="livez",
    show_default=True,
    help="What to ask.",
)
def command(url: str, probe: str) -> None:
    """
    Ask a running agent whether it is well.

    Exit code 0: yes; 1: no; 69: no agent answers.

    \b
    Example:
      inotify-bridge healthcheck --probe readyz
    """
    status, text = _get(url, f"/{probe}")
    if status != http.client.OK:
        raise BridgeError(f"{probe} answers {status}: {text or 'nothing'}", f"see '{url}/' and the log")
    click.echo(text or "ok")


def _get(url: str, path: str) -> tuple[int, str]:
    """Status and first line of a GET. Not by urllib: a proxy of the environment has no part in this."""
    connection = _connection(url)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read(_SHOWN_CHARACTERS).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnavailableError(
            f"no agent answers at {url}: {reason}", "is it running, and is this its http.listen?"
        ) from error
    finally:
        connection.close()
    return response.status, body.strip().partition("\n")[0]


def _connection(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path:
        return _UnixConnection(parts.path)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http" or not parts.hostname:
        raise UsageError(
            f"'{url}' is no address of an agent", "write http://127.0.0.1:10477 or unix:/run/agent.sock"
        )
    return http.client.HTTPConnection(parts.hostname, port or 80, timeout=_TIMEOUT_SECONDS)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_SECONDS)
        self.sock.connect(self._path)
