"""
The databases that a sink can write to: how each is opened, interrupted, looked after and filled.

SQLAlchemy makes the tables and runs the few statements around a batch. The rows themselves take the fastest
way that the driver has; `benchmarks/sql.py` measures it beside others.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sqlite3
import ssl
from collections.abc import Sequence
from typing import Any, Final, Protocol

from sqlalchemy import Connection, Table

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks.registry import import_driver
from inotify_bridge.sinks.sql_options import SqlOptions
from inotify_bridge.sinks.sql_rows import Value

LOCK_SECONDS: Final = 5.0
"""How long a lock of others is waited for, before that is told; the relay tries again."""
_ABANDONED_SECONDS: Final = 60
"""A server ends a transaction of ours that says nothing for so long: it may be cut off, and holds locks."""

_STATEMENT_ROWS: Final = 100

Rows = Sequence[Sequence[Value]]


class Driver(Protocol):
    """One kind of database. Used by the relay's thread, `interrupt` by any."""

    name: str
    """Of the dialect and its driver, for SQLAlchemy."""
    error: type[Exception]
    """What all exceptions of the driver are."""

    def open(self) -> Any:
        """
        A new connection of the driver.

        Raises:
            SinkMisconfigured: it never could be opened like this.
            Exception: the driver's own.
        """

    def begin(self, connection: Connection) -> None:
        """Say that a transaction begins, where SQLAlchemy leaves that to others."""

    def check(self) -> None:
        """Raises: SinkUnavailable: the connection has ended, or leads to another file now."""

    def load(self, connection: Connection, table: Table, rows: Rows) -> None:
        """Insert rows, one value a column of the table, in their order. Raises: the driver's exceptions."""

    def interrupt(self) -> None:
        """End what the connection does now; it cannot be used afterwards. From any thread, at once."""

    def close(self) -> None:
        """Let go of what is kept beside the connection. Not while that is used."""


