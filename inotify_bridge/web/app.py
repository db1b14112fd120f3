"""
The WSGI application: who may ask, and which handler answers.

A request passes the check of its Host, finds its route, passes the check of its token where there is one,
and its handler makes the answer. To add an endpoint, write a handler and add one line to `App.routes`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import gzip
import hmac
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted

from inotify_bridge.web.answers import (
    HTML,
    TEXT,
    Handler,
    Request,
    Response,
    Stream,
    json_response,
    refusal,
)
from inotify_bridge.web.page import CONTENT_SECURITY_POLICY, status_page
from inotify_bridge.web.signals import Operator, Signals
from inotify_bridge.web.view import AgentView

log = logging.getLogger(__name__)

SECURITY_HEADERS: Final = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)

WAITING: Final = 16
"""Operator signals that may wait for the agent at a time, each on a worker: barriers, snapshots, reloads."""

TAPS: Final = 8
"""Taps at a time. They need no token on loopback, so that signals have places of their own."""

_REALM: Final = "inotify-bridge"

FIELDS: Final = 32
"""Parameters of a query."""

_NO_VERSION: Final = re.compile(r"\bversion=(?![0-9]{1,4}(?:\.[0-9]{1,4}){0,3}\s*(?:[;,]|$))")


class Access(NamedTuple):
    """
    Who may ask.

    Args:
        hosts: names that a Host header may have, or None where any will do (the server is meant to be
            reached by whatever name the network gives it).
        needs_token: whether pages and the API need the bearer token.
        token: the token in force, or None where none is configured. Asked at every request: it may rotate.
        trusted: whether operator signals need no token, because only the operator can connect.
    """

    hosts: frozenset[str] | None
    needs_token: bool
    token: Callable[[], str | None]
    trusted: bool = False


class Route(NamedTuple):
    """
    One path.

    Args:
        methods: handler by method; HEAD is answered by GET.
        open: whether it is answered without a token wherever the server listens.
        guarded: whether it needs the token wherever the server listens, but on the admin socket.
        places: for answers that may take long: one of them is taken.
        asks: whether it looks at the query.
    """

    methods: Mapping[str, Handler]
    open: bool = False
    guarded: bool = False
    places: Places | None = None
    asks: bool = True


class Places:
    """
    Bounds how many wait at a time.

    Args:
        count: how many may.
        noun: what they are, in the plural.
    """

    def __init__(self, count: int, noun: str) -> None:
        self.full = f"{count} {noun} wait already"
        self._free = threading.BoundedSemaphore(count)

    def take(self) -> bool:
        """Whether there was one; returns at once."""
        return self._free.acquire(blocking=False)

    def free(self) -> None:
        """After `take`."""
        self._free.release()


class App:
    """
    Answers requests, on any thread.

    Args:
        view: the agent.
        registry: what `/metrics` exposes.
        access: who may ask.
        operator: carries out operator signals; None: there are none, nor taps.
    """

    def __init__(
        self, view: AgentView, registry: CollectorRegistry, access: Access, operator: Operator | None = None
    ) -> None:
        self._view = view
        self._access = access
        self._registry = registry
        self.routes: dict[str, Route] = {
            "/": Route({"GET": self._page}),
            "/api/v1/status": Route({"GET": self._status}),
            "/metrics": Route({"GET": self._metrics}, open=True),
            "/livez": _probe(view.live),
            "/readyz": _probe(view.ready),
            "/startupz": _probe(view.started),
        }
        if operator is not None:
            signals = Signals(operator)
            self.routes["/api/v1/tap"] = Route({"GET": signals.tap}, places=Places(TAPS, "taps"))
            places = Places(WAITING, "requests")
            for path, methods in signals.handlers.items():
                self.routes[path] = Route(methods, guarded=True, places=places)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """WSGI."""
        response = self._answer(environ)
        headers = [("Content-Type", response.content_type)]
        if response.stream is None:
            headers.append(("Content-Length", str(len(response.body))))
        start_response(
            f"{response.status.value} {response.status.phrase}",
            [*headers, *response.headers, *SECURITY_HEADERS],
        )
        if environ["REQUEST_METHOD"] == "HEAD":
            if response.stream is not None:
                response.stream.close()
            return []
        return [response.body] if response.stream is None else response.stream

    def _answer(self, environ: WSGIEnvironment) -> Response:
        try:
            return self._refused_host(environ) or self._routed(environ)
        except Exception:
            # The agent behind the view is the product, this page only its window: it may break alone.
            log.exception("http: cannot answer a request")
            return refusal(
                HTTPStatus.INTERNAL_SERVER_ERROR, "internal error", "the agent's log says what went wrong"
            )

    def _refused_host(self, environ: WSGIEnvironment) -> Response | None:
        """
        Against DNS rebinding: a script of another site, whose name was made to point at this machine, asks
        with that site's name as Host. A request without one comes from no browser.
        """
        hosts, given = self._access.hosts, environ.get("HTTP_HOST")
        if hosts is None or given is None or host_name(given) in hosts:
            return None
        return refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            "not served under this name",
            "ask for http://127.0.0.1 or http://localhost",
        )

    def _routed(self, environ: WSGIEnvironment) -> Response:
        path = environ.get("PATH_INFO") or "/"
        route = self.routes.get(path)
        if route is None:
            return refusal(HTTPStatus.NOT_FOUND, "no such path", "see /, /metrics and /api/v1/status")
        if not route.open and (refused := self._refused_token(environ, route.guarded)):
            return refused
        method = environ["REQUEST_METHOD"]
        handler = route.methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = ", ".join([*route.methods, *(["HEAD"] if "GET" in route.methods else [])])
            return refusal(
                HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed", f"use {allowed}", ("Allow", allowed)
            )
        try:
            query = _query(environ) if route.asks else {}
        except ValueError:
            return refusal(HTTPStatus.BAD_REQUEST, "the query cannot be read", f"{FIELDS} parameters at most")
        request = Request("GET" if method == "HEAD" else method, path, query, environ)
        return handler(request) if route.places is None else self._waiting(handler, request, route.places)

    @staticmethod
    def _waiting(handler: Handler, request: Request, places: Places) -> Response:
        """Where too many wait already the answer comes at once: probes and metrics need their workers."""
        if not places.take():
            return refusal(
                HTTPStatus.SERVICE_UNAVAILABLE, places.full, "try again later", ("Retry-After", "5")
            )
        try:
            response = handler(request)
        except BaseException:
            places.free()
            raise
        if response.stream is None:
            places.free()
            return response
        return response._replace(stream=_Held(response.stream, places.free))

    def _refused_token(self, environ: WSGIEnvironment, guarded: bool) -> Response | None:
        if not self._access.needs_token and (self._access.trusted or not guarded):
            return None
        token = self._access.token()
        if not token:
            loopback = "ask over http.admin_socket" if guarded else "let http.listen be a loopback address"
            return refusal(
                HTTPStatus.FORBIDDEN,
                "operator signals are not served without a token"
                if guarded
                else "not served without a token to hosts other than this one",
                f"set http.admin_token_file, or {loopback}",
            )
        given = given_token(environ.get("HTTP_AUTHORIZATION", ""), password=not guarded)
        if given is not None and hmac.compare_digest(given, token.encode()):
            return None
        return refusal(
            HTTPStatus.UNAUTHORIZED,
            "wrong token" if "HTTP_AUTHORIZATION" in environ else "a token is needed",
            "send Authorization: Bearer with the content of http.admin_token_file",
            ("WWW-Authenticate", f'Bearer realm="{_REALM}"'),
            *([] if guarded else [("WWW-Authenticate", f'Basic realm="{_REALM}", charset="UTF-8"')]),
        )

    def _page(self, _: Request) -> Response:
        return Response(HTTPStatus.OK, HTML, status_page(self._view.status()))

    def _status(self, _: Request) -> Response:
        return json_response(HTTPStatus.OK, self._view.status())

    def _metrics(self, request: Request) -> Response:
        names = request.query.get("name[]")
        accept = request.environ.get("HTTP_ACCEPT", "")
        if _NO_VERSION.search(accept):  # the encoders would stumble over it
            return refusal(
                HTTPStatus.BAD_REQUEST, "Accept has a version that is none", "such as version=1.0.0"
            )
        encode, content_type = choose_encoder(accept)
        body = encode(self._registry.restricted_registry(names) if names else self._registry)
        headers = [("Vary", "Accept, Accept-Encoding")]
        if gzip_accepted(request.environ.get("HTTP_ACCEPT_ENCODING", "")):
            body = gzip.compress(body, compresslevel=5, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        return Response(HTTPStatus.OK, content_type, body, tuple(headers))


class _Held:
    """A stream that frees its place when it is closed."""

    def __init__(self, stream: Stream, free: Callable[[], None]) -> None:
        self._stream = stream
        self._free = free

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        """See `answers.Stream`."""
        try:
            self._stream.close()
        finally:
            self._free()


def _probe(ask: Callable[[], list[str]]) -> Route:
    return Route({"GET": lambda _: probe(ask())}, open=True, asks=False)


def _query(environ: WSGIEnvironment) -> dict[str, list[str]]:
    """Raises: ValueError, there is too much of it."""
    return parse_qs(
        environ.get("QUERY_STRING", ""),
        keep_blank_values=True,
        errors="surrogateescape",
        max_num_fields=FIELDS,
    )


def given_token(authorization: str, password: bool) -> bytes | None:
    """
    The token of an Authorization header; None where there is none.

    Args:
        authorization: Latin-1, as WSGI brings it.
        password: whether it may also come as the password of the scheme Basic, with any user: browsers send
            that by themselves once they have asked for it. So nothing that changes anything may allow it: the
            page of another site could have it done.
    """
    scheme, _, given = authorization.partition(" ")
    content = given.strip().encode("latin-1")
    if scheme.lower() == "bearer":
        return content
    if password and scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error):
            _, colon, secret = base64.b64decode(content, validate=True).partition(b":")
            return secret if colon else None
    return None


def probe(problems: list[str]) -> Response:
    """200 and ``ok``, or 503 and the problems, one a line."""
    if not problems:
        return Response(HTTPStatus.OK, TEXT, b"ok\n")
    lines = (" ".join(problem.splitlines()) for problem in problems)
    body = "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")
    return Response(HTTPStatus.SERVICE_UNAVAILABLE, TEXT, body)


def host_name(host: str) -> str:
    """The name or address of a Host header, without port and brackets, in lower case; empty if it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""
