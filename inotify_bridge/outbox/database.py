"""Opening the database of one group: settings, schema, and what SQLite's errors mean to people."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Final

from inotify_bridge.errors import ConfigError, StoreError

SCHEMA_MAJOR: Final = 1

# What each minor version added; the first release of the major version had none of it. A release of the same
# major version runs on a newer minor one, so nothing here may take away or change a meaning.
MIGRATIONS: Final = (
    "CREATE TABLE roots (key BLOB PRIMARY KEY, file_system TEXT NOT NULL, inode TEXT NOT NULL)"
    " WITHOUT ROWID;",
    # Log files that are followed: how far each was read. What a state says is known to `lines` alone.
    "CREATE TABLE followed (id INTEGER PRIMARY KEY, state BLOB NOT NULL);",
)

# Enough for the inner pages of a million entries and one batch.
_WRITER_CACHE_KIB: Final = 16 * 1024
_STATEMENTS: Final = 256


def open_writer(path: Path, durable: bool) -> sqlite3.Connection:
    """
    The one connection that writes and checkpoints; makes the schema where the file is new.

    Args:
        durable: a commit is on disk when it returns. False only where nothing has to survive the process.
    Raises:
        StoreError: the file cannot be opened or is no database.
        ConfigError: it was written by a newer major version; it is left as it is.
    """
    with explained(path):
        _make_private(path)
        connection = _connect(path)
        try:
            _refuse_newer(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
            connection.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
            connection.execute("PRAGMA secure_delete = OFF")
            if not _has_schema(connection):
                _make_schema(connection)
            _migrate(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads. Raises: StoreError."""
    with explained(path):
        connection = _connect(path)
        connection.execute("PRAGMA query_only = ON")
    return connection


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns an error of SQLite into a StoreError that says which file and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        raise StoreError(f"state database {path}: {error}", _hint(code), _reason(code)) from error


def _make_private(path: Path) -> None:
    """
    A new file is this user's alone, and SQLite gives those beside it the same rights. A link is not followed.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600))
    except OSError as error:
        what = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        reason = "full" if error.errno == errno.ENOSPC else "other"
        raise StoreError(
            f"state database {path} cannot be opened: {what}",
            "check that its directory exists and that this user may write there",
            reason,
        ) from error


def _connect(path: Path) -> sqlite3.Connection:
    # Autocommit: every transaction here begins and ends in so many words. A connection is made by the thread
    # that starts the group and used by the recorder's alone, one after the other.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS)


def _has_schema(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone() is not None


def _refuse_newer(connection: sqlite3.Connection, path: Path) -> None:
    if not _has_schema(connection):
        return
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema_major'").fetchone()
    found = row[0] if row else 0
    if found > SCHEMA_MAJOR:
        raise ConfigError(
            f"state database {path} has schema version {found}, this release knows {SCHEMA_MAJOR}",
            "run the newer release, or give this one another state.dir",
        )


def _make_schema(connection: sqlite3.Connection) -> None:
    schema = (files(__package__) / "schema.sql").read_text("utf-8")
    connection.executescript(
        f"BEGIN IMMEDIATE; {schema}"
        f"INSERT INTO meta VALUES ('schema_major', {SCHEMA_MAJOR}), ('schema_minor', 0),"
        " ('source', ''), ('epoch', ''), ('last_sequence', 0); COMMIT;"
    )


def _migrate(connection: sqlite3.Connection) -> None:
    """Every step is a transaction of its own, so that a crash leaves one of the versions."""
    minor = connection.execute("SELECT value FROM meta WHERE key = 'schema_minor'").fetchone()[0]
    for number, step in enumerate(MIGRATIONS[minor:], minor + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {step} UPDATE meta SET value = {number} WHERE key = 'schema_minor'; COMMIT;"
        )


def damage(connection: sqlite3.Connection) -> str:
    """What is wrong with a database's pages, in SQLite's words; reads all of it. Raises: sqlite3.Error."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    return "" if found == "ok" else str(found)


def _reason(code: int | None) -> str:
    if code in (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC):
        return "fsync"
    return _REASONS.get((code or 0) & 0xFF, "other")


_REASONS: Final = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_IOERR: "io",
    sqlite3.SQLITE_CORRUPT: "corrupt",
    sqlite3.SQLITE_NOTADB: "corrupt",
}


def _hint(code: int | None) -> str:
    primary = (code or 0) & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return "free space on its file system: nothing is lost meanwhile, and nothing new is published"
    if primary in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY):
        return "check that its directory exists and that this user may write there"
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "it is set aside and a new one made when it is opened again, with a new epoch"
    if primary == sqlite3.SQLITE_IOERR:
        return "check the disk: the kernel log names the fault"
    return ""
