"""The tables of a sink: made where they are absent, checked where they are there, and filled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, MetaData, Table, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import JSON, TIMESTAMP

from inotify_bridge.errors import SinkMisconfigured
from inotify_bridge.sinks.base import Message
from inotify_bridge.sinks.sql_drivers import Driver
from inotify_bridge.sinks.sql_errors import refusal
from inotify_bridge.sinks.sql_rows import Entry, Layout, Value, converter, mysql_time, rejected_values


class Refused(NamedTuple):
    """
    A message that has no row of its own.

    Args:
        message: as it came.
        reason: why the database will never take it, on one line; None: it says itself why it is none.
    """

    message: Message
    reason: str | None


class TableWriter:
    """
    One table with the columns that are filled.

    Args:
        layout: its columns and their values.
        place: the database, for messages.
    """

    def __init__(self, layout: Layout, place: str) -> None:
        self._layout = layout
        self._place = place
        self._table = Table(layout.name, MetaData(), *layout.columns(), schema=layout.schema)
        self._converters: list[Callable[[Any], Value]] | None = None

    def prepare(self, connection: Connection, create: bool) -> None:
        """
        Make the table, or look whether it has the columns.

        Args:
            create: whether it may be made.
        Raises:
            SinkMisconfigured: it is not there; or it lacks a column, or has one that may not stay empty.
            DBAPIError: the database's own.
        """
        make(connection, self._table, create, self._place)
        found = {
            one["name"]: one
            for one in inspect(connection).get_columns(self._layout.name, self._layout.schema)
        }
        self._check(found)
        dialect = connection.dialect.name
        if not self._layout.final:
            wanted = zip(self._layout.names, self._layout.types, strict=True)
            # MariaDB calls a column of JSON one of text, and refuses other text. SQLite has times as text.
            own = (JSON, TIMESTAMP) if dialect == "sqlite" else (JSON,)
            kinds = [kind if isinstance(kind, own) else found[name]["type"] for name, kind in wanted]
            self._converters = [converter(kind, dialect) for kind in kinds]
        elif dialect in ("mysql", "mariadb"):
            times = [isinstance(one, TIMESTAMP) for one in self._layout.types]
            self._converters = [mysql_time if time else _same for time in times]

    def store(self, driver: Driver, connection: Connection, messages: Sequence[Message]) -> list[Refused]:
        """
        Insert what the table takes.

        Nothing but the rows is kept of what is read: thousands of envelopes at once cost as much in
        collections of garbage as to read them.

        Returns:
            What it refuses, in order.
        Raises:
            Exception: of SQLAlchemy or the driver: it is nothing about single rows.
        """
        rows: list[tuple[Value, ...]] = []
        fitting: list[Message] = []
        refused: list[Refused] = []
        for message in messages:
            try:
                rows.append(self._row(Entry.of(message)))
                fitting.append(message)
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
                refused.append(Refused(message, said))
        refused += self._load(driver, connection, fitting, rows)
        return refused

    def store_refused(
        self, driver: Driver, connection: Connection, refused: Sequence[Refused]
    ) -> list[Refused]:
        """The same for what another table refused, where this one is the table of rejected ones."""
        rows = [rejected_values(Entry.of(one.message), one.reason) for one in refused]
        if self._converters is not None:
            rows = [self._converted(row) for row in rows]
        return self._load(driver, connection, [one.message for one in refused], rows)

    def _row(self, entry: Entry) -> tuple[Value, ...]:
        values = self._layout.values(entry)
        return values if self._converters is None else self._converted(values)

    def _converted(self, values: Sequence[Any]) -> tuple[Value, ...]:
        assert self._converters is not None
        fit: list[Value] = []
        try:
            for convert, one in zip(self._converters, values, strict=True):
                fit.append(convert(one))
        except ValueError as error:
            raise ValueError(f"column '{self._layout.names[len(fit)]}': {error}") from None
        return tuple(fit)

    def _load(
        self,
        driver: Driver,
        connection: Connection,
        messages: Sequence[Message],
        rows: Sequence[tuple[Value, ...]],
    ) -> list[Refused]:
        """All at once; where that is refused, by halves, until the rows are found for which it is."""
        if not rows:
            return []
        savepoint = connection.begin_nested()
        try:
            driver.load(connection, self._table, rows)
            savepoint.commit()
        except Exception as error:
            reason = refusal(error)
            if reason is None:
                raise  # not back to the savepoint: a database that is full may have ended it all
            savepoint.rollback()
            if len(rows) == 1:
                return [Refused(messages[0], reason)]
            half = len(rows) // 2
            return self._load(driver, connection, messages[:half], rows[:half]) + self._load(
                driver, connection, messages[half:], rows[half:]
            )
        return []

    def _check(self, found: dict[str, Any]) -> None:
        name = self._table.fullname
        for column in self._layout.names:
            if column not in found:
                raise SinkMisconfigured(
                    f"{self._place}: table {name} has no column '{column}'",
                    "add it to the table, or leave it out of `columns`; docs/sql.md has the default columns",
                    "not_found",
                )
        for column, one in found.items():
            if column not in self._layout.names and _must_be_filled(one):
                raise SinkMisconfigured(
                    f"{self._place}: column '{column}' of table {name} may not be null and has no default",
                    "name it in `columns`, or give it a default",
                    "not_found",
                )


def make(connection: Connection, table: Table, create: bool, place: str) -> None:
    """
    Make a table that is not there.

    Raises:
        SinkMisconfigured: it is not, and may not be made.
        DBAPIError: the database's own.
    """
    if inspect(connection).has_table(table.name, table.schema):
        return
    if not create:
        raise SinkMisconfigured(
            f"{place}: there is no table {table.fullname}", "make it, or set create_tables", "not_found"
        )
    # MySQL commits at every CREATE, and with that forgets the savepoint.
    commits = connection.dialect.name in ("mysql", "mariadb")
    try:
        with contextlib.nullcontext() if commits else connection.begin_nested():
            table.create(connection, checkfirst=False)
    except DBAPIError:
        # Another group's sink, or another agent, has made it meanwhile.
        if not inspect(connection).has_table(table.name, table.schema):
            raise


def _must_be_filled(column: Any) -> bool:
    filled_by_itself = (
        column.get("default") is not None
        or column.get("identity")
        or column.get("computed")
        or column.get("autoincrement") is True
        or column.get("primary_key")  # SQLite: an INTEGER PRIMARY KEY numbers itself
    )
    return not column["nullable"] and not filled_by_itself


def _same(value: Any) -> Value:
    same: Value = value
    return same
