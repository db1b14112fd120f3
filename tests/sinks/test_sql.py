"""The SQL sink: what stands in the tables, on SQLite, on a real PostgreSQL and a real MariaDB."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks.base import ACCEPTED, Message, Newest, Verdict
from inotify_bridge.sinks.sql import SqlSink
from tests.brokers import PostgresqlServer
from tests.sinks.conformance import Sender, publish_all
from tests.sinks.messages import EPOCH, SOURCE, messages
from tests.sinks.sql_harness import MariadbHarness, PostgresqlHarness, SqlHarness, SqliteHarness

DOCUMENT = Path(__file__).parents[2] / "docs" / "sql.md"
LATER = "0192f3a4b5c6d7e8f9a1"
TIME = "2026-11-21T08:00:00.123456Z"


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ]
)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlHarness]:
    """Each database in turn."""
    if request.param == "sqlite":
        harness: SqlHarness = SqliteHarness(tmp_path)
    elif request.param == "mariadb":
        harness = MariadbHarness(request.getfixturevalue("mariadb"))
    else:
        harness = PostgresqlHarness(request.getfixturevalue("postgresql"))
    yield harness
    harness.close()


@pytest.fixture
def fresh(database: SqlHarness) -> SqlHarness:
    """The same without its table."""
    database.rows(f"DROP TABLE {database.name}")
    return database


def happened(sequence: int, kind: str, data: dict[str, Any], subject: str | None = None) -> Message:
    """A message of any kind."""
    number = f"{EPOCH}-{sequence:012d}"
    envelope = {
        "specversion": "1.0",
        "id": number,
        "source": SOURCE,
        "type": f"io.inotify-bridge.{kind}.v1",
        **({} if subject is None else {"subject": subject}),
        "time": TIME,
        "sequence": number,
        "watchgroup": "uploads",
        "data": data,
    }
    return Message(sequence, 0.0, kind, b"uploads", json.dumps(envelope, separators=(",", ":")).encode())


def entry(sequence: int, message: str = "it works", **fields: Any) -> Message:
    """An entry of a log file."""
    log = {"file": {"path": "app.log"}, "offset": 100 * sequence, "line": sequence, "length": 99, "cut": True}
    return happened(sequence, "log.entry", {"log": log, "fields": fields, "message": message}, "app.log")


def connected(sink: SqlSink) -> SqlSink:
    sink.connect()
    return sink


def test_what_is_sent_again_is_stored_once(database: SqlHarness) -> None:
    """Whole batches, parts of them and single messages that come again add no row, on any connection."""
    sink = connected(database.make())
    publish_all(sink, messages(10))
    publish_all(sink, messages(10))
    publish_all(sink, messages(10, 6))
    other = connected(database.make())
    publish_all(other, messages(20))
    publish_all(other, messages(1, 3))
    assert [one.sequence for one in database.consume(20)] == list(range(1, 21))


def test_an_epoch_begins_its_numbers_anew(database: SqlHarness) -> None:
    """A later epoch is stored from its first number on; what comes of an earlier one then is old."""
    sink = connected(database.make())
    publish_all(sink, messages(5))
    publish_all(sink, messages(3, epoch=LATER))
    publish_all(sink, messages(5))
    assert [one.sequence for one in database.consume(5)] == [1, 2, 3, 4, 5, 1, 2, 3]
    assert connected(database.make()).newest() == Newest(LATER, 3, None)


def test_an_empty_database_remembers_nothing(database: SqlHarness) -> None:
    """Before the first message there is no newest one."""
    assert connected(database.make()).newest() is None


def test_streams_have_their_own_watermarks(database: SqlHarness) -> None:
    """The same numbers of another source are other messages."""
    publish_all(connected(database.make()), messages(3))
    database.context = database.context._replace(source="inotify://test/other")
    publish_all(connected(database.make()), messages(3))
    assert len(database.consume(3)) == 6


def test_a_second_writer_of_a_stream_is_noticed(database: SqlHarness) -> None:
    """Of two connections that write one stream, the one that has not seen the other's rows stores nothing."""
    first, second = connected(database.make()), connected(database.make())
    publish_all(first, messages(3))
    with pytest.raises(SinkUnavailable, match="another connection has written this stream"):
        second.publish(messages(5))
    second.connect()
    publish_all(second, messages(5))
    assert [one.sequence for one in database.consume(5)] == [1, 2, 3, 4, 5]


