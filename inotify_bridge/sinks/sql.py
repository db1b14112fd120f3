"""
The sink for databases: events as rows, each stored exactly once.

A batch is one transaction: its rows, and how far the stream is stored with them. What is sent again is known
by its number and not stored twice, also when a connection was lost in the middle of a commit.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator, Sequence
from typing import Final

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks.base import ACCEPTED, Message, Newest, Outcome, SinkContext, Verdict
from inotify_bridge.sinks.registry import silence_driver, warn_insecure
from inotify_bridge.sinks.sql_drivers import Driver, driver
from inotify_bridge.sinks.sql_errors import explained
from inotify_bridge.sinks.sql_options import Family, SqlOptions
from inotify_bridge.sinks.sql_rows import LOG_KINDS, epoch_of, family_of, layout, rejected_layout
from inotify_bridge.sinks.sql_tables import Refused, TableWriter
from inotify_bridge.sinks.sql_watermark import NOTHING, Place, Watermark

_FAMILIES: Final[tuple[Family, ...]] = ("file", "log")

# SQLAlchemy gives its topmost logger a level of its own.
for _logger in ("sqlalchemy.pool", "sqlalchemy.engine", "sqlalchemy.dialects", "psycopg"):
    silence_driver(_logger)


class SqlSink:
    """
    Stores events in a database.

    Args:
        options: see `SqlOptions`.
        context: the (group, sink) pair it serves.
    """

    Options = SqlOptions

    def __init__(self, options: SqlOptions, context: SinkContext) -> None:
        if options.tls is not None and options.tls.insecure:
            warn_insecure(context.name, options.place)
        self._options = options
        self._context = context
        self._lock = threading.Lock()
        self._session: _Session | None = None

    @staticmethod
    def inspect(options: SqlOptions) -> SinkUnavailable | None:
        """See `inotify_bridge.sinks.base.Inspectable`: the directory of a SQLite file takes one."""
        if options.path is None:
            return None
        directory = options.path.parent
        if not directory.is_dir():
            code, hint, reason = errno.ENOENT, "make that directory", "not_found"
        elif not os.access(directory, os.W_OK | os.X_OK):
            code, hint, reason = errno.EACCES, "let this user write there", "authorization"
        else:
            return None
        return SinkMisconfigured(f"{options.place}: {os.strerror(code)}: {directory}", hint, reason)

    def connect(self) -> None:
        """
        Open the connection, make or check the tables, and read how far the stream is stored.

        Raises:
            SinkMisconfigured: a password, database, table, column or right that is missing.
            SinkUnavailable: not now.
        """
        self.close()
        session = _Session(self._options, self._context)
        with self._lock:
            self._session = session
        try:
            session.open()
        except SinkUnavailable:
            self.close()
            raise

    def publish(self, batch: Sequence[Message]) -> list[Outcome]:
        """
        Store what is not stored yet, in one transaction.

        Raises:
            SinkUnavailable: nothing is known about the batch: the next `connect` finds out.
        """
        return self._connected().store(batch) if batch else []

    def check(self) -> None:
        """Raises: SinkUnavailable, the connection has ended, or the file of the database is another one."""
        self._connected().check()

    def newest(self) -> Newest | None:
        """How far the stream is stored; None: nothing of it is."""
        epoch, sequence = self._connected().held
        return Newest(epoch, sequence, None) if (epoch, sequence) != NOTHING else None

    def close(self) -> None:
        """End the connection, interrupting what it does; idempotent, from any thread, at once."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.end()

    def _connected(self) -> _Session:
        session = self._session
        if session is None:
            raise SinkUnavailable(f"{self._options.place}: not connected")
        return session


