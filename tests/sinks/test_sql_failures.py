"""Databases that fail: locked, full, replaced, and connections that end in the middle of a commit."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks import sql_drivers
from inotify_bridge.sinks.base import Sink
from inotify_bridge.sinks.sql import SqlSink
from tests.brokers import Authority, PostgresqlServer
from tests.brokers.proxy import Proxy
from tests.conftest import BrokerFactory
from tests.sinks.conformance import Sender, publish_all
from tests.sinks.messages import messages
from tests.sinks.sql_harness import PostgresqlHarness, SqliteHarness
from tests.waiting import eventually


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqliteHarness]:
    harness = SqliteHarness(tmp_path)
    yield harness
    harness.close()


@pytest.fixture
def postgres(postgresql: PostgresqlServer) -> Iterator[PostgresqlHarness]:
    harness = PostgresqlHarness(postgresql)
    yield harness
    harness.close()


@pytest.fixture
def proxy(postgres: PostgresqlHarness) -> Iterator[Proxy]:
    made = Proxy(postgres.broker.port)
    yield made
    made.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are waited for shortly."""
    monkeypatch.setattr(sql_drivers, "LOCK_SECONDS", 0.3)


def sequences(harness: SqliteHarness | PostgresqlHarness, count: int) -> list[int]:
    return [one.sequence for one in harness.consume(count)]


def through(postgres: PostgresqlHarness, proxy: Proxy, **options: object) -> SqlSink:
    """A sink that reaches the server by way of the proxy."""
    return postgres.make(url=postgres.url.replace(str(postgres.broker.port), str(proxy.port)), **options)


