"""What exceptions of databases and drivers mean: a row is refused, or the database is not there now."""

from __future__ import annotations

from typing import Any, Final

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable

# SQLSTATE: data exception, integrity constraint, check option, program limit; raised by a trigger.
_REFUSING_CLASSES: Final = frozenset(("22", "23", "44", "54"))
_RAISED: Final = "P0001"
_REFUSING_TYPES: Final = frozenset(("DataError", "IntegrityError"))

_LONGEST: Final = 500

_ROOM: Final = "free space on the disk of the database"
_LOCKED: Final = "something holds a lock on it: end that, or wait"
_RIGHTS: Final = "give this user the rights: CREATE on the schema, or SELECT, INSERT and UPDATE on the tables"
_PASSWORD: Final = "check username, and password or password_file"
_THERE: Final = "make it, or correct the name"
_CERTIFICATE: Final = "check tls: ca_file, and the host name in url"

# By SQLSTATE, a class where it has two letters: (reason, hint, whether an operator has to act).
_STATES: Final[dict[str, tuple[str, str, bool]]] = {
    "28": ("auth", _PASSWORD, True),
    "3D": ("not_found", _THERE, True),
    "3F": ("not_found", _THERE, True),
    "42501": ("authorization", _RIGHTS, True),
    "42": ("not_found", "compare the tables with docs/sql.md", True),
    "25006": ("authorization", "it only reads: name the primary server", True),
    "53100": ("other", _ROOM, False),
    "53300": ("connection", "raise max_connections, or end others", False),
    "55P03": ("timeout", _LOCKED, False),
    "57014": ("timeout", _LOCKED, False),
    "40": ("other", "", False),
}
# Errors of connecting have no SQLSTATE: by words of libpq and of the server.
_WORDS: Final[tuple[tuple[str, tuple[str, str, bool]], ...]] = (
    ("password authentication failed", ("auth", _PASSWORD, True)),
    ("no password supplied", ("auth", _PASSWORD, True)),
    ("pg_hba.conf", ("auth", "let this user in: pg_hba.conf of the server", True)),
    ("Access denied", ("auth", _PASSWORD, True)),
    ("Unknown database", ("not_found", _THERE, True)),
    ("certificate", ("auth", _CERTIFICATE, True)),
    ("does not support SSL", ("auth", "let the server speak TLS, or leave tls out", True)),
    ("role ", ("auth", _PASSWORD, True)),
    ("database ", ("not_found", _THERE, True)),
    ("timeout", ("timeout", "", False)),
)
_SQLITE: Final[dict[str, tuple[str, str, bool]]] = {
    "SQLITE_BUSY": ("timeout", _LOCKED, False),
    "SQLITE_LOCKED": ("timeout", _LOCKED, False),
    "SQLITE_FULL": ("other", _ROOM, False),
    "SQLITE_READONLY": ("authorization", "let this user write the file and its directory", True),
    "SQLITE_CANTOPEN": ("not_found", "make its directory, and let this user write there", True),
    "SQLITE_NOTADB": ("other", "it is no SQLite database: name another file", True),
    "SQLITE_CORRUPT": ("other", "restore it from a backup, or move it away", True),
    "SQLITE_ERROR": ("not_found", "compare the tables with docs/sql.md", True),
    "SQLITE_IOERR": ("other", "check the disk", False),
}


def refusal(error: Exception) -> str | None:
    """
    Why a database, or the way to it, will never take a row.

    Args:
        error: what storing rows raised.
    Returns:
        Its words on one line, or None: it is nothing about the rows.
    """
    orig = _original(error)
    if isinstance(orig, ValueError | OverflowError):
        return _first_line(orig)
    state = _state(orig)
    if state:
        refused = state[:2] in _REFUSING_CLASSES or state == _RAISED
    else:
        refused = not _REFUSING_TYPES.isdisjoint(kind.__name__ for kind in type(orig).__mro__)
    return _words(orig) if refused else None


def explained(error: Exception, place: str) -> SinkUnavailable:
    """The same as an error of the sink: without values of rows, and without secrets."""
    orig = _original(error)
    words = _words(orig)
    reason, hint, act = _meaning(orig, words)
    kind = SinkMisconfigured if act else SinkUnavailable
    return kind(f"{place}: {words}", hint, reason)


def _meaning(orig: Any, words: str) -> tuple[str, str, bool]:
    state = _state(orig)
    for known in (state, state[:2]):
        if known in _STATES:
            return _STATES[known]
    name = getattr(orig, "sqlite_errorname", None) or ""
    for known in (name, "_".join(name.split("_")[:2])):
        if known in _SQLITE:
            return _SQLITE[known]
    if not state:
        found = next((meaning for part, meaning in _WORDS if part in words), None)
        if found is not None:
            return found
    return "connection", "", False


def _original(error: Exception) -> BaseException:
    """What the driver raised: SQLAlchemy's own text has the statement and its values."""
    orig = getattr(error, "orig", None)
    return orig if isinstance(orig, BaseException) else error


def _state(orig: Any) -> str:
    return getattr(orig, "sqlstate", None) or ""


def _words(orig: Any) -> str:
    """On one line and not long: PostgreSQL repeats the value that it refuses, whatever is in that."""
    primary = getattr(getattr(orig, "diag", None), "message_primary", None)
    if not primary:
        return _first_line(orig)
    return "".join(one if one.isprintable() else " " for one in primary[:_LONGEST])


def _first_line(error: BaseException) -> str:
    words = str(error).strip().splitlines()
    return words[0][:_LONGEST] if words else type(error).__name__
