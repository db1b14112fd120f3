"""
From an event to the row of a table: which columns there are, and what stands in them.

Values are what every driver and every fast path takes as it is: text, numbers, truth values and None. Names
of files stand as they do in events, percent-encoded where they are not UTF-8 or hold control characters, and
so never hold a NUL. Other text may; PostgreSQL stores none, so it becomes U+2400 in every database.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeAlias

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Double, Float, Integer, Numeric, Text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import JSON, TIMESTAMP, String, TypeEngine

from inotify_bridge.numerals import real, whole
from inotify_bridge.sinks.base import Message
from inotify_bridge.sinks.sql_options import ColumnOptions, Family, SqlOptions

Value: TypeAlias = str | int | float | None
Event: TypeAlias = Mapping[str, Any]

REJECTED_SUFFIX: Final = "_rejected"
LOG_KINDS: Final = ("log.rejected", "log.truncated")
"""What says that there is no entry: it stands with the rejected ones."""

_DECODER: Final = json.JSONDecoder()
_SEQUENCE: Final = b'"sequence":"'
_NUL_PICTURE: Final = "\u2400"
_LENGTHS: Final = (27, 30)
"""Of the times in events, to the microsecond or the nanosecond: these sort as they are."""
_TRUTH: Final = {"true": True, "1": True, "false": False, "0": False}

# SQLite has no type of its own for times: text that compares as times do.
_TIME: Final[TypeEngine[Any]] = (
    TIMESTAMP(timezone=True)
    .with_variant(Text(), "sqlite")
    .with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
)
_TEXT: Final[TypeEngine[Any]] = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
# A key needs a length there, and compares letters as what they are.
KEY_TEXT: Final[TypeEngine[Any]] = Text().with_variant(
    mysql.VARCHAR(190, collation="utf8mb4_bin"), "mysql", "mariadb"
)
_JSON: Final[TypeEngine[Any]] = (
    JSON().with_variant(postgresql.JSONB(), "postgresql").with_variant(Text(), "sqlite")
)
_TYPES: Final[Mapping[str, TypeEngine[Any]]] = {
    "text": _TEXT,
    "integer": BigInteger(),
    "float": Double(),
    "boolean": Boolean(),
    "timestamp": _TIME,
    "json": _JSON,
}
_PLACE: Final = (("source", KEY_TEXT), ("epoch", KEY_TEXT), ("sequence", BigInteger()))
_HAPPENED: Final = (("time", _TIME), ("kind", _TEXT), ("path", _TEXT))
_FILE_COLUMNS: Final = (
    *_PLACE,
    *_HAPPENED,
    ("moved_from", _TEXT),
    ("file_type", _TEXT),
    ("size", BigInteger()),
    ("mode", _TEXT),
    ("owner_id", _TEXT),
    ("group_id", _TEXT),
    ("inode", _TEXT),
    ("device", _TEXT),
    ("modified", _TIME),
    ("target", _TEXT),
    ("origin", _TEXT),
    ("data", _JSON),
)
_LOG_COLUMNS: Final = (
    *_PLACE,
    ("time", _TIME),
    ("path", _TEXT),
    ("byte_offset", BigInteger()),
    ("line", BigInteger()),
    ("length", BigInteger()),
    ("message", _TEXT),
    ("message_b64", _TEXT),
    ("cut", Boolean()),
    ("unfinished", Boolean()),
    ("fields", _JSON),
)
_REJECTED_COLUMNS: Final = (*_PLACE, *_HAPPENED, ("reason", _TEXT), ("event", _TEXT))


class Entry(NamedTuple):
    """
    One message, taken apart.

    Args:
        epoch: of the stream.
        message: as the relay gave it.
        event: its envelope.
    """

    epoch: str
    message: Message
    event: Event

    @classmethod
    def of(cls, message: Message) -> Entry:
        """Raises: ValueError, KeyError: it is no envelope of ours."""
        event, _ = _DECODER.raw_decode(message.body.decode())
        return cls(event["sequence"].rpartition("-")[0], message, event)


class Layout(NamedTuple):
    """
    The columns of one table.

    Args:
        name: of the table, without its schema.
        schema: or None.
        names: of the columns, in the order of the values of a row.
        types: of the same, where the table is made.
        key: how many of the first are its primary key.
        final: whether columns take the values of a row as they are; else these are still those of JSON.
        values: an entry to its row.
    """

    name: str
    schema: str | None
    names: tuple[str, ...]
    types: tuple[TypeEngine[Any], ...]
    key: int
    final: bool
    values: Callable[[Entry], tuple[Any, ...]]

    def columns(self) -> list[Column[Any]]:
        """What the table is made of."""
        return [
            Column(name, kind, primary_key=place < self.key, autoincrement=False)
            for place, (name, kind) in enumerate(zip(self.names, self.types, strict=True))
        ]


def layout(options: SqlOptions, family: Family) -> Layout | None:
    """The table of a family of events; None: they are not stored."""
    name = options.table_of(family)
    if name is None:
        return None
    if chosen := options.columns_of(family):
        kinds = [(column, _TYPES[one.type]) for column, one in chosen.items()]
        return _layout(name, kinds, _picker(list(chosen.values())), key=0, final=False)
    if family == "file":
        return _layout(name, _FILE_COLUMNS, _file_values)
    return _layout(name, _LOG_COLUMNS, _log_values)


def rejected_layout(table: str) -> Layout:
    """The table beside `table` for what that does not take; its rows come from `rejected_values`."""
    # Without a key: nothing is to be refused here.
    return _layout(
        table + REJECTED_SUFFIX, _REJECTED_COLUMNS, lambda entry: rejected_values(entry, None), key=0
    )


def epoch_of(message: Message) -> str:
    """
    The epoch of a message, without reading all of it.

    A quote inside a JSON string is always escaped, and `data` comes last: the first such place is the
    attribute.
    """
    begin = message.body.index(_SEQUENCE) + len(_SEQUENCE)
    return message.body[begin : message.body.index(b"-", begin)].decode()


def family_of(kind: str) -> Family:
    """Which table takes a kind of event."""
    return "log" if kind.startswith("log.") else "file"


def rejected_values(entry: Entry, reason: str | None) -> tuple[Value, ...]:
    """
    The row of an entry that has no place in its own table.

    Args:
        reason: the database's words; None: it says so itself.
    """
    event, message = entry.event, entry.message
    said = reason if reason is not None else str(event["data"].get("reason") or message.kind)
    path = event.get("subject")
    body = message.body.decode("utf-8", "replace")
    return (*_place(entry), event["time"], message.kind, path, plain(said), body)


def plain(value: Any) -> Value:
    """A value of JSON as a column takes it: what holds others is JSON text."""
    if value.__class__ is str:
        return value.replace("\0", _NUL_PICTURE) if "\0" in value else value
    if isinstance(value, dict | list):
        return as_json(value)
    number: int | float | None = value
    return number


def as_json(value: Any) -> str:
    """JSON text without NUL: PostgreSQL refuses ``\\u0000`` in jsonb."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return as_json(_without_nul(value)) if "\\u0000" in text and _has_nul(value) else text


