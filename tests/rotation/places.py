"""Where the agent of a run delivers, and what has arrived there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from tests.sinks.sql_harness import SqlHarness

SINK = "place"
"""Its name."""

_CHUNK = 100_000


class Place(Protocol):
    """A sink, and a look at it from outside."""

    @property
    def sink(self) -> dict[str, Any]:
        """Its configuration."""

    def messages(self) -> Iterator[str]:
        """The text of the entries, in the order in which they arrived."""

    def lost_bytes(self) -> int:
        """What the notices of losses say, all together."""


class FilePlace:
    """
    A file of events, each of which may stand in it more than once.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def sink(self) -> dict[str, Any]:
        """See `Place`."""
        return {"name": SINK, "type": "jsonl", "path": str(self._path)}

    def messages(self) -> Iterator[str]:
        """See `Place`; the repeats of an event are one."""
        return (event["data"]["message"] for event in self._events("entry"))

    def lost_bytes(self) -> int:
        """See `Place`."""
        return sum(event["data"]["lost_bytes"] for event in self._events("truncated"))

    def _events(self, kind: str) -> Iterator[dict[str, Any]]:
        seen: set[str] = set()
        with self._path.open("rb") as stream:
            for line in stream:
                event = json.loads(line)
                if event["type"].endswith(f".log.{kind}.v1") and event["id"] not in seen:
                    seen.add(event["id"])
                    yield event


class TablePlace:
    """
    A table without a key, which takes every row that comes and numbers it.

    Args:
        database: with that table.
    """

    def __init__(self, database: SqlHarness) -> None:
        self._database = database
        self._table = database.name

    @property
    def sink(self) -> dict[str, Any]:
        """See `Place`."""
        columns = {"body": "data.message", "path": "data.log.file.path"}
        where = {"url": self._database.url, "log_table": self._table}
        return {"name": SINK, "type": "sql", **where, "columns": columns}

    def messages(self) -> Iterator[str]:
        """See `Place`; each row counts."""
        query = f"SELECT number, body FROM {self._table} WHERE number > ? ORDER BY number LIMIT {_CHUNK}"
        last = 0
        while rows := self._database.rows(query, last):
            yield from (body for _, body in rows)
            last = rows[-1][0]

    def lost_bytes(self) -> int:
        """See `Place`."""
        query = f"SELECT event FROM {self._table}_rejected WHERE kind = 'log.truncated'"
        return sum(json.loads(event)["data"]["lost_bytes"] for (event,) in self._database.rows(query))
