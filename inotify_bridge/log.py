"""
The log: the package's own logger, on stderr, in lines for people or for machines.

Names of files are hostile (CWE-117): whatever is logged, no control character, line break or escape sequence
reaches the terminal or the file, in either format.
"""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import time
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TextIO

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "console", "json"]

_ROOT: Final = "inotify_bridge"
_ROOM_SECONDS: Final = 1.0
"""How long a line waits for a stream that takes nothing. Every thread that logs waits with it."""

_PIECE: Final = select.PIPE_BUF // 4
"""Characters, of at most four bytes each, that a stream takes at once where poll(2) says so: pipe(7)."""

_PRIORITIES: Final = {"DEBUG": "<7>", "INFO": "<6>", "WARNING": "<4>", "ERROR": "<3>", "CRITICAL": "<2>"}
"""What the journal takes off a line, and for its priority: sd-daemon(3)."""

_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def escaped(text: str) -> str:
    """
    The text with everything that could break a line, move a cursor or hide written as ``\\n`` or ``\\x1b``.

    That is whatever `str.isprintable` does not let through: controls, line and paragraph separators, format
    characters (which turn the direction of text, or have no width), lone surrogates, private and unassigned
    characters; of the spaces all stay. A byte that is not UTF-8, as `os.fsdecode` brings it, is written as
    ``\\xff``.
    """
    return text if text.isprintable() else "".join(map(_escape, text))


def _escape(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: the raw byte is in the lower half
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def configure(level: Level = "info", format: Format = "auto", stream: TextIO | None = None) -> None:
    """
    Send the package's log to one stream, in place of where it went before.

    Args:
        format: ``console``, ``json``, or ``auto``: console on a terminal, else JSON.
        stream: stderr, unless given.
    """
    target = stream if stream is not None else sys.stderr
    as_json = format == "json" or (format == "auto" and not target.isatty())
    handler = _Handler(target)
    handler.setFormatter(JsonFormatter() if as_json else ConsoleFormatter())
    logger = logging.getLogger(_ROOT)
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


class _Handler(logging.StreamHandler[TextIO]):
    """
    Writes to a stream; one that is closed or full must not stop the agent, nor print a traceback.

    Lines that a terminal (Ctrl-S) or a pipe does not take are dropped, or broken off, and counted in a line
    of their own when it takes some again.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._dropped = 0
        self._torn = False
        self._priorities = _PRIORITIES if _goes_to_journal(stream) else {}

    def emit(self, record: logging.LogRecord) -> None:
        if self._dropped:
            words = "%d lines of the log were dropped: nobody took them"
            told = logging.LogRecord(_ROOT, logging.WARNING, "", 0, words, (self._dropped,), None)
            if self._put(told):
                self._dropped = 0
        if self._dropped or not self._put(record):
            self._dropped += 1

    def _put(self, record: logging.LogRecord) -> bool:
        """Write a line, in pieces that hold up nothing. Returns whether all of it was taken."""
        try:
            priority = self._priorities.get(record.levelname, "")
            line = "\n" * self._torn + priority + self.format(record) + self.terminator
            for start in range(0, len(line), _PIECE):
                if not self._has_room():
                    self._torn = self._torn or start > 0
                    return False
                self.stream.write(line[start : start + _PIECE])
                self.flush()
            self._torn = False
        except Exception:
            self.handleError(record)
        return True

    def _has_room(self) -> bool:
        """Whether a line can be written at once, or soon. True where that cannot be asked."""
        try:
            poll = select.poll()
            poll.register(self.stream.fileno(), select.POLLOUT)
            return bool(poll.poll(0 if self._dropped else _ROOM_SECONDS * 1000))
        except (OSError, ValueError):  # no descriptor, or closed
            return True

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError | ValueError):
            super().handleError(record)


def _goes_to_journal(stream: TextIO) -> bool:
    """Whether systemd reads it, and not a file or a pipe it was sent to since: systemd.exec(5)."""
    named = os.environ.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # no descriptor, or closed
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


class ConsoleFormatter(logging.Formatter):
    """One line a record: time, level, message, then the ``extra`` members as ``key=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, escaped."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        members = "".join(f" {key}={_quoted(value)}" for key, value in _extra(record).items())
        line = f"{clock} {record.levelname:<7} {_message(record, _name)}{members}"
        return escaped(line) + _traceback(self, record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (UTC), ``level``, ``logger``, ``message``, ``extra`` members."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, ASCII."""
        seconds, micros = divmod(int(record.created * 1_000_000), 1_000_000)
        line = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{micros:06d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": escaped(_message(record)),
            **{key: _safe(value) for key, value in _extra(record).items()},
        }
        if record.exc_info:
            line["exception"] = escaped(self.formatException(record.exc_info))
        return json.dumps(line)


def _message(record: logging.LogRecord, shown: Callable[[Any], Any] | None = None) -> str:
    """The message with its arguments, as `shown` has them; byte paths are decoded, not shown as b'…'."""
    shown = shown or _decoded
    arguments = record.args
    if isinstance(arguments, tuple):
        arguments = tuple(shown(value) for value in arguments)
    elif isinstance(arguments, Mapping):
        arguments = {key: shown(value) for key, value in arguments.items()}
    return str(record.msg) % arguments if arguments else str(record.msg)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: _decoded(value) for key, value in vars(record).items() if key not in _PLAIN}


def _decoded(value: Any) -> Any:
    return os.fsdecode(value) if isinstance(value, bytes) else value


def _name(value: Any) -> Any:
    """A name of a file cannot look like the words around it."""
    return _quoted(os.fsdecode(value)) if isinstance(value, bytes) else value


def _quoted(value: Any) -> Any:
    """Text in quotes where it could be taken for several members."""
    ambiguous = isinstance(value, str) and (not value or any(c in '="' or c.isspace() for c in value))
    return json.dumps(value, ensure_ascii=False) if ambiguous else value


def _safe(value: Any) -> Any:
    return value if isinstance(value, int | float | bool | None) else escaped(str(value))


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """The traceback below the line: its own line breaks stay, all else is escaped."""
    if not record.exc_info:
        return ""
    lines = formatter.formatException(record.exc_info).split("\n")
    return "".join(f"\n  {escaped(line)}" for line in lines)
