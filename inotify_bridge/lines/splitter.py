"""
Bytes of a log file to its entries: lines, or lines that belong together. Pure, and bounded in memory.

What comes out depends on the bytes of the file and on where a flush cut them, never on the sizes of the
reads: whoever goes on at `Splitter.position` after a crash gets the same entries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

IN_LINE: Final = 1
"""`Position.skip`: the rest of the line belongs to an entry that was cut."""

IN_ENTRY: Final = 2
"""`Position.skip`: so do the lines up to the next first line of an entry."""


class Position(NamedTuple):
    """
    How far a file is split.

    Args:
        offset: of the first byte that is in no entry yet.
        line: number of its line, from 1; None where reading began in the middle of a file.
        skip: 0, `IN_LINE` or `IN_ENTRY`.
    """

    offset: int
    line: int | None
    skip: int = 0


class Raw(NamedTuple):
    """
    One entry as it stands in the file.

    Args:
        offset: of its first byte.
        line: number of its first line, or None.
        length: bytes of the file that it stands for, with the end of its line; of a cut one those it kept.
        text: without the end of its last line.
        cut: it was longer than the limit.
        unfinished: it has no end of line: the wait for it was over.
    """

    offset: int
    line: int | None
    length: int
    text: bytes
    cut: bool = False
    unfinished: bool = False


class Splitter:
    """
    Splits one file.

    Args:
        position: where to begin.
        max_bytes: of an entry; what is longer is cut there.
        starts: whether a line, without its end, is the first of an entry; None: every line is one.
    """

    def __init__(
        self, position: Position, max_bytes: int, starts: Callable[[bytes], bool] | None = None
    ) -> None:
        self._offset, self._line, self._skip = position
        self._max_bytes = max_bytes
        self._starts = starts
        self._buffer = b""
        self._joined = 0  # bytes of the buffer that are whole lines of one entry
        self._lines = 0  # how many

    @property
    def position(self) -> Position:
        """What to go on with in another life."""
        return Position(self._offset, self._line, self._skip)

    @property
    def waiting(self) -> int:
        """Bytes that were fed and are in no entry yet."""
        return len(self._buffer)

    @property
    def whole(self) -> bool:
        """Whether what waits is made of whole lines only, of which more may come."""
        return 0 < self._joined == len(self._buffer)

    def feed(self, data: bytes) -> list[Raw]:
        """Take the bytes that follow, and give the entries that are complete."""
        data = self._skipped_line(data) if self._skip == IN_LINE else data
        if not data:
            return []
        found: list[Raw] = []
        joined = self._joined
        pending = self._buffer + data if self._buffer else data
        if self._starts is None:
            self._split(pending, found)
        else:
            self._join(pending, joined, found)
        if len(self._buffer) - self._joined > self._max_bytes:
            self._cut(found)
        return found

    def flush(self) -> list[Raw]:
        """End the wait: what is there is an entry, with or without the end of its line."""
        if not self._buffer:
            return []
        found: list[Raw] = []
        last = self._buffer[self._joined :]
        if self._joined and last and self._begins(last):
            self._emit(found, self._buffer[: self._joined], self._lines)
            self._buffer, self._lines = last, 0
        self._emit(found, self._buffer, self._lines, unfinished=bool(last))
        self._buffer, self._joined, self._lines = b"", 0, 0
        return found

    # -- every line is an entry

    def _split(self, data: bytes, found: list[Raw]) -> None:
        lines = data.split(b"\n")
        rest = lines.pop()
        at, number, limit = self._offset, self._line, self._max_bytes
        for line in lines:
            length = len(line) + 1
            if length <= limit and line.strip(b"\0\r"):
                text = line[:-1] if line.endswith(b"\r") else line
                if text[0]:
                    found.append(Raw(at, number, length, text))
                else:
                    nuls = length - 1 - len(line.lstrip(b"\0"))
                    found.append(Raw(at + nuls, number, length - nuls, text[nuls:]))
            elif length > limit:
                self._emit_long(found, at, number, line)
            at += length
            if number is not None:
                number += 1
        self._offset, self._line = at, number
        self._rest(rest)

    def _emit_long(self, found: list[Raw], at: int, number: int | None, line: bytes) -> None:
        """A line that may be too long, or only seem so for the NULs before it."""
        text = line.lstrip(b"\0")
        at += len(line) - len(text)
        if len(text) > self._max_bytes:
            found.append(Raw(at, number, self._max_bytes, text[: self._max_bytes], cut=True))
        elif text.strip(b"\r"):
            found.append(Raw(at, number, len(text) + 1, text.removesuffix(b"\r")))

    def _rest(self, rest: bytes) -> None:
        """
        What has no end yet. NULs at its front are no text: a writer that did not append left a hole where
        the file was truncated, and that may be longer than any memory.
        """
        text = b"" if rest == bytes(len(rest)) else rest.lstrip(b"\0")  # far quicker than lstrip
        self._offset += len(rest) - len(text)
        self._buffer = text

    # -- lines that belong together

    def _join(self, data: bytes, joined: int, found: list[Raw]) -> None:
        """Go through the lines of `data` behind the first `joined` bytes, which are one entry's."""
        begin, at, count = 0, joined, self._lines
        if not joined and not self._skip:
            at = begin = self._without_hole(data)
        while (end := data.find(b"\n", at)) >= 0:
            starts = self._begins(data[at:end])
            if self._skip and not starts:
                self._pass(end + 1 - begin, 1)
                begin = end + 1
            elif starts and begin < at:
                self._emit(found, data[begin:at], count)
                begin, count = at, 0
            if starts:
                self._skip = 0
            at = end + 1
            count = count + 1 if begin < at else 0
            if at - begin > self._max_bytes:
                self._emit_cut(found, data[begin : begin + self._max_bytes])
                self._pass(at - begin, count)
                begin, count, self._skip = at, 0, IN_ENTRY
        self._buffer, self._joined, self._lines = data[begin:], at - begin, count

    def _begins(self, line: bytes) -> bool:
        """By as much of a line as is kept: of one that is longer more may not have been read yet."""
        return self._starts is not None and self._starts(line[: self._max_bytes].removesuffix(b"\r"))

    def _without_hole(self, data: bytes) -> int:
        nuls = len(data) - len(data.lstrip(b"\0"))
        self._offset += nuls
        return nuls

    def _emit(self, found: list[Raw], data: bytes, lines: int, unfinished: bool = False) -> None:
        text = data.removesuffix(b"\n").removesuffix(b"\r")
        if len(data) > self._max_bytes:
            self._emit_cut(found, data[: self._max_bytes])
        elif text.strip(b"\0\r\n"):
            if lines > 1:
                text = text.replace(b"\r\n", b"\n")
            found.append(Raw(self._offset, self._line, len(data), text, unfinished=unfinished))
        self._pass(len(data), lines)

    def _emit_cut(self, found: list[Raw], data: bytes) -> None:
        found.append(Raw(self._offset, self._line, len(data), data, cut=True))

    def _pass(self, length: int, lines: int) -> None:
        self._offset += length
        if self._line is not None:
            self._line += lines

    # -- what is too long

    def _cut(self, found: list[Raw]) -> None:
        """
        A line is too long before its end is seen: what comes up to that is passed over.

        By itself, not with the lines before it: until it ends, or is too long, it may be the first of another
        entry.
        """
        if self._begins(self._buffer[self._joined :]):
            if self._joined:
                self._emit(found, self._buffer[: self._joined], self._lines)
                self._buffer, self._lines = self._buffer[self._joined :], 0
            self._skip = 0
        if not self._skip:
            self._emit_cut(found, self._buffer[: self._max_bytes])
        self._pass(len(self._buffer), self._lines)
        self._buffer, self._joined, self._lines = b"", 0, 0
        self._skip = IN_LINE

    def _skipped_line(self, data: bytes) -> bytes:
        end = data.find(b"\n")
        if end < 0:
            self._offset += len(data)
            return b""
        self._pass(end + 1, 1)
        self._skip = IN_ENTRY if self._starts is not None else 0
        return data[end + 1 :]
