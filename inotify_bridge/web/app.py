"""
The WSGI application: who may ask, and which handler answers.

A request passes the check of its Host, finds its route, passes the check of its token where there is one,
and its handler makes the answer. To add an endpoint, write a handler and add one line to `App.routes`.
"""

from __future__ import annotations

import gzip
import hmac
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import parse_qs, urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted

from inotify_bridge.web.page import CONTENT_SECURITY_POLICY, status_page
from inotify_bridge.web.view import AgentView

log = logging.getLogger(__name__)

JSON: Final = "application/json; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"

SECURITY_HEADERS: Final = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)


class Request(NamedTuple):
    """
    What a handler may look at.

    Args:
        method: GET for HEAD too.
        path: decoded.
        query: parameters, each with all its values.
        environ: the WSGI environment.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    environ: WSGIEnvironment


class Response(NamedTuple):
    """What a handler answers."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


Handler: TypeAlias = Callable[[Request], Response]


class Access(NamedTuple):
    """
    Who may ask.

    Args:
        hosts: names that a Host header may have, or None where any will do (the server is meant to be
            reached by whatever name the network gives it).
        needs_token: whether pages and the API need the bearer token.
        token: the token in force, or None where none is configured. Asked at every request: it may rotate.
    """

    hosts: frozenset[str] | None
    needs_token: bool
    token: Callable[[], str | None]


class Route(NamedTuple):
    """
    One path.

    Args:
        methods: handler by method; HEAD is answered by GET.
        open: whether it is answered without a token wherever the server listens.
    """

    methods: Mapping[str, Handler]
    open: bool = False


def json_response(status: HTTPStatus, content: object, *headers: tuple[str, str]) -> Response:
    """A JSON answer on one line, in ASCII: a lone surrogate in a driver's error message cannot break it."""
    return Response(status, JSON, json.dumps(content, separators=(",", ":")).encode() + b"\n", headers)


def refusal(status: HTTPStatus, error: str, hint: str, *headers: tuple[str, str]) -> Response:
    """An error for people and programs: what, and what to do."""
    return json_response(status, {"error": error, "hint": hint}, *headers)


class App:
    """
    Answers requests, on any thread.

    Args:
        view: the agent.
        registry: what `/metrics` exposes.
        access: who may ask.
    """

    def __init__(self, view: AgentView, registry: CollectorRegistry, access: Access) -> None:
        self._view = view
        self._access = access
        self._registry = registry
        self.routes: dict[str, Route] = {
            "/": Route({"GET": self._page}),
            "/api/v1/status": Route({"GET": self._status}),
            "/metrics": Route({"GET": self._metrics}, open=True),
            "/livez": Route({"GET": lambda _: probe(view.live())}, open=True),
            "/readyz": Route({"GET": lambda _: probe(view.ready())}, open=True),
            "/startupz": Route({"GET": lambda _: probe(view.started())}, open=True),
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """WSGI."""
        response = self._answer(environ)
        headers = [("Content-Type", response.content_type), ("Content-Length", str(len(response.body)))]
        start_response(
            f"{response.status.value} {response.status.phrase}",
            [*headers, *response.headers, *SECURITY_HEADERS],
        )
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [response.body]

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
        if not route.open and (refused := self._refused_token(environ)):
            return refused
        method = environ["REQUEST_METHOD"]
        handler = route.methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = ", ".join([*route.methods, *(["HEAD"] if "GET" in route.methods else [])])
            return refusal(
                HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed", f"use {allowed}", ("Allow", allowed)
            )
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True, max_num_fields=32)
        return handler(Request("GET" if method == "HEAD" else method, path, query, environ))

    def _refused_token(self, environ: WSGIEnvironment) -> Response | None:
        if not self._access.needs_token:
            return None
        token = self._access.token()
        if not token:
            return refusal(
                HTTPStatus.FORBIDDEN,
                "not served without a token to hosts other than this one",
                "set http.admin_token_file, or let http.listen be a loopback address",
            )
        scheme, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        # The header is Latin-1 by WSGI; bytes on both sides, because compare_digest refuses non-ASCII text.
        same = hmac.compare_digest(given.strip().encode("latin-1"), token.encode())
        if scheme.lower() == "bearer" and same:
            return None
        return refusal(
            HTTPStatus.UNAUTHORIZED,
            "wrong token" if scheme else "a token is needed",
            "send Authorization: Bearer with the content of http.admin_token_file",
            ("WWW-Authenticate", 'Bearer realm="inotify-bridge"'),
        )

    def _page(self, _: Request) -> Response:
        return Response(HTTPStatus.OK, HTML, status_page(self._view.status()))

    def _status(self, _: Request) -> Response:
        return json_response(HTTPStatus.OK, self._view.status())

    def _metrics(self, request: Request) -> Response:
        names = request.query.get("name[]")
        encode, content_type = choose_encoder(request.environ.get("HTTP_ACCEPT", ""))
        body = encode(self._registry.restricted_registry(names) if names else self._registry)
        headers = [("Vary", "Accept, Accept-Encoding")]
        if gzip_accepted(request.environ.get("HTTP_ACCEPT_ENCODING", "")):
            body = gzip.compress(body, compresslevel=5, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        return Response(HTTPStatus.OK, content_type, body, tuple(headers))


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