class _Session:
    """One connection, from opening it to its end; `end` may come from any thread."""

    def __init__(self, options: SqlOptions, context: SinkContext) -> None:
        self.held: Place = NOTHING
        self._options = options
        self._driver: Driver = driver(options, context.client_id)
        self._watermark = Watermark(context, options.place)
        self._tables: dict[Family, TableWriter] = {}
        self._rejected: dict[Family, TableWriter] = {}
        self._connection: Connection | None = None
        self._busy = threading.Lock()
        self._ended = False
        self._late = False

    def open(self) -> None:
        """Connect, and make or check the tables. Raises: SinkUnavailable."""
        engine = create_engine(
            f"{self._driver.name}://",
            creator=self._driver.open,
            poolclass=NullPool,
            pool_reset_on_return=None,  # each transaction is ended where it is begun
            hide_parameters=True,
        )
        event.listen(engine, "begin", self._driver.begin)
        with self._working():
            self._connection = engine.connect()
            self._prepare(self._connection)

    def check(self) -> None:
        """Raises: SinkUnavailable: the connection has ended."""
        self._driver.check()

    def store(self, batch: Sequence[Message]) -> list[Outcome]:
        """See `SqlSink.publish`."""
        with self._working():
            connection = self._connection
            if connection is None:
                raise SinkUnavailable(f"{self._options.place}: closed")
            self._driver.check()
            new = [one for one in batch if (epoch_of(one), one.sequence) > self.held]
            aside, hopeless = self._store(connection, new)
        outcomes = [ACCEPTED] * len(batch)
        places = {one.sequence: place for place, one in enumerate(batch)} if aside or hopeless else {}
        for one in aside:
            outcomes[places[one.message.sequence]] = Outcome(Verdict.ACCEPTED, detail=one.reason or "")
        if hopeless is not None:
            place = places[hopeless.message.sequence]
            later = Outcome(Verdict.RETRY, "other", "it stands behind one that was refused")
            outcomes[place:] = [later] * (len(batch) - place)
            outcomes[place] = Outcome(Verdict.REJECTED, "other", hopeless.reason or "")
        return outcomes

    def end(self) -> None:
        """Close; where a batch is under way, interrupt it, and its thread closes."""
        self._ended = True
        if not self._close_if_ended():
            self._driver.interrupt()

    def _prepare(self, connection: Connection) -> None:
        place, create = self._options.place, self._options.create_tables
        with connection.begin():
            self._watermark.prepare(connection, create)
            for family in _FAMILIES:
                wanted, name = layout(self._options, family), self._options.table_of(family)
                if wanted is not None and name is not None:
                    self._tables[family] = TableWriter(wanted, place)
                    self._rejected[family] = TableWriter(rejected_layout(name), place)
                    self._tables[family].prepare(connection, create)
                    self._rejected[family].prepare(connection, create)
        with connection.begin():
            self.held = self._watermark.read(connection)

    def _store(
        self, connection: Connection, messages: Sequence[Message]
    ) -> tuple[list[Refused], Refused | None]:
        """
        One transaction. A message that not even the table of rejected ones takes ends the batch before it.

        Returns:
            What was refused by its own table and stands among the rejected; and that one, or None.
        """
        after = (epoch_of(messages[-1]), messages[-1].sequence) if messages else self.held
        with connection.begin() as transaction:
            self._watermark.move(connection, self.held, after)
            aside, hopeless = self._insert(connection, messages)
            if hopeless is not None:
                transaction.rollback()
        if hopeless is None:
            self.held = after
            return aside, None
        before = messages[: messages.index(hopeless.message)]
        aside, earlier = self._store(connection, before) if before else ([], None)
        return aside, earlier or hopeless

    def _insert(
        self, connection: Connection, messages: Sequence[Message]
    ) -> tuple[list[Refused], Refused | None]:
        aside: list[Refused] = []
        hopeless: list[Refused] = []
        for family, table in self._tables.items():
            own = [one for one in messages if family_of(one.kind) == family]
            taken = [one for one in own if self._is_row(family, one.kind)]
            refused = table.store(self._driver, connection, taken)
            aside += refused
            notices = [Refused(one, None) for one in own if one.kind in LOG_KINDS]
            hopeless += self._rejected[family].store_refused(self._driver, connection, refused + notices)
        return aside, min(hopeless, key=lambda one: one.message.sequence, default=None)

    def _is_row(self, family: Family, kind: str) -> bool:
        """Whether a table takes it: columns of files stay empty for what is about the stream."""
        if kind.startswith("stream."):
            return all(one.family is None for one in self._options.columns_of(family).values())
        return kind not in LOG_KINDS

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """
        For as long as a commit may take; closes the connection where `end` came meanwhile.

        Raises:
            SinkUnavailable: for what the database or its driver raised inside.
        """
        timer = threading.Timer(self._options.commit_timeout, self._expire)
        timer.daemon, timer.name = True, "commit-timeout"
        try:
            with self._busy:
                timer.start()
                yield
        except (SQLAlchemyError, OSError, self._driver.error) as error:
            raise self._unavailable(error) from error
        finally:
            timer.cancel()
            self._close_if_ended()

    def _expire(self) -> None:
        self._late = True
        self._driver.interrupt()

    def _unavailable(self, error: Exception) -> SinkUnavailable:
        place, seconds = self._options.place, self._options.commit_timeout
        if self._ended:
            return SinkUnavailable(f"{place}: closed")
        if self._late:
            hint = "look what holds the database up, or raise commit_timeout"
            return SinkUnavailable(f"{place}: no commit within {seconds:g} s", hint, "timeout")
        return explained(error, place)

    def _close_if_ended(self) -> bool:
        """Whether nothing is under way any more. Whoever holds the lock looks here when it has let go."""
        if not self._ended or not self._busy.acquire(blocking=False):
            return False
        try:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
        except (SQLAlchemyError, OSError, self._driver.error):
            pass  # the connection is gone already
        finally:
            self._driver.close()
            self._busy.release()
        return True