@pytest.mark.postgresql
@pytest.mark.timeout(600)
def test_a_connection_lost_anywhere_in_a_batch(
    postgres: PostgresqlHarness, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the server's answers end, before the commit or behind it, each row is stored exactly once."""
    monkeypatch.setattr(sql_drivers, "LOCK_SECONDS", 60.0)  # for the end of what was lost under way
    sink = through(postgres, proxy)
    sink.connect()
    publish_all(sink, messages(1))
    known, committed, lost = 1, 0, 0
    for allowed in range(0, 300, 12):
        batch = messages(5, known + 1)
        proxy.hold_back(after=allowed)
        sender = Sender(sink, batch)
        sender.start()
        eventually(lambda s=sender: proxy._allowance == 0 or not s.is_alive(), what="the answers end")  # type: ignore[misc]
        proxy.heal()
        sender.finish()
        if sender.error is not None:
            assert isinstance(sender.error, SinkUnavailable)
            sink.close()
            sink.connect()
            held = postgres.count()
            committed += held == known + 5
            lost += held == known
            publish_all(sink, batch)
        known += 5
    assert committed, "no commit was under way"
    assert lost, "every commit had happened"
    assert sequences(postgres, known) == list(range(1, known + 1))


@pytest.mark.postgresql
def test_a_transaction_that_was_left_behind(
    postgres: PostgresqlHarness, proxy: Proxy, impatient: None
) -> None:
    """While the server still holds what a lost connection had under way, nobody writes beside it."""
    sink = through(postgres, proxy)
    sink.connect()
    publish_all(sink, messages(1))
    with postgres.client() as other:
        # The server's side of such a transaction: it has moved the watermark, and has not ended.
        other.execute("UPDATE inotify_bridge_watermarks SET sequence = 3 WHERE sink = %s", (postgres.name,))
        other.execute(
            f"INSERT INTO {postgres.name} (body) SELECT replace(body, '001\"', n || '\"') "
            f"FROM {postgres.name}, (VALUES ('002'), ('003')) AS v (n)"
        )
        sink.close()
        with pytest.raises(SinkUnavailable) as caught:
            sink.connect()
        assert caught.value.reason == "timeout"
    sink.connect()
    publish_all(sink, messages(4, 2))
    assert sequences(postgres, 5) == [1, 2, 3, 4, 5]


@pytest.mark.postgresql
def test_a_locked_table_is_waited_for(postgres: PostgresqlHarness, impatient: None) -> None:
    """A lock of others is a time-out, not a refusal, and afterwards everything is stored."""
    sink = postgres.make()
    sink.connect()
    with postgres.client() as other:
        other.execute(f"LOCK TABLE {postgres.name} IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(SinkUnavailable) as caught:
            sink.publish(messages(5))
        assert caught.value.reason == "timeout"
        assert "lock" in caught.value.hint
    sink.connect()
    publish_all(sink, messages(5))
    assert sequences(postgres, 5) == [1, 2, 3, 4, 5]
    assert postgres.count("_rejected") == 0


def test_a_locked_file_is_waited_for(sqlite: SqliteHarness, impatient: None) -> None:
    """The same where another program writes the file of SQLite."""
    sink = sqlite.make()
    sink.connect()
    with contextlib.closing(sqlite3.connect(sqlite.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SinkUnavailable) as caught:
            sink.publish(messages(5))
        assert caught.value.reason == "timeout"
    sink.connect()
    publish_all(sink, messages(5))
    assert sequences(sqlite, 5) == [1, 2, 3, 4, 5]


def test_a_full_file_is_no_refusal(sqlite: SqliteHarness) -> None:
    """A database that cannot grow takes nothing of a batch, and all of it when it can."""
    sink = sqlite.make()
    sink.connect()
    publish_all(sink, messages(1))
    connection = sink._connected()._connection
    assert connection is not None
    connection.exec_driver_sql("PRAGMA max_page_count=1")  # as many as there are
    connection.commit()
    with pytest.raises(SinkUnavailable, match="full") as caught:
        sink.publish(messages(2000, 2))
    assert not isinstance(caught.value, SinkMisconfigured)
    assert sqlite.count() == 1
    sink.connect()
    publish_all(sink, messages(2000, 2))
    assert sequences(sqlite, 2001) == list(range(1, 2002))
    assert sqlite.count("_rejected") == 0


@pytest.mark.postgresql
def test_a_full_server_is_no_refusal(postgres: PostgresqlHarness) -> None:
    """What a server says when its disk is full leads to another attempt, not to the rejected rows."""
    sink = postgres.make()
    sink.connect()
    postgres.rows(
        f"CREATE FUNCTION {postgres.name}_full() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END$$"
    )
    postgres.rows(
        f"CREATE TRIGGER full_disk BEFORE INSERT ON {postgres.name} EXECUTE FUNCTION {postgres.name}_full()"
    )
    with pytest.raises(SinkUnavailable, match="could not extend") as caught:
        sink.publish(messages(5))
    assert caught.value.hint
    postgres.rows(f"DROP FUNCTION {postgres.name}_full CASCADE")
    sink.connect()
    publish_all(sink, messages(5))
    assert sequences(postgres, 5) == [1, 2, 3, 4, 5]
    assert postgres.count("_rejected") == 0


def test_a_removed_file_is_noticed(sqlite: SqliteHarness) -> None:
    """What is written to a file without a name is lost: the sink looks before each batch, and while idle."""
    sink = sqlite.make()
    sink.connect()
    publish_all(sink, messages(1))
    sqlite.path.rename(sqlite.path.with_suffix(".old"))
    with pytest.raises(SinkUnavailable, match="gone"):
        sink.publish(messages(1, 2))
    with pytest.raises(SinkUnavailable, match="gone"):
        sink.check()
    sqlite.make_table()
    with pytest.raises(SinkUnavailable, match="replaced"):
        sink.publish(messages(1, 2))
    sink.connect()
    publish_all(sink, messages(1, 2))
    assert sqlite.count() == 1


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """Another file is not touched."""
    harness = SqliteHarness(tmp_path)
    harness.path.write_text("dear diary\n" * 1000)
    with pytest.raises(SinkMisconfigured, match="not a database"):
        harness.make().connect()
    assert harness.path.read_text().startswith("dear diary")


def test_only_its_user_and_group_read_a_new_file(tmp_path: Path) -> None:
    """A file that the sink makes holds names of files, which are not everybody's to read."""
    path = tmp_path / "new.db"
    harness = SqliteHarness(tmp_path)
    harness.make(url=f"sqlite:///{path}", columns={}).connect()
    assert path.stat().st_mode & 0o007 == 0


@pytest.mark.postgresql
def test_a_deferred_constraint_refuses_its_row(postgres: PostgresqlHarness) -> None:
    """What a constraint would only say at the commit costs its row, not the batch."""
    postgres.rows(f"ALTER TABLE {postgres.name} ADD UNIQUE (path) DEFERRABLE INITIALLY DEFERRED")
    sink = postgres.make()
    sink.connect()
    publish_all(sink, messages(3))
    publish_all(sink, [*messages(2, 4), messages(1)[0]._replace(sequence=6), *messages(2, 7)])
    assert sequences(postgres, 7) == [1, 2, 3, 4, 5, 7, 8]
    assert postgres.count("_rejected") == 1


@pytest.mark.postgresql
def test_a_server_that_never_answers(postgres: PostgresqlHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that takes longer than it may is given up, with the option's name."""
    sink = postgres.make()
    sink.connect()
    publish_all(sink, messages(1))
    session = sink._connected()
    hasty = session._options.model_copy(update={"commit_timeout": 1.0})
    monkeypatch.setattr(session, "_options", hasty)  # for this commit alone: connecting may take longer
    with postgres.frozen(), pytest.raises(SinkUnavailable, match="no commit within 1 s") as caught:
        sink.publish(messages(3, 2))
    assert caught.value.reason == "timeout"
    assert "commit_timeout" in caught.value.hint
    sink.connect()
    publish_all(sink, messages(3, 2))
    assert sequences(postgres, 4) == [1, 2, 3, 4]


@pytest.mark.postgresql
def test_missing_rights_are_named(postgres: PostgresqlHarness) -> None:
    """A user who may not write is an operator's fault."""
    user = f"reader_{postgres.name}"
    postgres.rows(f"CREATE ROLE {user} LOGIN PASSWORD 'secret'")
    url = f"postgresql://{user}:secret@{postgres.broker.address}/postgres"
    with pytest.raises(SinkMisconfigured) as caught:
        postgres.make(url=url).connect()
    assert caught.value.reason == "authorization"
    postgres.rows(f"DROP ROLE {user}")


@pytest.mark.postgresql
@pytest.mark.parametrize(("database", "reason"), [("nowhere", "not_found"), ("postgres", "")])
def test_a_missing_database_is_named(postgres: PostgresqlHarness, database: str, reason: str) -> None:
    """A database that is not there is told as such; one that is takes the sink."""
    sink = postgres.make(url=postgres.url.replace("/postgres", f"/{database}"))
    if not reason:
        sink.connect()
        return
    with pytest.raises(SinkMisconfigured) as caught:
        sink.connect()
    assert caught.value.reason == reason


@pytest.mark.postgresql
def test_tls_is_verified(
    own_postgresql: BrokerFactory[PostgresqlServer], authority: Authority, tmp_path: Path
) -> None:
    """With `tls` a certificate of another authority, or none at all, is refused; the right one serves."""
    server = own_postgresql(certificate=authority.issue())
    harness = PostgresqlHarness(server)
    url = server.url.replace("127.0.0.1", "localhost")
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    wrong = {"ca_file": str(Authority(stranger).issue().authority)}
    right = {"ca_file": str(authority.issue().authority)}
    refused: Sink = harness.make(url=url, tls=wrong)
    with pytest.raises(SinkMisconfigured) as caught:
        refused.connect()
    assert caught.value.reason == "auth"
    sink = harness.make(url=url, tls=right)
    sink.connect()
    publish_all(sink, messages(3))
    assert harness.rows("SELECT count(*) FROM pg_stat_ssl WHERE ssl")[0][0] >= 1
    assert sequences(harness, 3) == [1, 2, 3]
    harness.close()
