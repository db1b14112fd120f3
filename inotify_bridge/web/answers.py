"""What a handler is asked, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple, Protocol, TypeAlias
from wsgiref.types import WSGIEnvironment

JSON: Final = "application/json; charset=utf-8"
NDJSON: Final = "application/x-ndjson; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"


class Request(NamedTuple):
    """
    What a handler may look at.

    Args:
        method: GET for HEAD too.
        path: decoded.
        query: parameters, each with all its values; bytes that are no UTF-8 as `os.fsdecode` brings them.
        environ: the WSGI environment.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    environ: WSGIEnvironment


class Stream(Protocol):
    """The parts of an answer that is made while it is sent."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None:
        """Nothing more is wanted. Called once, also where no part was asked for."""


class Response(NamedTuple):
    """
    What a handler answers.

    Args:
        stream: the parts of the body, in place of `body`.
    """

    status: HTTPStatus
    content_type: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    stream: Stream | None = None


Handler: TypeAlias = Callable[[Request], Response]


def json_response(status: HTTPStatus, content: object, *headers: tuple[str, str]) -> Response:
    """A JSON answer on one line, in ASCII: a lone surrogate in a driver's error message cannot break it."""
    return Response(status, JSON, json.dumps(content, separators=(",", ":")).encode() + b"\n", headers)


def refusal(status: HTTPStatus, error: str, hint: str, *headers: tuple[str, str]) -> Response:
    """An error for people and programs: what, and what to do."""
    return json_response(status, {"error": error, "hint": hint}, *headers)
