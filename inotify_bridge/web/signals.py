"""
Operator signals: what may be asked of the agent over HTTP, and the answers.

    POST /-/reload  /-/resync  /-/replay  /-/barrier     GET, POST /-/parked     GET /api/v1/tap

Everything is in the query. Whoever may ask was decided before: see `web.app`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Final, Protocol, TypedDict

from inotify_bridge.errors import BridgeError, ConfigError, StoreError, UnavailableError, UsageError
from inotify_bridge.tap import Tap
from inotify_bridge.units import parse_seconds
from inotify_bridge.web.answers import NDJSON, Handler, Request, Response, json_response, refusal

log = logging.getLogger(__name__)

WAIT_SECONDS: Final = 30.0
LONGEST_WAIT_SECONDS: Final = 600.0
QUIET_SECONDS: Final = 10.0
GLANCE_SECONDS: Final = 1.0
_ID: Final = "-"


class NotThere(BridgeError):
    """What was named is not there: a group, a sink, a directory."""


class Position(TypedDict):
    """A place in a group's stream."""

    epoch: str
    sequence: int


class ParkedMessage(TypedDict):
    """A message that a sink will never take."""

    group: str
    sink: str
    id: str  # of the message
    epoch: str
    sequence: int
    parked_at: str
    type: str  # kind of the event that was parked
    path: str | None  # as in events; None for what the stream says about itself
    reason: str
    detail: str


class Operator(Protocol):
    """
    What the HTTP server asks of the agent on an operator's behalf.

    Every method may be called from several threads at a time. All raise `NotThere` for a name that is none,
    and UnavailableError where the agent cannot do it now.
    """

    def groups(self) -> Sequence[str]:
        """The names of the watch groups."""

    def reload(self) -> None:
        """Read the configuration again. Raises: ConfigError, it was refused."""

    def resync(self, group: str, path: bytes | None) -> None:
        """Have a directory, or everything, compared with what was published. Returns at once."""

    def snapshot(self, group: str, timeout: float) -> str:
        """Begin a new epoch with a full snapshot; returns the epoch."""

    def replay(self, group: str, sequence: int, sink: str | None) -> Position:
        """Have messages sent again. Raises: ConfigError, there is no such message."""

    def barrier(self, group: str, timeout: float, sink: str | None, gone: Callable[[], bool]) -> Position:
        """
        Wait until what happened before is recorded, and confirmed by a sink where one is named.

        Args:
            gone: whether whoever asked has gone away, so that there is no more to wait for.
        """

    def parked(self, group: str | None) -> list[ParkedMessage]:
        """What is parked."""

    def retry_parked(self, group: str, sink: str | None, position: Position | None) -> int:
        """Publish the present state of the paths of parked messages; how many."""

    def drop_parked(self, group: str, sink: str | None, position: Position | None) -> int:
        """Forget parked messages; how many."""

    def tap(self, groups: Sequence[str], limit: int | None) -> Tap:
        """Open a tap; `close_tap` ends it."""

    def close_tap(self, tap: Tap) -> None:
        """Idempotent."""


class Signals:
    """
    The handlers. Called on threads of the server, several at a time.

    Args:
        operator: the agent.
    """

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self.handlers: Mapping[str, Mapping[str, Handler]] = {
            "/-/reload": {"POST": self._guarded(self._reload)},
            "/-/resync": {"POST": self._guarded(self._resync)},
            "/-/replay": {"POST": self._guarded(self._replay)},
            "/-/barrier": {"POST": self._guarded(self._barrier)},
            "/-/parked": {"GET": self._guarded(self._parked), "POST": self._guarded(self._settle)},
        }
        self.tap: Handler = self._guarded(self._tap)

    def _guarded(self, handler: Handler) -> Handler:
        """The handler, with the errors that are meant for people as answers."""

        def answer(request: Request) -> Response:
            try:
                if request.method == "POST":
                    # The query is from outside: `%r` leaves nothing in it that could break a line.
                    log.info("operator signal: %s %r", request.path, dict(request.query))
                return handler(request)
            except BridgeError as error:
                # What is wrong with a configuration has a line for each problem.
                return refusal(_status(error), "; ".join(error.message.splitlines()), error.hint)

        return answer

    def _reload(self, request: Request) -> Response:
        _only(request)
        self._operator.reload()
        return json_response(HTTPStatus.OK, {"reloaded": True})

    def _resync(self, request: Request) -> Response:
        _only(request, "group", "path", "snapshot", "timeout")
        group = self._group(request)
        if _flag(request, "snapshot"):
            if _one(request, "path"):
                raise UsageError("a snapshot is of the whole group", "leave out path, or snapshot")
            return json_response(HTTPStatus.OK, {"epoch": self._operator.snapshot(group, _timeout(request))})
        path = _one(request, "path")
        self._operator.resync(group, os.fsencode(path) if path else None)
        return json_response(HTTPStatus.ACCEPTED, {"resync": "requested"})

    def _replay(self, request: Request) -> Response:
        _only(request, "group", "from", "sink")
        group = self._group(request)
        sequence = _number(request, "from")
        if sequence is None:
            raise UsageError("from is missing", "the sequence of the first message to send again")
        return json_response(HTTPStatus.OK, self._operator.replay(group, sequence, _one(request, "sink")))

    def _barrier(self, request: Request) -> Response:
        _only(request, "group", "wait_sink", "timeout")
        group = self._group(request)
        passed = self._operator.barrier(group, _timeout(request), _one(request, "wait_sink"), _gone(request))
        return json_response(HTTPStatus.OK, passed)

    def _parked(self, request: Request) -> Response:
        _only(request, "group")
        return json_response(HTTPStatus.OK, {"parked": self._operator.parked(_one(request, "group"))})

    def _settle(self, request: Request) -> Response:
        _only(request, "group", "action", "sink", "id")
        group, action, sink = self._group(request), _one(request, "action"), _one(request, "sink")
        acts = {"retry": self._operator.retry_parked, "drop": self._operator.drop_parked}
        if action not in acts:
            raise UsageError(f"no action '{action or ''}'", "action is retry or drop")
        count = acts[action](group, sink, _position(request))
        return json_response(HTTPStatus.OK, {"action": action, "count": count})

    def _tap(self, request: Request) -> Response:
        _only(request, "group", "limit")
        if request.environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("none", "same-origin"):
            # A page of another site cannot read it, but it could keep all places taken.
            return refusal(HTTPStatus.FORBIDDEN, "not served to pages of other sites", "")
        limit = _number(request, "limit")
        if limit is not None and limit < 1:
            raise UsageError("limit is a number from 1 on")
        tap = self._operator.tap(request.query.get("group", ()), limit)
        return Response(HTTPStatus.OK, NDJSON, stream=TapStream(self._operator, tap, _gone(request)))

    def _group(self, request: Request) -> str:
        """The group that is named; the only one need not be."""
        name, names = _one(request, "group"), self._operator.groups()
        if name:
            return name
        if len(names) == 1:
            return names[0]
        raise UsageError("group is missing", f"one of {', '.join(sorted(names))}")


