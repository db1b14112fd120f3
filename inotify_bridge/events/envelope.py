"""
Changes and notices to CloudEvents 1.0 in structured JSON mode, written by hand.

This stands in the recorder's hot path, once an event, so the parts that do not change are put together once
per encoder, and those that change seldom (owner and mode, the text of a second) are remembered. The layout is
the published one, ``data`` last:

    {"specversion","id","source","type","subject"?,"time","datacontenttype","dataschema","sequence",
     "partitionkey","watchgroup","data":{…}}

`sinks.base.Message` takes the body apart at ``,"data":{`` for binary content mode. Inside a JSON string a
quote is always escaped, and no attribute is called ``data``, so the first such place is where data begins.
"""

from __future__ import annotations

import json
import stat as _stat
import time
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, Literal, TypeAlias

from inotify_bridge.capture.change import TYPE_NAMES, Change, Item, Notice, Stat
from inotify_bridge.events import names
from inotify_bridge.events.event import (
    DIRECTORY_KINDS,
    FILE_KINDS,
    LOG_KINDS,
    SCHEMAS,
    SCOPED,
    STREAM_KINDS,
    LogItem,
    type_of,
)

PartitionBy: TypeAlias = Literal["group", "path", "directory"]

KEY_BYTES: Final = 200
"""A partition key longer than this is replaced by its hash: headers and routing tables have their limits."""

_SUBJECT: Final = '","subject":"'
_NANO: Final = 1_000_000_000
_REMEMBERED: Final = 4096  # entries of a cache before it is emptied
_FIRST_SECOND: Final = -62_135_596_800  # 0001-01-01T00:00:00Z: what RFC 3339 and its readers can say
_LAST_SECOND: Final = 253_402_300_799  # 9999-12-31T23:59:59Z


