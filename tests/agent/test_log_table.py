"""docs/log-monitor.md: from a log of nginx, by an agent that is a process, to the answers of SQL queries."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.agent.conftest import Launch
from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.waiting import eventually

DOCUMENT = (Path(__file__).parents[2] / "docs" / "log-monitor.md").read_text()
EXAMPLE = Path(__file__).parents[2] / "examples" / "log-monitor.yaml"
FAILED, REJECTED = re.findall(r"^```sql\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


def request(path: str, status: int, size: int = 5) -> str:
    """A line as nginx writes it."""
    return (
        f'203.0.113.7 - - [21/Nov/2026:08:00:00 +0000] "GET {path} HTTP/1.1" {status} {size} "-" "curl/8.5.0"'
    )


class Site:
    """
    The agent of the document, which follows the log of a directory and stores in a file of SQLite.

    Args:
        launch: see the fixture.
        directory: where the log is.
        scratch: for the database and the state.
    """

    def __init__(self, launch: Launch, directory: Path, scratch: Path) -> None:
        self._log = directory / "access.log"
        self.database = scratch / "requests.db"
        (sink,) = yaml.safe_load(
            next(block for block in re.findall(r"^```yaml\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL))
        )["sinks"]
        sink["url"] = f"sqlite:///{self.database}"
        group = yaml.safe_load(EXAMPLE.read_text())["watch_groups"][0]
        group["paths"] = [os.fspath(directory)]
        state = {"dir": os.fspath(scratch / "state")}
        self.agent: AgentProcess = launch([sink], group, state=state)

    def write(self, *lines: str) -> None:
        """Append to the log."""
        with self._log.open("a") as stream:
            stream.writelines(f"{line}\n" for line in lines)

    def rotate(self) -> None:
        """By rename, as `create` does."""
        self._log.rename(self._log.with_suffix(".log.1"))
        self._log.touch()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database answers."""
        with closing(sqlite3.connect(self.database, timeout=30)) as client:
            return client.execute(query).fetchall()

    def holds(self, count: int, table: str = "requests") -> None:
        """Wait until a table has so many rows."""
        eventually(lambda: self.agent.metric("sink_connects_total"), what="the tables are there")
        counted = f"SELECT count(*) FROM {table}"
        eventually(lambda: self.rows(counted)[0][0] >= count, what=f"{count} rows in {table}")
        assert self.rows(counted) == [(count,)]


@pytest.fixture
def site(launch: Launch, trees: Trees, scratch: Path) -> Site:
    """The document's agent; not started."""
    return Site(launch, trees.root, scratch)


def test_from_a_log_to_a_query(site: Site) -> None:
    """The document's sink has a row for each request, with types, and its query finds what failed."""
    site.write(request("/a", 200), request("/b", 500), request("/b", 500, 7))
    site.agent.start()
    site.holds(3)
    site.write(request("/c", 503), "no request", request("/d", 404))
    site.holds(5)
    assert site.rows(FAILED) == [("/b", 500, 2), ("/c", 503, 1)]
    (first,) = site.rows("SELECT * FROM requests WHERE path = '/a'")
    assert first == ("2026-11-21T08:00:00.000000Z", "203.0.113.7", "GET", "/a", 200, 5, "curl/8.5.0")
    ((_, kind, reason, event),) = site.rows(REJECTED)
    assert (kind, reason) == ("log.rejected", "is not in combined log format")
    assert '"message":"no request"' in event
    assert site.agent.metric("log_rejected_total") == 1
    assert site.agent.metric("sink_rejected_rows_total") == 0
    site.agent.stop()


def test_killed_between_rotations(site: Site) -> None:
    """Killed between commit and confirmation, and rotated meanwhile: each request is one row, in order."""
    site.agent.patch = "tests.agent.deaths:after_rows"
    paths = [f"/{number:04d}" for number in range(900)]
    site.write(*(request(path, 200) for path in paths[:300]))
    site.agent.start(ready=False)
    assert site.agent.ended() == -9
    stored = len(site.rows("SELECT * FROM requests"))
    site.write(*(request(path, 200) for path in paths[300:600]))
    site.rotate()
    site.write(*(request(path, 200) for path in paths[600:]))
    site.agent.patch = ""
    site.agent.start()
    site.holds(900)
    assert stored > 0
    assert [path for (path,) in site.rows("SELECT path FROM requests ORDER BY rowid")] == paths
    site.agent.stop()


def test_rows_that_the_table_refuses_are_counted(site: Site) -> None:
    """What a table of the operator does not take stands in the other one, with the reason, and is counted."""
    site.rows(
        "CREATE TABLE requests (time TEXT, remote_addr TEXT, method TEXT, path TEXT, status INTEGER,"
        " bytes INTEGER CHECK (bytes < 1000), user_agent TEXT)"
    )
    site.write(request("/a", 200), request("/b", 200, 5000), request("/c", 200))
    site.agent.start()
    site.holds(2)
    site.holds(1, "requests_rejected")
    ((_, kind, reason, _event),) = site.rows(REJECTED)
    assert kind == "log.entry"
    assert "CHECK constraint failed" in reason
    eventually(lambda: site.agent.delivered("requests", "nginx"), what="all is confirmed")
    eventually(
        lambda: site.agent.metric("sink_rejected_rows_total", sink="requests") == 1, what="it is counted"
    )
    assert site.agent.metric("parked_events") == 0
    assert site.agent.metric("log_rejected_total") == 0
    site.agent.stop()