def _layout(
    table: str,
    columns: Sequence[tuple[str, TypeEngine[Any]]],
    values: Callable[[Entry], tuple[Any, ...]],
    key: int = len(_PLACE),
    final: bool = True,
) -> Layout:
    schema, _, name = table.rpartition(".")
    names, types = zip(*columns, strict=True)
    return Layout(name, schema or None, names, types, key, final, values)


def _place(entry: Entry) -> tuple[str, str, int]:
    return entry.event["source"], entry.epoch, entry.message.sequence


def _file_values(entry: Entry) -> tuple[Value, ...]:
    event = entry.event
    data = event["data"]
    origin = data.get("origin")
    head = (*_place(entry), event["time"], entry.message.kind)
    file = data.get("file")
    if file is None:
        return (*head, event.get("subject"), *(None,) * 10, origin, as_json(data))
    get = file.get
    owner, group = get("owner"), get("group")
    moved = data.get("move")
    return (
        *head,
        file["path"],
        moved and moved["from"],
        get("type"),
        get("size"),
        get("mode"),
        owner and owner["id"],
        group and group["id"],
        get("inode"),
        get("device"),
        get("modified"),
        get("target"),
        origin,
        None,
    )


def _log_values(entry: Entry) -> tuple[Value, ...]:
    event = entry.event
    data = event["data"]
    log = data["log"]
    return (
        *_place(entry),
        event["time"],
        log["file"]["path"],
        log.get("offset"),
        log.get("line"),
        log.get("length"),
        plain(data.get("message")),
        data.get("message_b64"),
        "cut" in log,
        "unfinished" in log,
        as_json(data.get("fields") or {}),
    )


def _picker(chosen: Sequence[ColumnOptions]) -> Callable[[Entry], tuple[Any, ...]]:
    paths = [one.path.split(".") for one in chosen]

    def values(entry: Entry) -> tuple[Any, ...]:
        return tuple([_pick(entry, path) for path in paths])

    return values


def _pick(entry: Entry, path: Sequence[str]) -> Any:
    if path[0] == "envelope":
        return entry.message.body.decode()
    found: Any = entry.event
    for name in path:
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(one) for pair in value.items() for one in pair)
    return isinstance(value, list) and any(map(_has_nul, value))


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", _NUL_PICTURE)
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(one) for key, one in value.items()}
    return [_without_nul(one) for one in value] if isinstance(value, list) else value


def converter(kind: TypeEngine[Any], dialect: str) -> Callable[[Any], Value]:
    """
    What makes any value of JSON fit a column of a type.

    SQLite stores any text in any column, and PostgreSQL takes ``now`` for a time: so what is no number or no
    time is refused here, for all databases alike.

    Args:
        kind: of the column as it is, but for SQLite's of times, which is text.
    Raises (what it gives): ValueError: it does not fit.
    """
    if isinstance(kind, Boolean):
        return _boolean
    if isinstance(kind, Integer):
        return _integer
    if isinstance(kind, Numeric | Float):
        return _number
    if isinstance(kind, JSON):
        return lambda value: None if value is None else as_json(value)
    if isinstance(kind, DateTime):
        return _mysql_moment if dialect == "mysql" else _moment
    return _text if isinstance(kind, String) else plain


def mysql_time(value: Any) -> Value:
    """A time of an event, in UTC, as MySQL reads one: without zone, to the microsecond."""
    return value[:26].rstrip("Z").replace("T", " ") if isinstance(value, str) else plain(value)


def _moment(value: Any) -> Value:
    """A time in UTC, as events have it; where no zone is written it is UTC."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
        if value.endswith("Z") and len(value) in _LENGTHS:
            return str(value)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("it is no time of ISO 8601; `fields` of the watch group converts others") from None
    return f"{found.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _mysql_moment(value: Any) -> Value:
    return mysql_time(_moment(value))


def _boolean(value: Any) -> Value:
    if value is None or isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in _TRUTH:
        raise ValueError("it is no truth value")
    return _TRUTH[word]


def _integer(value: Any) -> Value:
    return None if value is None else whole(value)


def _number(value: Any) -> Value:
    return None if value is None else real(value)


def _text(value: Any) -> Value:
    return plain(value) if value is None or isinstance(value, str | dict | list) else json.dumps(value)