def test_default_columns_of_file_events(fresh: SqlHarness) -> None:
    """Every part of a file event has its column, a name that is not UTF-8 is percent-encoded."""
    file = {
        "path": "in/%FF.csv",
        "path_b64": "aW4v/y5jc3Y=",
        "type": "file",
        "size": 2**40,
        "mode": "0644",
        "owner": {"id": "1000"},
        "group": {"id": "100"},
        "inode": "18446744073709551615",
        "device": "64769",
        "modified": "2026-11-21T08:00:00.100000000Z",
    }
    moved = {"file": file, "move": {"from": "in/a.part"}, "origin": "kernel"}
    started = {"version": "1", "roots": {"in": "/srv"}}
    sink = connected(fresh.make_default())
    publish_all(
        sink,
        [happened(1, "stream.started", started), happened(2, "file.moved", moved, "in/%FF.csv")],
    )
    assert fresh.rows(
        "SELECT source, epoch, sequence, kind, path, moved_from, file_type, size, mode, owner_id, group_id, "
        f"inode, device, target, origin FROM {fresh.name} WHERE data IS NULL"
    ) == [
        (
            *(SOURCE, EPOCH, 2, "file.moved", "in/%FF.csv", "in/a.part", "file", 2**40, "0644"),
            *("1000", "100", "18446744073709551615", "64769", None, "kernel"),
        )
    ]
    (times,) = fresh.rows(f"SELECT time, modified FROM {fresh.name} WHERE sequence = 2")
    assert [str(one)[:21].replace(" ", "T") for one in times] == [TIME[:21], "2026-11-21T08:00:00.1"]
    ((kind, path, data),) = fresh.rows(f"SELECT kind, path, data FROM {fresh.name} WHERE sequence = 1")
    assert (kind, path) == ("stream.started", None)
    assert (json.loads(data) if isinstance(data, str) else data) == started


def test_default_columns_of_log_entries(fresh: SqlHarness) -> None:
    """Entries have their place in the file and their fields; what did not match stands beside them."""
    sink = connected(fresh.make_default())
    file = {"file": {"path": "app.log"}, "offset": 9, "length": 1}
    publish_all(
        sink,
        [
            entry(1, level="error", status=500),
            happened(2, "log.rejected", {"log": file, "reason": "no match", "message": "?"}, "app.log"),
            happened(3, "log.truncated", {"log": file, "reason": "deleted", "lost_bytes": 9}, "app.log"),
            entry(4, "a\0b", text="c\0d", back="\\u0000"),
        ],
    )
    rows = fresh.rows(
        f"SELECT sequence, path, byte_offset, line, length, message, cut, unfinished, fields "
        f"FROM {fresh.name}_log ORDER BY 1"
    )
    assert [row[:8] for row in rows] == [
        (1, "app.log", 100, 1, 99, "it works", True, False),
        (4, "app.log", 400, 4, 99, "a\u2400b", True, False),
    ]
    fields = [json.loads(row[8]) if isinstance(row[8], str) else row[8] for row in rows]
    assert fields == [{"level": "error", "status": 500}, {"text": "c\u2400d", "back": "\\u0000"}]
    rejected = fresh.rows(
        f"SELECT sequence, kind, path, reason, event FROM {fresh.name}_log_rejected ORDER BY 1"
    )
    assert [row[:4] for row in rejected] == [
        (2, "log.rejected", "app.log", "no match"),
        (3, "log.truncated", "app.log", "deleted"),
    ]
    assert json.loads(rejected[1][4])["data"]["lost_bytes"] == 9


def test_columns_of_ones_own(fresh: SqlHarness) -> None:
    """A mapping makes a table with typed columns, and fills the one that is there."""
    columns = {
        "happened": {"path": "time", "type": "timestamp"},
        "level": "data.fields.level",
        "status": {"path": "data.fields.status", "type": "integer"},
        "took": {"path": "data.fields.took", "type": "float"},
        "cached": {"path": "data.fields.cached", "type": "boolean"},
        "request": {"path": "data.fields.request", "type": "json"},
    }
    sink = connected(fresh.make(table=None, log_table=fresh.name, columns=columns))
    publish_all(sink, [entry(1, level=7, status="500", took="0.5", cached=True, request="GET"), entry(2)])
    first, second = fresh.rows(
        f"SELECT level, status, took, cached, request FROM {fresh.name} ORDER BY level IS NULL"
    )
    assert first[:4] == ("7", 500, 0.5, True)
    assert str(first[4]).strip('"') == "GET"
    assert second == (None,) * 5