class SqliteDriver:
    """
    A file. Several connections of this process may write it in turn, and others read it meanwhile.

    The mode of its journal stays as it is. Each commit is on disk when it returns (`synchronous=EXTRA`: with
    the journal that SQLite uses by default FULL leaves the deletion of the journal unsynced).
    """

    name = "sqlite"
    error: type[Exception] = sqlite3.Error

    def __init__(self, options: SqlOptions) -> None:
        assert options.path is not None
        self._path = options.path
        self._place = options.place
        self._create = options.create_tables
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)

    def open(self) -> sqlite3.Connection:
        """See `Driver.open`."""
        if self._create:
            # Not by SQLite, which lets everybody read it.
            with contextlib.suppress(FileExistsError, OSError):
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o640))
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=LOCK_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        self._connection = connection
        found = os.stat(self._path)
        self._identity = (found.st_dev, found.st_ino)
        connection.execute("PRAGMA synchronous=EXTRA")
        return connection

    def begin(self, connection: Connection) -> None:
        """Take the lock for writing at once: one that is only asked for later can be refused."""
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def check(self) -> None:
        """The file still has its name: what is written to one that was removed is lost."""
        try:
            found = os.stat(self._path)
        except OSError as error:
            raise SinkUnavailable(f"{self._place}: the file is gone", reason="not_found") from error
        if (found.st_dev, found.st_ino) != self._identity:
            raise SinkUnavailable(f"{self._place}: the file was replaced", reason="not_found")

    def load(self, connection: Connection, table: Table, rows: Rows) -> None:
        """
        By statements of many rows. Python's module gives up the interpreter's lock at each step of a
        statement, and gets it back only when another busy thread lets go.
        """
        names, target = _insertion(connection, table)
        marks = f"({', '.join('?' * len(table.columns))})"
        cursor = connection.connection.cursor()
        try:
            for start in range(0, len(rows), _STATEMENT_ROWS):
                part = rows[start : start + _STATEMENT_ROWS]
                many = ", ".join([marks] * len(part))
                values = [value for row in part for value in row]
                cursor.execute(f"INSERT INTO {target} ({names}) VALUES {many}", values)
        finally:
            cursor.close()

    def interrupt(self) -> None:
        """See `Driver.interrupt`."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed
                self._connection.interrupt()

    def close(self) -> None:
        """See `Driver.close`."""
        self._connection = None


class _Server:
    """What the drivers of servers share: a socket."""

    def __init__(self, options: SqlOptions, client_id: str) -> None:
        self._options = options
        self._client_id = client_id
        self._socket: socket.socket | None = None

    def begin(self, connection: Connection) -> None:
        """See `Driver.begin`: SQLAlchemy and the driver do."""

    def check(self) -> None:
        """Whether the other side has ended the connection, which the kernel knows."""
        own = self._socket
        if own is None:
            raise SinkUnavailable(f"{self._options.place}: not connected")
        poll = select.poll()
        poll.register(own, select.POLLRDHUP)
        if poll.poll(0):
            raise SinkUnavailable(f"{self._options.place}: the server has closed the connection")

    def interrupt(self) -> None:
        """Shut the socket down, which wakes whoever waits for it."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """See `Driver.close`."""
        if self._socket is not None:
            self._socket.close()

    def _keep(self, descriptor: int) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = socket.socket(fileno=os.dup(descriptor))


class PostgresqlDriver(_Server):
    """PostgreSQL by psycopg 3; rows by COPY."""

    name = "postgresql+psycopg"

    def begin(self, connection: Connection) -> None:
        """Constraints that wait for the commit would refuse it as a whole, and not say which row."""
        connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")

    def __init__(self, options: SqlOptions, client_id: str) -> None:
        super().__init__(options, client_id)
        self._library: Any = import_driver("psycopg", "url: postgresql://")
        self.error = self._library.Error

    def open(self) -> Any:
        """See `Driver.open`."""
        options = self._options
        connection = self._library.connect(
            host=options.host,
            port=options.port,
            dbname=options.database,
            user=options.username or None,
            password=options.read_password(),
            connect_timeout=max(2, round(options.connect_timeout)),
            application_name=self._client_id[:63],
            client_encoding="utf8",
            options=f"-c lock_timeout={round(LOCK_SECONDS * 1000)} -c timezone=UTC -c synchronous_commit=on "
            f"-c idle_in_transaction_session_timeout={_ABANDONED_SECONDS * 1000}",
            keepalives_idle=30,
            tcp_user_timeout=_ABANDONED_SECONDS * 1000,
            **self._tls(),
        )
        self._keep(connection.fileno())
        return connection

    def load(self, connection: Connection, table: Table, rows: Rows) -> None:
        """By COPY."""
        names, target = _insertion(connection, table)
        own: Any = connection.connection.driver_connection
        statement = f"COPY {target} ({names}) FROM STDIN"
        with own.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)

    def _tls(self) -> dict[str, str]:
        tls = self._options.tls
        if tls is None:
            return {"sslmode": "prefer"}
        files = {"sslrootcert": tls.ca_file, "sslcert": tls.cert_file, "sslkey": tls.key_file}
        mode = {"sslmode": "require" if tls.insecure else "verify-full"}
        return mode | {name: file for name, file in files.items() if file}


class MysqlDriver(_Server):
    """MySQL and MariaDB by PyMySQL, which writes many rows as one statement."""

    name = "mysql+pymysql"

    def __init__(self, options: SqlOptions, client_id: str) -> None:
        super().__init__(options, client_id)
        self._library: Any = import_driver("pymysql", "url: mysql://")
        self.error = self._library.Error

    def open(self) -> Any:
        """See `Driver.open`."""
        options = self._options
        where = {"unix_socket": options.host} if options.host.startswith("/") else {"host": options.host}
        connection = self._library.connect(
            **where,
            client_flag=self._library.constants.CLIENT.FOUND_ROWS,
            port=options.port,
            database=options.database,
            user=options.username or None,
            password=options.read_password() or "",
            charset="utf8mb4",
            connect_timeout=max(1, round(options.connect_timeout)),
            init_command=f"SET SESSION innodb_lock_wait_timeout={round(LOCK_SECONDS)}, time_zone='+00:00', "
            f"lock_wait_timeout={round(LOCK_SECONDS)}, sql_mode='STRICT_ALL_TABLES'",
            ssl=self._tls(),
        )
        self._keep(connection._sock.fileno())
        return connection

    def load(self, connection: Connection, table: Table, rows: Rows) -> None:
        """By the driver's executemany."""
        names, target = _insertion(connection, table)
        marks = ", ".join(["%s"] * len(table.columns))
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(f"INSERT INTO {target} ({names}) VALUES ({marks})", rows)
        finally:
            cursor.close()

    def _tls(self) -> ssl.SSLContext | None:
        tls = self._options.tls
        if tls is None:
            return None
        try:
            context = ssl.create_default_context(cafile=tls.ca_file)
            if tls.cert_file:
                context.load_cert_chain(tls.cert_file, tls.key_file)
        except (OSError, ValueError) as error:
            raise SinkMisconfigured(
                f"{self._options.place}: TLS files cannot be used: {error}", "check tls", "auth"
            ) from error
        if tls.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def driver(options: SqlOptions, client_id: str) -> Driver:
    """The one for a database."""
    if options.dialect == "sqlite":
        return SqliteDriver(options)
    return (PostgresqlDriver if options.dialect == "postgresql" else MysqlDriver)(options, client_id)


def _insertion(connection: Connection, table: Table) -> tuple[str, str]:
    """The names of the columns, and of the table, quoted where it needs that."""
    quoted = connection.dialect.identifier_preparer
    return ", ".join(quoted.quote(column.name) for column in table.columns), quoted.format_table(table)
