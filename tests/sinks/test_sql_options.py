"""The configuration of a SQL sink."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from inotify_bridge.errors import SinkMisconfigured
from inotify_bridge.sinks.registry import inspect
from inotify_bridge.sinks.sql_options import SqlOptions
from tests.cli.program import run


def options(**values: Any) -> SqlOptions:
    return SqlOptions.model_validate({"table": "events", **values})


@pytest.mark.parametrize(
    ("url", "host", "port", "database"),
    [
        ("postgresql://u:p@db.test/files", "db.test", 5432, "files"),
        ("postgresql://u:p%40@[::1]:6000/my%20files", "::1", 6000, "my files"),
        ("postgresql://u@%2Frun%2FPostgres/files", "/run/Postgres", 5432, "files"),
        ("mysql://u:a/b@c?d@127.0.0.1/files", "127.0.0.1", 3306, "files"),
    ],
)
def test_parts_of_a_url(url: str, host: str, port: int, database: str) -> None:
    """A URL of a server has a user and maybe a password, which it does not keep; a socket is a host."""
    made = options(url=url)
    assert (made.host, made.port, made.database, made.username) == (host, port, database, "u")
    assert "@" not in made.url
    assert made.read_password() in {None, "p", "p@", "a/b@c?d"}


def test_a_file_is_the_default() -> None:
    """Without a URL it is a SQLite file; three slashes begin a relative path, four an absolute one."""
    assert options().path == Path("events.db")
    assert options(url="sqlite:////var/lib/events.db").path == Path("/var/lib/events.db")
    assert not options().is_insecure


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"url": "sqlite://"}, "names no file"),
        ({"url": "sqlite:///:memory:?cache=shared"}, "no .options"),
        ({"url": "oracle://u@h/d"}, "begins with"),
        ({"url": "postgresql+psycopg2://u@h/d"}, "begins with"),
        ({"url": "postgresql://u@h/d?sslmode=disable"}, "no .options"),
        ({"url": "postgresql://u@/d"}, "names no host"),
        ({"url": "postgresql://u@h"}, "name of one database"),
        ({"url": "postgresql://u@h:99999/d"}, "port"),
        ({"url": "postgresql://u:p@h/d", "password": "p"}, "stands twice"),
        ({"password": "p"}, "SQLite file takes no"),
        ({"table": None}, "names no table"),
        ({"log_table": "events"}, "the same"),
        ({"table": "events; DROP TABLE x"}, "no name of a table"),
        ({"table": 'e"'}, "no name of a table"),
        ({"columns": {'a"': "time"}}, "names a column"),
        ({"columns": {"a": "dat.x"}}, "no place in an event"),
        ({"columns": {"a": "time.x"}}, "no place in an event"),
        ({"columns": {"level": "data.fields.level"}}, "needs log_table"),
        ({"columns": {"a": {"path": "time", "type": "date"}}}, "Input should be"),
        ({"url": "postgresql://u@h/d", "tls": {}}, "either ca_file or insecure"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, Any], why: str) -> None:
    """A wrong option is told before anything is connected."""
    with pytest.raises(ValidationError, match=why):
        options(**values)


def test_columns_go_where_their_values_are() -> None:
    """With two tables a column stands in that of its events, and what all have in both."""
    mixed = {"at": "time", "size": "data.file.size", "level": "data.fields.level"}
    both = options(log_table="entries", columns=mixed)
    assert list(both.columns_of("file")) == ["at", "size"]
    assert list(both.columns_of("log")) == ["at", "level"]
    logs = options(log_table="entries", columns={"at": "time", "level": "data.fields.level"})
    assert not logs.columns_of("file"), "no column is of files: that table has the default ones"
    assert list(options(columns={"at": "time"}).columns_of("file")) == ["at"]


def test_insecure_is_what_others_can_read() -> None:
    """A server elsewhere needs TLS that checks its certificate."""
    assert options(url="postgresql://u@db.test/d").is_insecure
    assert options(url="postgresql://u@db.test/d", tls={"insecure": True}).is_insecure
    assert not options(url="postgresql://u@db.test/d", tls={"ca_file": "/ca.pem"}).is_insecure
    assert not options(url="postgresql://u@127.0.0.1/d").is_insecure
    assert not options(url="postgresql://u@%2Frun/d").is_insecure


def test_a_directory_that_is_missing_is_found_by_looking(tmp_path: Path) -> None:
    """`validate` and `doctor` tell of a SQLite file that could not be made."""
    missing = options(url=f"sqlite:///{tmp_path}/missing/events.db")
    assert isinstance(inspect("sql", missing), SinkMisconfigured)
    assert inspect("sql", options(url=f"sqlite:///{tmp_path}/events.db")) is None


def test_a_file_in_its_own_root_is_refused(tmp_path: Path) -> None:
    """A database that is watched by the group which writes to it would make events of its own rows."""
    file = tmp_path / "config.yaml"
    file.write_text(
        f"watch_groups:\n  - {{name: g, paths: [{tmp_path}], sinks: [s]}}\n"
        f'sinks:\n  - {{name: s, type: sql, table: t, url: "sqlite:///{tmp_path}/events.db"}}\n'
    )
    done = run("validate", str(file))
    assert done.code == 78
    assert "no end of events" in done.err + done.out


def test_a_probe_is_stored(tmp_path: Path) -> None:
    """`test-sink` makes the tables and stores one message, which is no part of a stream."""
    (tmp_path / "in").mkdir()
    file = tmp_path / "config.yaml"
    file.write_text(
        f"watch_groups:\n  - {{name: g, paths: [{tmp_path}/in], sinks: [s]}}\n"
        f'sinks:\n  - {{name: s, type: sql, table: t, url: "sqlite:///{tmp_path}/events.db"}}\n'
    )
    done = run("test-sink", "s", "-c", str(file))
    assert done.code == 0, done.err
    assert "publish: ok" in done.out
