"""What a consumer has received until now, and what the agent left on its disk."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

from inotify_bridge.outbox.database import MIGRATIONS
from tests.agent.arrivals import Arrival
from tests.agent.places import KafkaPlace, Place, RabbitmqPlace
from tests.brokers import KafkaBroker, RabbitmqBroker

Position: TypeAlias = tuple[str, int]

_FOREVER = 10**9


class Witness:
    """
    Follows the file that a consumer writes, line by line; a line that is being written is left for later.

    Args:
        file: of `tests.agent.consumer`, or a ``jsonl`` sink's own.
        stamped: whether each line begins with the time of receipt.
    """

    def __init__(self, file: Path, stamped: bool) -> None:
        self.all: list[Arrival] = []
        self.highest: Position = ("", 0)
        self._file = file
        self._stamped = stamped
        self._read = 0

    def look(self) -> Position:
        """Read what has come; the highest position of all."""
        for line in self._lines():
            at, _, body = line.partition(b" ") if self._stamped else (str(time.time_ns()), " ", line)
            self.all.append(Arrival(int(at), body, json.loads(body)))
            self.highest = max(self.highest, self.all[-1].position)
        return self.highest

    def _lines(self) -> list[bytes]:
        if not self._file.exists():
            return []
        with self._file.open("rb") as file:
            file.seek(self._read)
            lines = file.read().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        self._read += sum(map(len, whole))
        return whole


class Destination(Protocol):
    """Where a sink publishes to, with somebody who reads it."""

    def sink(self, name: str) -> dict[str, Any]:
        """The sink in the agent's configuration."""

    def another(self) -> Destination:
        """An empty one of the same kind, for another sink."""

    def witnessed(self) -> contextlib.AbstractContextManager[Witness]:
        """Everything that comes from now on, while the context lasts; it is removed then."""


class BrokerDestination:
    """
    A queue or a topic of a real broker, read by a process of its own.

    Args:
        scratch: a directory for what the consumer writes.
    """

    def __init__(self, broker: RabbitmqBroker | KafkaBroker, scratch: Path) -> None:
        self._broker, self._scratch = broker, scratch
        self._place: Place
        if isinstance(broker, RabbitmqBroker):
            self._place = RabbitmqPlace(broker, scratch)
        else:
            self._place = KafkaPlace(broker, scratch)

    def sink(self, name: str) -> dict[str, Any]:
        """See `Destination`."""
        return self._place.sink(name)

    def another(self) -> BrokerDestination:
        """See `Destination`."""
        return BrokerDestination(self._broker, self._scratch)

    @contextlib.contextmanager
    def witnessed(self) -> Iterator[Witness]:
        """See `Destination`."""
        with self._place.consuming(stops=_FOREVER) as consuming:
            yield Witness(consuming.file, stamped=True)
        self._place.close()


class FileDestination:
    """
    A file of the sink ``jsonl``.

    Args:
        directory: must exist.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / f"{uuid.uuid4().hex}.jsonl"

    def sink(self, name: str) -> dict[str, Any]:
        """See `Destination`."""
        return {"name": name, "type": "jsonl", "path": str(self._file)}

    def another(self) -> FileDestination:
        """See `Destination`."""
        return FileDestination(self._directory)

    @contextlib.contextmanager
    def witnessed(self) -> Iterator[Witness]:
        """See `Destination`."""
        yield Witness(self._file, stamped=False)


class Left(NamedTuple):
    """
    What stands in the state directory of an agent that is dead.

    Args:
        end: epoch and number of the last message recorded.
        watermarks: how far each sink has confirmed.
    """

    end: Position
    watermarks: dict[str, Position]

    @classmethod
    def read(cls, state: Path) -> Left | None:
        """
        Of the only group; None where there is no database yet.

        A copy is read: to open the database would repair it, and that is the agent's part.
        """
        with tempfile.TemporaryDirectory() as scratch:
            for suffix in ("", "-wal"):
                for file in state.glob(f"*.db{suffix}"):
                    shutil.copy(file, scratch)
            databases = list(Path(scratch).glob("*.db"))
            return cls._of(databases[0]) if databases and databases[0].stat().st_size else None

    @classmethod
    def _of(cls, database: Path) -> Left | None:
        connection = sqlite3.connect(database)
        try:
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone():
                return None
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            meta = dict(connection.execute("SELECT key, value FROM meta"))
            rows = connection.execute("SELECT sink, epoch, sequence FROM watermarks").fetchall()
        finally:
            connection.close()
        return cls(
            (meta["epoch"], meta["last_sequence"]), {sink: (epoch, last) for sink, epoch, last in rows}
        )


def aged(state: Path) -> None:
    """Make the only database of a state directory, whose agent is dead, what the first release left."""
    connection = sqlite3.connect(_database(state))
    made = re.findall(r"CREATE TABLE (\w+)", " ".join(MIGRATIONS))
    assert made, "no migration is known"
    for table in made:
        connection.execute(f"DROP TABLE {table}")
    connection.execute("UPDATE meta SET value = 0 WHERE key = 'schema_minor'")
    connection.commit()
    connection.close()


def damaged(state: Path) -> None:
    """Write over the only database of a state directory; its log of writes stays, and is whole."""
    database = _database(state)
    database.write_bytes(b"\xa5" * database.stat().st_size)


def _database(state: Path) -> Path:
    (found,) = state.glob("*.db")
    return found
