"""The SQL sink for the conformance suite, and its tables seen by the plain drivers."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pymysql

from inotify_bridge.sinks.base import SinkContext
from inotify_bridge.sinks.sql import SqlSink
from tests.brokers import MariadbServer, PostgresqlServer
from tests.brokers.ports import free_port
from tests.sinks.harness import SinkHarness
from tests.sinks.messages import SOURCE, Received, received
from tests.waiting import eventually

COLUMNS = {"body": "envelope", "path": "data.file.path", "happened": "time"}


class SqlHarness(SinkHarness):
    """Every instance has a table of its own, with other columns beside a number that the database gives."""

    numbered: ClassVar[str]
    """The column of that number."""

    def __init__(self) -> None:
        self.name = f"test_{uuid.uuid4().hex[:12]}"
        self.context = SinkContext(self.name, "uploads", SOURCE, "structured", "group", self.name)
        self.missing_target = {"table": f"{self.name}_missing", "create_tables": False}
        self._sinks: list[SqlSink] = []
        self._read = 0
        self._seen: set[int] = set()

    @property
    @abstractmethod
    def url(self) -> str:
        """Of the database."""

    @abstractmethod
    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a plain client gets; ``?`` stands for a value. Commits."""

    def make(self, **overrides: Any) -> SqlSink:
        working = {"url": self.url, "table": self.name, "columns": COLUMNS}
        sink = SqlSink(SqlSink.Options.model_validate({**working, **overrides}), self.context)
        self._sinks.append(sink)
        return sink

    def make_default(self, **overrides: Any) -> SqlSink:
        """One with the default columns in `name` and `name`_log."""
        return self.make(columns={}, log_table=f"{self.name}_log", **overrides)

    def make_table(self) -> None:
        """The table, before any sink."""
        self.rows(f"CREATE TABLE {self.name} ({self.numbered}, body TEXT NOT NULL, path TEXT, happened TEXT)")

    def count(self, suffix: str = "") -> int:
        """How many rows the table has, or the one beside it."""
        (row,) = self.rows(f"SELECT count(*) FROM {self.name}{suffix}")
        number: int = row[0]
        return number

    def consume(self, count: int, within: float = 60.0) -> list[Received]:
        got: list[Received] = []

        def enough() -> bool:
            for number, body in self.rows(
                f"SELECT number, body FROM {self.name} WHERE number > ? ORDER BY number", self._read
            ):
                self._read = number
                got.append(received(body.encode()))
                self._seen.add(got[-1].sequence)
            return len(self._seen) >= count

        with contextlib.suppress(AssertionError):
            eventually(enough, within=within)
        return got

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()


class SqliteHarness(SqlHarness):
    """A file of its own."""

    numbered = "number INTEGER PRIMARY KEY"
    not_applicable: ClassVar[Mapping[str, str]] = {
        "restart": "it is a file",
        "freeze": "it is a file",
        "wrong_host": "it is a file",
        "wrong_password": "it is a file",
        "unroutable": "it has no routing",
        "too_large": "what a table does not take goes to the table of rejected ones",
    }

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.path = directory / "events.db"
        self.make_table()

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as connection, connection:
            return connection.execute(query, values).fetchall()


class PostgresqlHarness(SqlHarness):
    """The server that all tests share."""

    broker: PostgresqlServer
    numbered = "number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    not_applicable: ClassVar[Mapping[str, str]] = {
        "unroutable": "it has no routing",
        "too_large": "what a table does not take goes to the table of rejected ones",
    }

    def __init__(self, broker: PostgresqlServer) -> None:
        super().__init__()
        self.broker = broker
        self.wrong_host = {"url": f"postgresql://{broker.user}@127.0.0.1:{free_port()}/postgres"}
        self.password = "never-to-be-shown"
        self.wrong_password = {"url": f"postgresql://{broker.user}:{self.password}@{broker.address}/postgres"}
        self.make_table()

    @property
    def url(self) -> str:
        return self.broker.url

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.client() as client:
            answer = client.execute(query.replace("?", "%s"), values)
            return answer.fetchall() if answer.description else []

    @contextlib.contextmanager
    def client(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection that has nothing to do with the sink."""
        with psycopg.connect(self.broker.url) as client:
            yield client

    def stop_broker(self) -> None:
        self.broker.kill()

    def close(self) -> None:
        super().close()
        for suffix in ("", "_rejected", "_log", "_log_rejected"):
            self.rows(f"DROP TABLE IF EXISTS {self.name}{suffix}")


class MariadbHarness(SqlHarness):
    """The server that all tests share."""

    broker: MariadbServer
    numbered = "number BIGINT AUTO_INCREMENT PRIMARY KEY"
    not_applicable: ClassVar[Mapping[str, str]] = PostgresqlHarness.not_applicable

    def __init__(self, broker: MariadbServer) -> None:
        super().__init__()
        self.broker = broker
        self.wrong_host = {"url": f"mysql://{broker.user}@127.0.0.1:{free_port()}/bridge"}
        self.password = "never-to-be-shown"
        self.wrong_password = {"url": f"mysql://{broker.user}:{self.password}@{broker.address}/bridge"}
        self.make_table()

    @property
    def url(self) -> str:
        return self.broker.url

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        own = self.broker
        with (
            pymysql.connect(
                host="127.0.0.1", port=own.port, user=own.user, password=own.password, database="bridge"
            ) as client,
            client.cursor() as cursor,
        ):
            cursor.execute(query.replace("?", "%s"), values)
            client.commit()
            return list(cursor.fetchall())

    def stop_broker(self) -> None:
        self.broker.kill()

    def close(self) -> None:
        super().close()
        for suffix in ("", "_rejected", "_log", "_log_rejected"):
            self.rows(f"DROP TABLE IF EXISTS {self.name}{suffix}")
