"""Requests to a running agent: where it is, what it answered, and which error for people that is."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from inotify_bridge.errors import BridgeError, UnavailableError, UsageError
from inotify_bridge.log import escaped

TIMEOUT_SECONDS: Final = 10.0
# A status has a few hundred bytes a pair and at most 100 uncovered directories a group.
ANSWER_LIMIT: Final = 64 * 1024 * 1024
_LINE_LIMIT: Final = 16 * 1024 * 1024
_UNAVAILABLE: Final = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)


class Target(NamedTuple):
    """
    A running agent.

    Args:
        url: ``http://HOST:PORT``, or ``unix:PATH`` of its admin socket.
        token: the bearer token, or None.
        open: whether it asks a token for operator signals only: whoever else has taken its port gets none.
    """

    url: str
    token: str | None = None
    open: bool = False

    def headers(self, path: str) -> dict[str, str]:
        """Of a request for `path`: the token, where one is needed."""
        wanted = self.token is not None and (path.startswith("/-/") or not self.open)
        return {"Authorization": f"Bearer {self.token}"} if wanted else {}


def ask(
    target: Target,
    method: str,
    path: str,
    query: Mapping[str, object] | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> dict[str, Any]:
    """
    One request, and its JSON answer.

    Args:
        query: parameters; those that are None are left out.
        timeout: seconds for each operation on the socket.
    Raises:
        UsageError: the URL is no address.
        UnavailableError: nothing answers there, something else does, or the agent cannot do it now.
        BridgeError: it refused.
    """
    asked = connection(target.url, timeout)
    with contextlib.closing(asked), explained(target.url):
        response = _answer(asked, target, method, path, query)
        content = _object(response.read(ANSWER_LIMIT))
    if content is None:
        raise _no_agent(target.url, response.status)
    return content


def lines_of(target: Target, path: str, query: Mapping[str, object], timeout: float) -> Iterator[bytes]:
    """
    The lines of an answer as they come, with their ends.

    Args:
        timeout: seconds for which nothing may come.
    Raises:
        BridgeError: as `ask` does, also while it is read.
    """
    asked = connection(target.url, timeout)
    with contextlib.closing(asked):
        with explained(target.url):
            response = _answer(asked, target, "GET", path, query)
        while True:
            with explained(target.url):
                line = response.readline(_LINE_LIMIT)
            if not line:
                return
            yield line


def _answer(
    asked: http.client.HTTPConnection,
    target: Target,
    method: str,
    path: str,
    query: Mapping[str, object] | None,
) -> http.client.HTTPResponse:
    parameters = {name: value for name, value in (query or {}).items() if value is not None}
    whole = f"{path}?{urlencode(parameters, errors='surrogateescape')}" if parameters else path
    asked.request(method, whole, headers=target.headers(path))
    response = asked.getresponse()
    if response.status >= HTTPStatus.BAD_REQUEST:
        raise _refusal(target.url, response.status, _object(response.read(ANSWER_LIMIT)))
    return response


@contextlib.contextmanager
def explained(url: str) -> Iterator[None]:
    """What fails between us and the agent at `url`, in words. Raises: UnavailableError."""
    try:
        yield
    except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last: a name no DNS can hold
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnavailableError(
            f"no agent answers at {url}: {reason}",
            "is it running? --url takes the address of its http.listen, or -c FILE finds it",
        ) from error


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(body)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _refusal(url: str, status: int, content: dict[str, Any] | None) -> BridgeError:
    if content is None or "error" not in content:
        return _no_agent(url, status)
    kind = UnavailableError if status in _UNAVAILABLE else BridgeError
    return kind(f"{url} refused: {escaped(str(content['error']))}", escaped(str(content.get("hint", ""))))


def _no_agent(url: str, status: int) -> UnavailableError:
    return UnavailableError(
        f"what answers at {url} is no inotify-bridge (HTTP {status})",
        "--url takes the address of http.listen",
    )


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
        raise _no_address() from None
    beyond = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in ("http", "https") or not parts.hostname or beyond or port == 0:
        raise _no_address()
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, port, timeout=timeout)


def _no_address() -> UsageError:
    """It is not repeated: a password may stand in it."""
    return UsageError(
        "--url is no address of an agent", "http://HOST:PORT, for example http://127.0.0.1:10477"
    )


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
