"""The conformance suite over the SQL sink: a SQLite file, a real PostgreSQL and a real MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import MariadbServer, PostgresqlServer
from tests.sinks.conformance import SinkConformance
from tests.sinks.sql_harness import MariadbHarness, PostgresqlHarness, SqliteHarness


class TestSqlite(SinkConformance):
    """The conformance suite."""

    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[SqliteHarness]:
        made = SqliteHarness(tmp_path)
        yield made
        made.close()


@pytest.mark.postgresql
class TestPostgresql(SinkConformance):
    """The conformance suite."""

    @pytest.fixture
    def harness(self, postgresql: PostgresqlServer) -> Iterator[PostgresqlHarness]:
        made = PostgresqlHarness(postgresql)
        yield made
        made.close()


@pytest.mark.mariadb
class TestMariadb(SinkConformance):
    """The conformance suite."""

    @pytest.fixture
    def harness(self, mariadb: MariadbServer) -> Iterator[MariadbHarness]:
        made = MariadbHarness(mariadb)
        yield made
        made.close()
