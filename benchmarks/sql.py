"""
The SQL sink beside other ways to insert the same rows: the same database and table, in one run.

    python -m benchmarks.sql [--messages 60000] [--rounds 3] [--no-postgresql]

Every way reads the event and makes the row as the sink does, and commits batches of 2,000. The database is a
SQLite file in the temporary directory, and a PostgreSQL of its own. CPU is that of this process, without the
server's; the table shows medians.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from sqlalchemy import Connection, MetaData, Table, create_engine, insert

from benchmarks.report import machine
from benchmarks.report import table as printed
from inotify_bridge.capture.change import Change, Stat
from inotify_bridge.events.envelope import Encoder
from inotify_bridge.sinks.base import Message, SinkContext
from inotify_bridge.sinks.sql import SqlSink
from inotify_bridge.sinks.sql_drivers import PostgresqlDriver, SqliteDriver
from inotify_bridge.sinks.sql_options import SqlOptions
from inotify_bridge.sinks.sql_rows import Entry, Layout, layout
from tests.brokers import PostgresqlServer

BATCH = 2000
EPOCH = "0192f3a4b5c6d7e8f9a0"
SOURCE = "inotify://benchmark/uploads"

Rows = list[tuple[Any, ...]]
Way = Callable[[Connection, Table, Rows], None]


class Figures(NamedTuple):
    """Of one round: rows a second, and rows a CPU second of this process."""

    rate: float
    per_cpu: float


def stream(count: int) -> list[Message]:
    """Events of files, as the agent encodes them."""
    encoder = Encoder(SOURCE, "uploads", EPOCH)
    stat = Stat(0o100644, 123, 1000, 1000, 64769, 256383, 1, 1763712000_100000000, 0, None)
    made = []
    for number in range(1, count + 1):
        path = b"2026/11/21/report-%08d.csv" % number
        kind, key, body = encoder.encode(
            Change("written", path, 0o100000, "kernel", 1763712000_123456000, stat=stat), number
        )
        made.append(Message(number, 1763712000.0, kind, key, body))
    return made


def by_sink(options: SqlOptions, messages: Sequence[Message]) -> Figures:
    """The sink itself."""
    sink = SqlSink(options, SinkContext("sink", "uploads", SOURCE, "structured", "group", "benchmark"))
    sink.connect()
    try:
        return timed(len(messages), lambda: [sink.publish(one) for one in batches(messages)])
    finally:
        sink.close()


def by(way: Way, options: SqlOptions, messages: Sequence[Message]) -> Figures:
    """Another way, over a connection of SQLAlchemy."""
    wanted = layout(options, "file")
    assert wanted is not None
    driver = SqliteDriver(options) if options.path else PostgresqlDriver(options, "benchmark")
    engine = create_engine(f"{driver.name}://", creator=driver.open)
    with engine.connect() as connection:
        table = Table(wanted.name, MetaData(), *wanted.columns())
        table.create(connection)
        connection.commit()
        return timed(len(messages), lambda: insert_all(way, connection, table, wanted, messages))


def insert_all(
    way: Way, connection: Connection, table: Table, wanted: Layout, messages: Sequence[Message]
) -> None:
    """Batch by batch."""
    for batch in batches(messages):
        with connection.begin():
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            way(connection, table, [wanted.values(Entry.of(one)) for one in batch])


def by_sqlalchemy(connection: Connection, table: Table, rows: Rows) -> None:
    """Core's insert of many rows: the driver's executemany, by names."""
    names = [column.name for column in table.columns]
    connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])


def by_returning(connection: Connection, table: Table, rows: Rows) -> None:
    """Core's insert with RETURNING: insertmanyvalues."""
    names = [column.name for column in table.columns]
    values = [dict(zip(names, row, strict=True)) for row in rows]
    connection.execute(insert(table).returning(table.c.sequence), values)


def by_many_values(connection: Connection, table: Table, rows: Rows) -> None:
    """Statements of 500 rows, by the driver."""
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    row_marks = f"({', '.join([mark] * len(table.columns))})"
    for start in range(0, len(rows), 500):
        part = rows[start : start + 500]
        marks = ", ".join([row_marks] * len(part))
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        values = tuple(value for row in part for value in row)
        connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES {marks}", values)


WAYS: dict[str, Way] = {
    "SQLAlchemy insert": by_sqlalchemy,
    "insertmanyvalues": by_returning,
    "VALUES of 500 rows": by_many_values,
}


def timed(count: int, work: Callable[[], Any]) -> Figures:
    """How long it takes for so many rows."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Figures(count / (time.perf_counter() - wall), count / (time.process_time() - cpu))


def batches(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """In the size of a relay's."""
    for start in range(0, len(messages), BATCH):
        yield messages[start : start + BATCH]


def measure(name: str, url: Callable[[], str], drop: Callable[[], None], messages: int, rounds: int) -> None:
    """One database: each way in turn, round by round."""
    everything = stream(messages)
    ways: dict[str, Callable[[SqlOptions, Sequence[Message]], Figures]] = {"the sink": by_sink}
    ways |= {
        way: lambda options, some, do=do: by(do, options, some)  # type: ignore[misc]
        for way, do in WAYS.items()
    }
    found: dict[str, list[Figures]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, do in ways.items():
            drop()
            found[way].append(do(SqlOptions(url=url(), table="file_events"), everything))
    rows = []
    for way, figures in found.items():
        rate = statistics.median(one.rate for one in figures)
        per_cpu = statistics.median(one.per_cpu for one in figures)
        rows.append((way, rate, per_cpu, 1e6 / per_cpu))
    printed(name, ("way", "rows/s", "rows a CPU second", "CPU µs a row"), rows)


def run(messages: int, rounds: int, postgresql: bool = True) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "events.db"

        def remove() -> None:
            file.unlink(missing_ok=True)

        measure("SQLite", lambda: f"sqlite:///{file}", remove, messages, rounds)
    if not postgresql or PostgresqlServer.missing():
        return
    with PostgresqlServer() as server:

        def drop() -> None:
            import psycopg

            with psycopg.connect(server.url) as client:
                for table in ("file_events", "file_events_rejected", "inotify_bridge_watermarks"):
                    client.execute(f"DROP TABLE IF EXISTS {table}")

        measure("PostgreSQL", lambda: server.url, drop, messages, rounds)


@click.command()
@click.option("--messages", default=60_000)
@click.option("--rounds", default=3)
@click.option("--postgresql/--no-postgresql", default=True)
def main(messages: int, rounds: int, postgresql: bool) -> None:
    """Rows into SQLite and PostgreSQL, by the sink and by other ways."""
    machine()
    run(messages, rounds, postgresql)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
