"""
Messages that a sink will never take: kept for an operator, and what stands in their places in the stream.

A row outlives what an operator does with it until its batch is pruned, without the message: whoever reads the
journal once more must find in its place what stood there before.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from inotify_bridge.outbox.journal import Position

# One statement for all of them, for the reason given in index.py; so is what follows.
_NUMBERS: Final = (
    "SELECT '[' || group_concat(parked.rowid) || ']' FROM json_each(?) AS chosen CROSS JOIN parked ON "
    "sink = json_extract(value, '$[0]') AND epoch = json_extract(value, '$[1]') "
    "AND sequence = json_extract(value, '$[2]')"
)
_CHOSEN: Final = "rowid IN (SELECT value FROM json_each(?1))"


class Parked(NamedTuple):
    """
    A message that a sink will never take.

    Args:
        sink: its name.
        position: of the message.
        time: when it was parked, Unix seconds.
        reason: class of the failure.
        detail: the broker's words.
        record: the message as it was.
    """

    sink: str
    position: Position
    time: float
    reason: str
    detail: str
    record: bytes


class ParkedTable:
    """
    The parked messages on a connection.

    Used by the thread of the connection, writing within a transaction of the caller. Raises sqlite3.Error.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._swept = False

    def add(
        self, sink: str, position: Position, record: bytes, replacement: bytes, reason: str, detail: str
    ) -> bool:
        """Set a message aside. One that was parked before is left as it was: False."""
        cursor = self._connection.execute(
            "INSERT INTO parked (sink, epoch, sequence, time, reason, detail, record, replacement) "
            "VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING",
            (sink, *position, time.time(), reason, detail, record, replacement),
        )
        return cursor.rowcount > 0

    def counts(self) -> dict[str, int]:
        """How many wait for an operator, of each sink that has any."""
        return dict(
            self._connection.execute(
                "SELECT sink, count(*) FROM parked WHERE length(record) > 0 GROUP BY sink"
            )
        )

    def all(self) -> list[Parked]:
        """Those that wait for an operator, in the order of the stream."""
        rows = self._connection.execute(
            "SELECT sink, epoch, sequence, time, reason, detail, record FROM parked "
            "WHERE length(record) > 0 ORDER BY epoch, sequence, sink"
        ).fetchall()
        return [Parked(sink, Position(epoch, sequence), *rest) for sink, epoch, sequence, *rest in rows]

    def total_bytes(self) -> int:
        """Of all messages and what stands in their places; reads every row, for the start."""
        return self._sum("length(record) + length(replacement)", "true", ())

    def settle(self, parked: Iterable[Parked], gone: Position) -> int:
        """
        An operator has dealt with these.

        Args:
            gone: the journal has nothing up to and with this.
        Returns:
            Bytes that came free.
        """
        places = json.dumps([(one.sink, *one.position) for one in parked])
        (numbers,) = self._connection.execute(_NUMBERS, (places,)).fetchone()
        if numbers is None:
            return 0
        freed = self._sum("length(record)", _CHOSEN, (numbers,))
        self._connection.execute(f"UPDATE parked SET record = x'' WHERE {_CHOSEN}", (numbers,))
        return freed + self._forget(f"{_CHOSEN} AND (epoch, sequence) <= (?2, ?3)", (numbers, *gone))

    def prune(self, before: Position, gone: Position) -> int:
        """
        Forget what was dealt with and is no longer in the journal.

        Only what left the journal now is looked at, for there may be very many that wait for an operator; at
        the first call all, since an earlier release left some behind.

        Args:
            before, gone: up to and with which the journal had, and has, nothing.
        Returns:
            Bytes that came free.
        """
        places = (*(before if self._swept else Position("", 0)), *gone)
        self._swept = True
        return sum(
            self._forget(
                "sink = ?1 AND (epoch, sequence) > (?2, ?3) AND (epoch, sequence) <= (?4, ?5) "
                "AND length(record) = 0",
                (sink, *places),
            )
            for sink in self._sinks()
        )

    def _sinks(self) -> Iterator[str]:
        """Those that have parked messages, sinks that are gone among them; a step in the index for each."""
        sink = ""
        while True:
            (sink,) = self._connection.execute(
                "SELECT min(sink) FROM parked WHERE sink > ?", (sink,)
            ).fetchone()
            if sink is None:
                return
            yield sink

    def _forget(self, which: str, values: tuple[object, ...]) -> int:
        freed = self._sum("length(record) + length(replacement)", which, values)
        if freed:  # a replacement is never empty
            self._connection.execute(f"DELETE FROM parked WHERE {which}", values)
        return freed

    def _sum(self, what: str, which: str, values: tuple[object, ...]) -> int:
        row = self._connection.execute(
            f"SELECT coalesce(sum({what}), 0) FROM parked WHERE {which}", values
        ).fetchone()
        total: int = row[0]
        return total
