"""
The index in the database: what the stream has said about every entry of the tree.

Every statement takes many rows. Python's module gives up the interpreter's lock at each step of a statement,
and gets it back only when another busy thread lets go: with a statement for every row the recorder would
stand still beside a busy relay.
"""

from __future__ import annotations

import functools
import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from struct import Struct
from struct import error as StructError
from typing import Any, Final

from inotify_bridge.capture.change import Stat
from inotify_bridge.capture.index import Key, Row, Writes

# mode, size, uid, gid, device, inode, links, mtime, ctime; the target of a symbolic link follows.
_STAT: Final = Struct("<IqIIQQQqq")
# The same without the times, for those that do not fit 64 bits of nanoseconds (after the year 2262): they
# follow as 16 bytes each. Told apart by the top bit of the mode, which no kernel sets.
_WIDE: Final = Struct("<IqIIQQQ")
_WIDE_FLAG: Final = 1 << 31
_INT128: Final = 16

_TWO_63: Final = 1 << 63
_TWO_64: Final = 1 << 64

_CHUNK: Final = 512
_COLUMNS: Final = 7

# A name holds no slash. Aggregates of one query see the rows in the same order.
_PAGE: Final = (
    "SELECT group_concat(dir), CAST(group_concat(name, '/') AS BLOB), group_concat(type), group_concat(node) "
    "FROM (SELECT * FROM entries WHERE (dir, name) > (?, ?) ORDER BY dir, name LIMIT 4096)"
)