class Encoder:
    """
    Encodes the stream of one watch group within one epoch.

    Belongs to one thread, the group's recorder.

    Args:
        source: the CloudEvents source of the stream.
        group: name of the watch group.
        epoch: of the sequence numbers.
        type_prefix: what stands before the kind in ``type``.
        partition_by: what the partition key is made of.
    """

    def __init__(
        self,
        source: str,
        group: str,
        epoch: str,
        type_prefix: str = "io.inotify-bridge",
        partition_by: PartitionBy = "group",
    ) -> None:
        self._partition_by = partition_by
        self._group_key = group.encode()
        escaped_epoch = _inside(epoch)
        self._head = f'{{"specversion":"1.0","id":"{escaped_epoch}-'
        # From the number of the id up to the value of the subject, by kind of change.
        source_part = f'","source":"{_inside(source)}","type":"'
        self._files, self._directories, self._notices, self._logs = (
            {
                word: (kind, f"{source_part}{_inside(type_of(type_prefix, kind))}{_SUBJECT}")
                for word, kind in kinds.items()
            }
            for kinds in (FILE_KINDS, DIRECTORY_KINDS, STREAM_KINDS, LOG_KINDS)
        )
        # From the end of the time up to the number of the sequence, and from there up to the data's members.
        self._schema_part, self._notice_schema_part, self._log_schema_part = (
            f'Z","datacontenttype":"application/json","dataschema":"{SCHEMAS[family]}","sequence":"{escaped_epoch}-'
            for family in ("file", "stream", "log")
        )
        self._data_part = f'","watchgroup":"{_inside(group)}","data":{{'
        self._group_part = f'","partitionkey":"{_inside(group)}{self._data_part}'
        self._clock = _Clock()
        self._owners: dict[tuple[int, int, int], str] = {}
        self._last_path = b""
        self._last_name = ""
        self._last_time = 0
        self._last_time_text = self._clock.text(0)[:-3]

    def encode(self, item: Item | LogItem, sequence: int) -> tuple[str, bytes, bytes]:
        """
        Encode one item.

        Args:
            item: not changed.
            sequence: its number within the epoch, from 1.

        Returns:
            (kind, partition key, body): see `sinks.base.Message`.

        Raises:
            KeyError: there is no such event, for example a directory that was ``written``.
            TypeError, UnicodeEncodeError: a notice's data is not JSON in Unicode (names of files go through
                `names.members`).
        """
        if not isinstance(item, Change):
            if isinstance(item, LogItem):
                return self._encode_log(item, sequence)
            return self._encode_notice(item, sequence)
        file_type = item.type
        kind, begin = (self._directories if file_type == _stat.S_IFDIR else self._files)[item.kind]
        path = item.path
        if path != self._last_path:
            self._last_path = path
            self._last_name = _escape(names.encode(path))
        name = self._last_name
        if item.time != self._last_time:  # all changes of one read of the kernel's queue have the same
            self._last_time = item.time
            self._last_time_text = self._clock.text(item.time)[:-3]
        if self._partition_by == "group":
            key, middle = self._group_key, self._group_part
        else:
            key, middle = self._partition(path)
        number = f"{sequence:012d}"
        raw = f'","path_b64":"{names.base64_text(path)}' if "%" in name else ""
        fields = "" if item.stat is None else self._fields(item.stat)
        moved = "" if item.source is None else f'"move":{_dump(names.members("from", item.source))},'
        if not name:
            begin = begin.removesuffix(_SUBJECT)  # CloudEvents: a subject is not empty
        body = (
            f'{self._head}{number}{begin}{name}","time":"{self._last_time_text}{self._schema_part}{number}{middle}'
            f'"file":{{"path":"{name}{raw}","type":"{TYPE_NAMES[file_type]}"{fields}}},{moved}"origin":"{item.origin}"}}}}'
        )
        return kind, key, body.encode()

    def _encode_notice(self, notice: Notice, sequence: int) -> tuple[str, bytes, bytes]:
        kind, begin = self._notices[notice.kind]
        path = notice.path
        if notice.kind in SCOPED:
            place = names.members("scope", path or b"")
        else:
            place = {} if path is None else names.members("path", path)
        name = _escape(names.encode(path or b""))
        if not name:
            begin = begin.removesuffix(_SUBJECT)
        number = f"{sequence:012d}"
        body = (
            f'{self._head}{number}{begin}{name}","time":"{self._clock.text(notice.time)[:-3]}'
            f"{self._notice_schema_part}{number}{self._group_part}{_dump({**place, **notice.data})[1:]}}}"
        )
        return kind, self._group_key, body.encode()

    def _encode_log(self, item: LogItem, sequence: int) -> tuple[str, bytes, bytes]:
        kind, begin = self._logs[item.kind]
        if item.path != self._last_path:
            self._last_path = item.path
            self._last_name = _escape(names.encode(item.path))
        if self._partition_by == "group":
            key, middle = self._group_key, self._group_part
        else:
            key, middle = self._partition(item.path)
        number = f"{sequence:012d}"
        body = (
            f'{self._head}{number}{begin}{self._last_name}","time":"{self._clock.text(item.time)[:-3]}'
            f"{self._log_schema_part}{number}{middle}{item.data[1:]}}}"
        )
        return kind, key, body.encode()

    def _fields(self, stat: Stat) -> str:
        """The members of ``data.file`` that come from lstat, each with a comma before it."""
        mode, size, uid, gid, device, inode, _, mtime, _, target = stat
        try:
            owner = self._owners[mode, uid, gid]
        except KeyError:
            owner = self._owner(mode, uid, gid)
        link = "" if target is None else f",{_dump(names.members('target', target))[1:-1]}"
        modified = self._clock.text(mtime)
        return f',"size":{size},{owner}{inode}","device":"{device}","modified":"{modified}Z"{link}'

    def _owner(self, mode: int, uid: int, gid: int) -> str:
        if len(self._owners) >= _REMEMBERED:
            self._owners.clear()
        permissions = f"{_stat.S_IMODE(mode):04o}"
        text = f'"mode":"{permissions}","owner":{{"id":"{uid}"}},"group":{{"id":"{gid}"}},"inode":"'
        self._owners[mode, uid, gid] = text
        return text

    def _partition(self, path: bytes) -> tuple[bytes, str]:
        """The partition key of a change, and the body's part around it."""
        # The key of the root is "." as no name is: CloudEvents wants partition keys that are not empty.
        key = names.encode(path if self._partition_by == "path" else path.rpartition(b"/")[0]) or "."
        if len(key.encode()) > KEY_BYTES:
            key = blake2b(key.encode(), digest_size=16).hexdigest()
        return key.encode(), f'","partitionkey":"{_escape(key)}{self._data_part}'


class _Clock:
    """Unix nanoseconds to RFC 3339 in UTC with nine digits and without the Z; remembers seconds."""

    def __init__(self) -> None:
        self._seconds: dict[str, str] = {}

    def text(self, nanoseconds: int) -> str:
        if nanoseconds < _NANO:
            return self._early(nanoseconds)
        digits = str(nanoseconds)  # cheaper to cut than to divide
        try:
            return f"{self._seconds[digits[:-9]]}.{digits[-9:]}"
        except KeyError:
            if int(digits[:-9]) > _LAST_SECOND:
                return "9999-12-31T23:59:59.999999999"
            return f"{self._remember(digits[:-9])}.{digits[-9:]}"

    def _remember(self, second: str) -> str:
        if len(self._seconds) >= _REMEMBERED:
            self._seconds.clear()
        text = self._seconds[second] = _date(int(second))
        return text

    def _early(self, nanoseconds: int) -> str:
        second, rest = divmod(nanoseconds, _NANO)
        if second < _FIRST_SECOND:
            return "0001-01-01T00:00:00.000000000"
        return f"{_date(second)}.{rest:09d}"


def _date(second: int) -> str:
    # Not strftime: its %Y does not fill a year below 1000 up with zeros.
    year, month, day, hour, minute, second, *_ = time.gmtime(second)
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"


def _escape(text: str) -> str:
    """The inside of the JSON string of a text without control characters, as `names.encode` makes it."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _inside(text: str) -> str:
    """The same for any text; slower."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
