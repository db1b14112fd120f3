"""
Messages that a sink will never take: kept for an operator, and what stands in their places in the stream.

A row outlives what an operator does with it until its batch is pruned, without the message: whoever reads the
journal once more must find in its place what stood there before.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from inotify_bridge.outbox.journal import Position

_SETTLED: Final = b""


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
        """Of all messages and what stands in their places."""
        row = self._connection.execute(
            "SELECT coalesce(sum(length(record) + length(replacement)), 0) FROM parked"
        ).fetchone()
        total: int = row[0]
        return total

    def settle(self, parked: Iterable[Parked]) -> None:
        """An operator has dealt with these."""
        self._connection.executemany(
            "UPDATE parked SET record = ? WHERE sink = ? AND epoch = ? AND sequence = ?",
            [(_SETTLED, one.sink, *one.position) for one in parked],
        )

    def prune(self) -> None:
        """Forget what was dealt with and is no longer in the journal."""
        self._connection.execute(
            "DELETE FROM parked WHERE length(record) = 0 AND NOT EXISTS (SELECT 1 FROM batches WHERE "
            "batches.epoch = parked.epoch AND sequence BETWEEN first AND last)"
        )
