"""The journal: the messages of a group, in the order of their commits, until every sink confirmed them."""

from __future__ import annotations

import sqlite3
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from inotify_bridge.outbox.database import explained, open_reader

PRUNE_BYTES: Final = 64 * 1024**2

_ROW_BYTES: Final = 4 * 1024**2

_LOOKS: Final = 1000

# One row of result, for the reason given in index.py. The batches that may go are those before the first that
# some sink has not confirmed, and of these before the first that is too young.
_PRUNABLE: Final = """
WITH confirmed AS (
    SELECT coalesce(
        (SELECT id FROM batches WHERE (epoch, last) > (?1, ?2) ORDER BY epoch, last LIMIT 1),
        9223372036854775807
    ) AS before
), old AS (
    SELECT coalesce(
        (SELECT id FROM batches, confirmed WHERE id < before AND committed > ?3 AND committed <= ?4
         ORDER BY id LIMIT 1),
        (SELECT before FROM confirmed)
    ) AS before
), sizes AS (
    SELECT id, size, sum(size) OVER (ORDER BY id) AS total
    FROM batches, old WHERE id < before ORDER BY id LIMIT 4096
)
SELECT coalesce(max(id), 0), coalesce(max(total), 0) FROM sizes WHERE total - size < ?5
"""

_Batch: TypeAlias = tuple[str, int, bytes, bytes]


class Position(NamedTuple):
    """
    A place in a group's stream; positions compare in the order of the stream.

    Args:
        epoch: of the index that the message came from.
        sequence: of the last message before the place; 0: the beginning of the epoch.
    """

    epoch: str
    sequence: int


class Chunk(NamedTuple):
    """Records with consecutive sequences of one epoch; `first` is the sequence of the first one."""

    epoch: str
    first: int
    records: list[bytes]

    @property
    def last(self) -> Position:
        """The position after the whole chunk."""
        return Position(self.epoch, self.first + len(self.records) - 1)


