"""Entries to events: decoded, taken apart, and put into the ``data`` of a ``log.*`` event."""

from __future__ import annotations

import base64
import codecs
import json
import re
from json.encoder import encode_basestring
from typing import Any, Final

from inotify_bridge.events.event import LogItem
from inotify_bridge.events.names import members
from inotify_bridge.lines.pattern import Mismatch, Parse
from inotify_bridge.lines.splitter import Raw

_HIDDEN: Final = re.compile("[\x7f-\x9f\u2028\u2029]")


class Extractor:
    """
    Makes the events of one group's logs.

    Args:
        encoding: of the text; a newline is one byte in it.
        parse: None: entries have no fields.
    """

    def __init__(self, encoding: str, parse: Parse | None) -> None:
        self._encoding = encoding
        # What begins a file is no part of its first line.
        self._mark = codecs.BOM_UTF8 if codecs.lookup(encoding).name == "utf-8" else b""
        self._parse = parse
        self._last: tuple[bytes, str] = (b"", _file(b""))

    def item(self, raw: Raw, path: bytes, time: int) -> LogItem:
        """
        ``log.entry``, or ``log.rejected`` where the text is not what was expected.

        Args:
            path: of the log, raw bytes.
            time: of the read, Unix nanoseconds.
        """
        text, raw_text = self._decoded(raw.text if raw.offset else raw.text.removeprefix(self._mark))
        kind, said = "entry", '"fields":{}'
        if self._parse is not None:
            try:
                said = f'"fields":{_dump(self._parse(text))}'
            except Mismatch as mismatch:
                kind, said = "rejected", f'"reason":{_string(str(mismatch))}'
            except ValueError:  # 1e999 is a number of JSON that becomes infinity, which is none
                kind, said = "rejected", '"reason":"has a number that is too large"'
        line = "" if raw.line is None else f'"line":{raw.line},'
        flags = (',"cut":true' if raw.cut else "") + (',"unfinished":true' if raw.unfinished else "")
        data = (
            f'{{"log":{{{self._file(path)},"offset":{raw.offset},{line}"length":{raw.length}{flags}}},'
            f'{said},"message":{_string(text)}{raw_text}}}'
        )
        return LogItem(kind, path, time, _unicode(data))

    def truncated(self, path: bytes, time: int, offset: int, lost: int, reason: str) -> LogItem:
        """
        ``log.truncated``: what was there cannot be read any more.

        Args:
            offset: from which on it is missing.
            lost: bytes that are known to have been there.
        """
        data = f'{{"log":{{{self._file(path)},"offset":{offset}}},"reason":"{reason}","lost_bytes":{lost}}}'
        return LogItem("truncated", path, time, data)

    def _decoded(self, text: bytes) -> tuple[str, str]:
        try:
            return text.decode(self._encoding), ""
        except UnicodeDecodeError:
            raw = base64.b64encode(text).decode("ascii")
            return text.decode(self._encoding, "replace"), f',"message_b64":"{raw}"'

    def _file(self, path: bytes) -> str:
        if path != self._last[0]:
            self._last = (path, _file(path))
        return self._last[1]


def _file(path: bytes) -> str:
    return f'"file":{_dump(members("path", path))}'


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _string(text: str) -> str:
    encoded: str = encode_basestring(text)
    return encoded


def _unicode(data: str) -> str:
    """
    JSON as events have it.

    It may escape what is no Unicode (half of a pair), which cannot be encoded. And it need not escape what
    moves the cursor of a terminal (U+009B begins a sequence) or ends a line for some who read lines.
    """
    try:
        data.encode()
    except UnicodeEncodeError:
        data = data.encode("utf-8", "replace").decode()
    if data.isascii() and "\x7f" not in data:
        return data
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", data)