def test_a_refused_row_stands_with_the_rejected(fresh: SqlHarness) -> None:
    """Values that a column does not take cost their own rows only, and the reason is kept with the event."""
    fresh.rows(
        f"CREATE TABLE {fresh.name} (level TEXT NOT NULL CHECK (level <> 'bad'), status BIGINT UNIQUE)"
    )
    columns = {"level": "data.fields.level", "status": "data.fields.status"}
    sink = connected(fresh.make(table=None, log_table=fresh.name, columns=columns))
    batch = [entry(number, level="good", status=number) for number in range(1, 51)]
    batch[6] = entry(7, level="bad", status=7)
    batch[7] = entry(8, status=8)
    batch[20] = entry(21, level="good", status="many")
    batch[40] = entry(41, level="good", status=2**70)
    batch[49] = entry(50, level="good", status=1)
    outcomes = sink.publish(batch)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.ACCEPTED}
    refused = [7, 8, 21, 41, 50]
    stored = [row[0] for row in fresh.rows(f"SELECT status FROM {fresh.name} ORDER BY 1")]
    assert stored == [number for number in range(1, 51) if number not in refused]
    kept = fresh.rows(f"SELECT sequence, kind, reason, event FROM {fresh.name}_rejected ORDER BY 1")
    assert [row[0] for row in kept] == refused
    assert {row[1] for row in kept} == {"log.entry"}
    assert all(row[2] for row in kept), kept
    assert json.loads(kept[2][3])["data"]["fields"] == {"level": "good", "status": "many"}
    told = [one.sequence for one, outcome in zip(batch, outcomes, strict=True) if outcome.detail]
    assert told == refused
    assert sink.publish(batch) == [ACCEPTED] * 50
    assert fresh.count("_rejected") == len(refused)


@pytest.mark.postgresql
def test_a_reason_is_one_line(postgresql: PostgresqlServer) -> None:
    """PostgreSQL repeats the value that it refuses: no line break of it stands in a reason, nor all of it."""
    harness = PostgresqlHarness(postgresql)
    try:
        harness.rows(f"DROP TABLE {harness.name}")
        harness.rows(f"CREATE TABLE {harness.name} (id uuid)")
        sink = connected(harness.make(table=None, log_table=harness.name, columns={"id": "data.fields.id"}))
        sink.publish([entry(1, id="a\nb\x1b[2J"), entry(2, id="x" * 5000)])
        sink.close()
        reasons = [row[0] for row in harness.rows(f"SELECT reason FROM {harness.name}_rejected ORDER BY 1")]
        assert len(reasons) == 2
        assert all(reason.isprintable() and len(reason) <= 500 for reason in reasons), reasons
    finally:
        harness.close()


def test_what_is_no_time_and_no_number_is_refused_alike(fresh: SqlHarness) -> None:
    """Columns of times hold times in UTC, and no word that one database or Python would take for one."""
    columns = {"happened": "timestamp", "size": "integer", "share": "float"}
    chosen = {name: {"path": f"data.fields.{name}", "type": kind} for name, kind in columns.items()}
    sink = connected(fresh.make(table=None, log_table=fresh.name, columns=chosen))
    times = {
        1: "2026-11-21T08:00:00.123456Z",
        2: "2026-11-21T10:00:01+02:00",
        3: "2026-11-21 08:00:02",
    }
    wrong: dict[str, list[Any]] = {
        "happened": ["now", "infinity", "yesterday", "2026-02-30", 5, "2026-11-21T08:00:00.12345 Z"],
        "size": ["1_000", "many", "1.5", [1]],
        "share": ["nan", "inf", "1_0", {}],
    }
    batch = [entry(number, happened=time) for number, time in times.items()]
    batch += [
        entry(number, **{name: value})
        for number, (name, value) in enumerate(((a, b) for a, many in wrong.items() for b in many), 4)
    ]
    assert {outcome.verdict for outcome in sink.publish(batch)} == {Verdict.ACCEPTED}
    stored = fresh.rows(f"SELECT happened FROM {fresh.name} ORDER BY 1")
    assert [instant(row[0]) for row in stored] == [
        datetime(2026, 11, 21, 8, 0, 0, 123456),
        datetime(2026, 11, 21, 8, 0, 1),
        datetime(2026, 11, 21, 8, 0, 2),
    ]
    reasons = [row[0] for row in fresh.rows(f"SELECT reason FROM {fresh.name}_rejected ORDER BY sequence")]
    named = [f"column '{name}':" for name, many in wrong.items() for _ in many]
    assert [reason[: len(name)] for reason, name in zip(reasons, named, strict=True)] == named


def instant(value: Any) -> datetime:
    """What a driver gives for a time in UTC."""
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    assert isinstance(found, datetime)
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found