class Journal:
    """
    The writing side. Used by the thread of the connection, within transactions of the caller.

    `append` and `prune` return how many bytes of records come or go, for the caller to count once it is
    committed.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def total_bytes(self) -> int:
        """Of all records in the journal; reads every row, for the start."""
        row = self._connection.execute("SELECT coalesce(sum(size), 0) FROM batches").fetchone()
        total: int = row[0]
        return total

    def oldest(self, epoch: str) -> int | None:
        """The first sequence of an epoch that is kept."""
        row = self._connection.execute(
            "SELECT first FROM batches WHERE epoch = ? ORDER BY last LIMIT 1", (epoch,)
        ).fetchone()
        return None if row is None else int(row[0])

    def front(self) -> Position | None:
        """The position before the first message that is kept; None where there is none."""
        row = self._connection.execute(
            "SELECT epoch, first - 1 FROM batches ORDER BY epoch, last LIMIT 1"
        ).fetchone()
        return None if row is None else Position(*row)

    def ends(self) -> list[Position]:
        """The end of every epoch of which something is kept; for the start."""
        rows = self._connection.execute("SELECT epoch, max(last) FROM batches GROUP BY epoch ORDER BY epoch")
        return [Position(epoch, last) for epoch, last in rows.fetchall()]

    def since(self, confirmed: Position) -> list[tuple[Position, float]]:
        """When what stands after a position was committed, Unix seconds: `_LOOKS` batches or so."""
        (first,) = self._connection.execute(
            "SELECT coalesce((SELECT id FROM batches WHERE (epoch, last) > (?,?) "
            "ORDER BY epoch, last LIMIT 1), 0)",
            confirmed,
        ).fetchone()
        (newest,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM batches").fetchone()
        if not first:
            return []
        found = [
            self._connection.execute(
                "SELECT epoch, last, committed FROM batches WHERE id >= ? ORDER BY id LIMIT 1", (at,)
            ).fetchone()
            for at in [*range(first, newest, max(1, (newest - first) // _LOOKS)), newest]
        ]
        return [(Position(epoch, last), committed) for epoch, last, committed in found]

    def append(self, epoch: str, first: int, records: Sequence[bytes]) -> int:
        """Write one batch, whose first message has the sequence `first`."""
        size = 0
        for piece in _pieces(records):
            size += self._append_row(epoch, first, piece)
            first += len(piece)
        return size

    def _append_row(self, epoch: str, first: int, records: Sequence[bytes]) -> int:
        lengths = struct.pack(f"<{len(records)}I", *map(len, records))
        blob = b"".join(records)
        self._connection.execute(
            "INSERT INTO batches (epoch, first, last, committed, lengths, size, records) "
            "VALUES (?,?,?,?,?,?,?)",
            (epoch, first, first + len(records) - 1, time.time(), lengths, len(blob), blob),
        )
        return len(blob)

    def prune(self, confirmed: Position, retain: float) -> int:
        """
        Remove batches from the front: up to and with `confirmed`, and not of the last `retain` seconds.

        Where the clock was set back a batch may come from the future: it is not kept until that has passed.
        A batch that has to stay keeps all after it, so that what is left has no hole. A call frees at most
        `PRUNE_BYTES`, so that it does not hold up the next commit.
        """
        now = time.time()
        places = (*confirmed, now - retain, now, PRUNE_BYTES)
        end, freed = self._connection.execute(_PRUNABLE, places).fetchone()
        self._connection.execute("DELETE FROM batches WHERE id <= ?", (end,))
        return int(freed)


class Reader:
    """
    What one sink reads of the journal: everything in order, with the replacements of what it has parked.

    Made and used by the relay's thread, on a connection of its own. A read is one short transaction: one that
    stayed open would keep the writer from checkpointing.
    """

    def __init__(self, path: Path, sink: str) -> None:
        """Open the database. Raises: StoreError."""
        self._path = path
        self._sink = sink
        self._connection = open_reader(path)

    def read(self, after: Position, max_bytes: int, max_count: int) -> Chunk | None:
        """
        The next records after a position; None when there are none yet.

        A chunk never holds records of two epochs. It holds at least one record, however large that is.

        Raises:
            StoreError: the database cannot be read.
        """
        with explained(self._path):
            chunk = self._read(after, max_bytes, max_count)
            return chunk and self._with_replacements(chunk)

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()

    def _read(self, after: Position, max_bytes: int, max_count: int) -> Chunk | None:
        rows = self._connection.execute(
            "SELECT epoch, first, lengths, records FROM batches "
            "WHERE (epoch, last) > (?, ?) ORDER BY epoch, last",
            after,
        )
        try:
            return _gather(rows, after, max_bytes, max_count)
        finally:
            rows.close()

    def _with_replacements(self, chunk: Chunk) -> Chunk:
        rows = self._connection.execute(
            "SELECT sequence, replacement FROM parked "
            "WHERE sink = ? AND epoch = ? AND sequence BETWEEN ? AND ?",
            (self._sink, chunk.epoch, chunk.first, chunk.last.sequence),
        )
        for sequence, replacement in rows.fetchall():
            chunk.records[sequence - chunk.first] = replacement
        return chunk


def _gather(rows: Iterable[_Batch], after: Position, max_bytes: int, max_count: int) -> Chunk | None:
    chunk: Chunk | None = None
    size = 0
    for epoch, first, lengths, blob in rows:
        if chunk is None:
            start = max(first, after.sequence + 1) if epoch == after.epoch else first
            chunk = Chunk(epoch, start, [])
        elif epoch != chunk.epoch:
            break
        for record in _split(blob, lengths, max(0, chunk.first - first)):
            size += len(record)
            if chunk.records and (size > max_bytes or len(chunk.records) >= max_count):
                return chunk
            chunk.records.append(record)
    return chunk


def _split(blob: bytes, lengths: bytes, skip: int) -> Iterator[bytes]:
    numbers = struct.unpack(f"<{len(lengths) // 4}I", lengths)
    start = sum(numbers[:skip])
    for length in numbers[skip:]:
        yield blob[start : start + length]
        start += length


def _pieces(records: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Records in rows of a bounded size: readers and pruning take whole rows."""
    begin = size = 0
    for at, record in enumerate(records):
        if size + len(record) > _ROW_BYTES and at > begin:
            yield records[begin:at]
            begin, size = at, 0
        size += len(record)
    yield records[begin:]