class TapStream:
    """
    The lines of a tap as the parts of an answer: one event a line, an empty one when it is quiet, and at the
    end an object with ``error`` and ``hint``, unless the limit was reached.
    """

    def __init__(self, operator: Operator, tap: Tap, gone: Callable[[], bool]) -> None:
        self._operator = operator
        self._tap = tap
        self._gone = gone
        self._lines = self._read()

    def __iter__(self) -> Iterator[bytes]:
        return self._lines

    def close(self) -> None:
        """The client has gone, or has everything."""
        self._lines.close()
        self._operator.close_tap(self._tap)

    def _read(self) -> Generator[bytes, None, None]:
        yield b"\n"  # with it the head of the answer goes out: the client knows that it listens
        quiet = 0.0
        while (bodies := self._tap.take(GLANCE_SECONDS)) is not None:
            if self._gone():
                return
            quiet = 0.0 if bodies else quiet + GLANCE_SECONDS
            if bodies or quiet >= QUIET_SECONDS:
                quiet = 0.0
                yield b"".join(body + b"\n" for body in bodies) or b"\n"
        if self._tap.why:
            last = {"error": self._tap.why, "hint": "begin again; /api/v1/status says where the stream is"}
            yield json.dumps(last).encode() + b"\n"


def _gone(request: Request) -> Callable[[], bool]:
    """Whether the client has closed its connection."""
    gone: Callable[[], bool] = request.environ["waitress.client_disconnected"]
    return gone


def _status(error: BridgeError) -> HTTPStatus:
    if isinstance(error, NotThere):
        return HTTPStatus.NOT_FOUND
    if isinstance(error, UsageError):
        return HTTPStatus.BAD_REQUEST
    if isinstance(error, ConfigError):
        return HTTPStatus.UNPROCESSABLE_ENTITY
    if isinstance(error, UnavailableError | StoreError):  # its disk may be full: later it may do
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.INTERNAL_SERVER_ERROR


def _only(request: Request, *known: str) -> None:
    """Raises: UsageError, a parameter is not known: what it asks for would silently not be done."""
    unknown = sorted(set(request.query) - set(known))
    if unknown:
        raise UsageError(f"unknown parameter {unknown[0]!r}", f"known: {', '.join(known) or 'none'}")


def _one(request: Request, name: str) -> str | None:
    values = request.query.get(name, [])
    if len(values) > 1:
        raise UsageError(f"{name} stands twice")
    return values[0] if values and values[0] else None


def _flag(request: Request, name: str) -> bool:
    value = _one(request, name)
    if value not in (None, "true", "false"):
        raise UsageError(f"{name} is true or false")
    return value == "true"


def _number(request: Request, name: str) -> int | None:
    value = _one(request, name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise UsageError(f"{name} is no number")
    return int(value)


def _timeout(request: Request) -> float:
    value = _one(request, "timeout")
    try:
        seconds = WAIT_SECONDS if value is None else parse_seconds(value)
    except ValueError as error:
        raise UsageError(f"timeout {error}") from None
    return min(seconds, LONGEST_WAIT_SECONDS)


def _position(request: Request) -> Position | None:
    """Of the message whose `id` is given."""
    value = _one(request, "id")
    if value is None:
        return None
    epoch, _, sequence = value.rpartition(_ID)
    with contextlib.suppress(ValueError):
        if epoch:
            return {"epoch": epoch, "sequence": int(sequence)}
    raise UsageError("id is none of a message", "`parked list` shows them")