def test_rows_that_are_there_already_stand_with_the_rejected(fresh: SqlHarness) -> None:
    """Two sinks that fill one table with one stream: nothing is stored twice, and nobody stands still."""
    publish_all(connected(fresh.make_default()), messages(3))
    for name in ("second", "third"):
        fresh.context = fresh.context._replace(name=f"{fresh.name}_{name}")
        publish_all(connected(fresh.make_default()), messages(3))
    assert (fresh.count(), fresh.count("_rejected")) == (3, 6)


def test_a_missing_column_is_named(fresh: SqlHarness) -> None:
    """A table that is there and lacks a column is an operator's fault, which names table and column."""
    fresh.rows(f"CREATE TABLE {fresh.name} (level TEXT)")
    columns = {"level": "data.fields.level", "status": "data.fields.status"}
    sink = fresh.make(table=None, log_table=fresh.name, columns=columns)
    with pytest.raises(SinkMisconfigured, match=f"table {fresh.name} has no column 'status'") as caught:
        sink.connect()
    assert caught.value.hint
    assert caught.value.reason == "not_found"
    fresh.rows(f"ALTER TABLE {fresh.name} ADD COLUMN status TEXT")
    sink.connect()


def test_a_column_that_would_stay_empty_is_named(fresh: SqlHarness) -> None:
    """A column that may not be null, has no default and is not filled is told at connecting."""
    fresh.rows(f"CREATE TABLE {fresh.name} (level TEXT, who TEXT NOT NULL)")
    sink = fresh.make(table=None, log_table=fresh.name, columns={"level": "data.fields.level"})
    with pytest.raises(SinkMisconfigured, match="column 'who'"):
        sink.connect()


def test_events_without_a_table_are_not_stored(fresh: SqlHarness) -> None:
    """Where only log_table is named, file events are taken and pass."""
    sink = connected(fresh.make(table=None, columns={}, log_table=fresh.name))
    publish_all(sink, [*messages(2), entry(3)])
    assert fresh.count() == 1
    assert sink.newest() == Newest(EPOCH, 3, None)


def test_a_table_that_is_dropped_is_no_refusal(database: SqlHarness) -> None:
    """Where the table goes away nothing is accepted; when it is there again everything is stored."""
    sink = connected(database.make())
    publish_all(sink, messages(3))
    database.rows(f"ALTER TABLE {database.name} RENAME TO {database.name}_away")
    with pytest.raises(SinkMisconfigured) as caught:
        sink.publish(messages(3, 4))
    assert caught.value.reason == "not_found"
    database.rows(f"ALTER TABLE {database.name}_away RENAME TO {database.name}")
    sink.connect()
    publish_all(sink, messages(3, 4))
    assert [one.sequence for one in database.consume(6)] == [1, 2, 3, 4, 5, 6]
    assert database.count("_rejected") == 0


def test_a_watermark_that_is_deleted_is_not_taken_for_nothing(database: SqlHarness) -> None:
    """While a sink is connected nobody can take away what says how far the stream is stored."""
    sink = connected(database.make())
    publish_all(sink, messages(3))
    database.rows("DELETE FROM inotify_bridge_watermarks WHERE sink = ?", database.name)
    with pytest.raises(SinkUnavailable):
        sink.publish(messages(3, 4))
    assert database.count() == 3


@pytest.mark.postgresql
def test_the_documents_queries_run(postgresql: PostgresqlServer) -> None:
    """docs/sql.md has every default column, and its queries run on the tables that the sink makes."""
    text = DOCUMENT.read_text()
    harness = PostgresqlHarness(postgresql)
    tables = ("file_events", "log_entries", "file_events_rejected", "log_entries_rejected")
    try:
        sink = connected(harness.make(table=tables[0], log_table=tables[1], columns={}))
        publish_all(sink, [*messages(3), entry(4)])
        for query in re.findall(r"^```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            harness.rows(query.replace("%", "%%"))
        for table in tables:
            columns = harness.rows(
                "SELECT column_name FROM information_schema.columns WHERE table_name = ?", table
            )
            assert columns
            assert [name for (name,) in columns if f"`{name}`" not in text] == []
    finally:
        harness.close()
        for table in tables:
            harness.rows(f"DROP TABLE IF EXISTS {table}")


def test_closing_says_nothing(database: SqlHarness, caplog: pytest.LogCaptureFixture) -> None:
    """Neither an end in order nor one in the middle of a commit leaves a word in the log."""
    sink = connected(database.make())
    sink.close()
    sink.connect()
    sender = Sender(sink, messages(500), repeat=True)
    sender.start()
    assert sender.sent_once.wait(30), sender.error
    sink.close()
    sender.finish()
    assert caplog.messages == []