class IndexTable:
    """
    Implements `capture.index.Index` on a connection, and its writing.

    Used by the thread of the connection. Raises sqlite3.Error; the store explains it.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def row(self, directory: int, name: bytes) -> Row | None:
        """The row of one entry."""
        return self.rows(directory, (name,)).get(name)

    def rows(self, directory: int, names: Sequence[bytes]) -> dict[bytes, Row]:
        """The rows of these names of one directory, as far as there are any."""
        found: dict[bytes, Row] = {}
        for chunk in _chunks(names):
            columns = self._connection.execute(_select(len(chunk)), [directory, *chunk]).fetchone()
            if columns[0] is not None:
                found.update(_decode(*columns))
        return found

    def names(self, device: int, inode: int) -> list[Key]:
        """Where an inode is known to stand."""
        signed = inode if inode < _TWO_63 else inode - _TWO_64
        cursor = self._connection.execute("SELECT dir, name, stat FROM entries WHERE inode = ?", [signed])
        return [(directory, name) for directory, name, stat in cursor.fetchall() if _device(stat) == device]

    def entries(self) -> Iterator[tuple[int, bytes, int, int]]:
        """Every row as (directory, name, type, node), in the order of the keys."""
        after: tuple[int, bytes] = (-1, b"")
        while True:
            dirs, names, types, nodes = self._connection.execute(_PAGE, after).fetchone()
            if not dirs:
                return
            page = zip(_integers(dirs), names.split(b"/"), _integers(types), _integers(nodes), strict=True)
            for after_dir, after_name, type_, node in page:
                yield after_dir, after_name, type_, node
            after = after_dir, after_name

    def write(self, writes: Writes) -> None:
        """Store and remove rows, within the transaction of the caller."""
        gone: dict[int, list[bytes]] = {}
        values: list[Any] = []
        for (directory, name), row in writes.items():
            if row is None:
                gone.setdefault(directory, []).append(name)
                continue
            type_, node, stat, ready = row
            packed = ready if ready is None else b"".join(map(_int128, ready))
            if stat is None:
                values += (directory, name, type_, node, None, None, packed)
            else:
                inode = stat[5]
                signed = inode if inode < _TWO_63 else inode - _TWO_64
                values += (directory, name, type_, node, signed, _pack_stat(stat), packed)
        for directory, names in gone.items():
            for chunk in _chunks(names):
                self._connection.execute(_delete(len(chunk)), [directory, *chunk])
        self._upsert(values)

    def clear(self) -> None:
        """Remove every row, within the transaction of the caller."""
        self._connection.execute("DELETE FROM entries")

    def _upsert(self, values: list[Any]) -> None:
        start, rows, size = 0, len(values) // _COLUMNS, _CHUNK
        while rows:
            while size > rows:
                size //= 2
            end = start + size * _COLUMNS
            self._connection.execute(_insert(size), values[start:end])
            start, rows = end, rows - size


def _chunks(names: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """In lengths that are powers of two, so that few statements serve: filled up by repeating a name."""
    for start in range(0, len(names), _CHUNK):
        chunk = names[start : start + _CHUNK]
        length = 1 << (len(chunk) - 1).bit_length()
        yield [*chunk, *itertools.repeat(chunk[0], length - len(chunk))]


@functools.cache
def _select(count: int) -> str:
    return (
        "SELECT CAST(group_concat(name, '/') AS BLOB), group_concat(type), group_concat(node), "
        "CAST(group_concat(coalesce(stat, x''), '') AS BLOB), "
        "min(coalesce(length(stat), 0)), max(length(stat)), count(ready), "
        "group_concat(coalesce(length(stat), 0)), "
        "CAST(group_concat(coalesce(ready, x''), '') AS BLOB), group_concat(coalesce(length(ready), 0)) "
        f"FROM entries WHERE dir = ? AND name IN ({','.join('?' * count)})"
    )


@functools.cache
def _delete(count: int) -> str:
    return f"DELETE FROM entries WHERE dir = ? AND name IN ({','.join('?' * count)})"


@functools.cache
def _insert(count: int) -> str:
    rows = ",".join(["(?,?,?,?,?,?,?)"] * count)
    return (
        f"INSERT INTO entries (dir, name, type, node, inode, stat, ready) VALUES {rows} "
        "ON CONFLICT (dir, name) DO UPDATE SET type = excluded.type, node = excluded.node, "
        "inode = excluded.inode, stat = excluded.stat, ready = excluded.ready"
    )


def _decode(
    names: bytes,
    types: str,
    nodes: str,
    stats: bytes,
    shortest: int,
    longest: int,
    ready: int,
    *sizes: Any,
) -> dict[bytes, Row]:
    """Take apart what `_select` has put together."""
    if shortest == longest == _STAT.size and not ready:
        return _plain_rows(names, types, nodes, stats)
    return _rows(names, types, nodes, stats, *sizes)


def _rows(
    names: bytes,
    types: str,
    nodes: str,
    stats: bytes,
    stat_sizes: str,
    readys: bytes,
    ready_sizes: str,
) -> dict[bytes, Row]:
    split = zip(
        names.split(b"/"),
        _integers(types),
        _integers(nodes),
        _pieces(stats, stat_sizes),
        _pieces(readys, ready_sizes),
        strict=True,
    )
    return {
        name: Row(type_, node, _unpack_stat(stat), _unpack_ready(ready))
        for name, type_, node, stat, ready in split
    }


def _plain_rows(names: bytes, types: str, nodes: str, stats: bytes) -> dict[bytes, Row]:
    """The rows where every entry has a stat without a target, and none was ready: three times as fast."""
    rows = map(Row, _integers(types), _integers(nodes), itertools.starmap(Stat, _STAT.iter_unpack(stats)))
    return dict(zip(names.split(b"/"), rows, strict=True))


def _integers(text: str) -> Iterator[int]:
    return map(int, text.split(","))


def _pieces(joined: bytes, sizes: str) -> Iterator[bytes]:
    ends = itertools.accumulate(_integers(sizes), initial=0)
    return (joined[start:end] for start, end in itertools.pairwise(ends))


def _pack_stat(stat: Stat) -> bytes:
    try:
        packed = _STAT.pack(*stat[:9])
    except StructError:
        packed = _WIDE.pack(stat.mode | _WIDE_FLAG, *stat[1:7]) + _int128(stat.mtime) + _int128(stat.ctime)
    return packed if stat.target is None else packed + b"\0" + stat.target


def _unpack_stat(packed: bytes) -> Stat | None:
    if not packed:
        return None
    fields = _STAT.unpack_from(packed)
    if fields[0] < _WIDE_FLAG:
        return Stat._make((*fields, _target(packed, _STAT.size)))
    mode, *rest = _WIDE.unpack_from(packed)
    end = _WIDE.size + 2 * _INT128
    times = _from_int128(packed[_WIDE.size : end])
    return Stat._make((mode ^ _WIDE_FLAG, *rest, *times, _target(packed, end)))


def _target(packed: bytes, start: int) -> bytes | None:
    return packed[start + 1 :] if len(packed) > start else None


def _device(packed: bytes) -> int:
    device: int = _WIDE.unpack_from(packed)[4]
    return device


def _unpack_ready(packed: bytes) -> tuple[int, int, int, int] | None:
    if not packed:
        return None
    inode, size, mtime, ctime = _from_int128(packed)
    return inode, size, mtime, ctime


def _int128(number: int) -> bytes:
    return number.to_bytes(_INT128, "little", signed=True)


def _from_int128(packed: bytes) -> list[int]:
    return [
        int.from_bytes(packed[start : start + _INT128], "little", signed=True)
        for start in range(0, len(packed), _INT128)
    ]
