"""Bytes to entries."""

from __future__ import annotations

import itertools
import re
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inotify_bridge.lines.splitter import Position, Raw, Splitter

START = re.compile(rb"\d").match


def split(
    data: bytes | Sequence[bytes], *, joined: bool = False, max_bytes: int = 1000, flush: bool = True
) -> list[Raw]:
    """All entries of a file that is read in these pieces."""
    splitter = Splitter(Position(0, 1), max_bytes, _starts if joined else None)
    pieces = [data] if isinstance(data, bytes) else data
    found = [raw for piece in pieces for raw in splitter.feed(piece)]
    return found + splitter.flush() if flush else found


def _starts(line: bytes) -> bool:
    return START(line) is not None


def texts(found: Sequence[Raw]) -> list[bytes]:
    """What the entries say."""
    return [raw.text for raw in found]


def test_lines() -> None:
    """A line is an entry, with its place in the file; the last one waits for its end."""
    data = b"one\ntwo\r\n\nfour"
    assert split(data, flush=False) == [Raw(0, 1, 4, b"one"), Raw(4, 2, 5, b"two")]
    assert split(data)[2:] == [Raw(10, 4, 4, b"four", unfinished=True)]


def test_the_wait_ends_in_the_first_line_of_an_entry() -> None:
    """A line without its end that begins an entry is none of the entry before it."""
    found = split(b"1 a\n  b\n2 c", joined=True)
    assert found == [Raw(0, 1, 8, b"1 a\n  b"), Raw(8, 3, 3, b"2 c", unfinished=True)]
    assert texts(split(b"1 a\n  b", joined=True)) == [b"1 a\n  b"]


def test_blank_lines_are_no_entries() -> None:
    """Lines of nothing, of a carriage return and of NULs are passed over, and counted."""
    assert split(b"\n\r\n\0\0\n\0\0\r\nfive\n") == [Raw(10, 5, 5, b"five")]


def test_lines_that_belong_together() -> None:
    """A line that begins no entry belongs to the one before, and the first lines of a file are one too."""
    data = b"  tail\n1 a\n  b\r\n\n  c\r\n2 d\n"
    found = split(data, joined=True)
    assert texts(found) == [b"  tail", b"1 a\n  b\n\n  c", b"2 d"]
    assert [(raw.offset, raw.line, raw.length) for raw in found] == [(0, 1, 7), (7, 2, 15), (22, 6, 4)]


def test_too_long_a_line_is_cut() -> None:
    """It says so, what is left of it is passed over, and the next line is whole."""
    found = split(b"a\n" + b"x" * 150 + b"\nb\n", max_bytes=100)
    assert found == [Raw(0, 1, 2, b"a"), Raw(2, 2, 100, b"x" * 100, cut=True), Raw(153, 3, 2, b"b")]


def test_too_long_an_entry_is_cut() -> None:
    """The lines of an entry that is cut are passed over up to the next one."""
    data = b"1 a\n" + b"  more\n" * 50 + b"2 b\n"
    found = split(data, joined=True, max_bytes=100)
    assert texts(found) == [data[:100], b"2 b"]
    assert [raw.cut for raw in found] == [True, False]
    assert found[1].line == 52


def test_no_line_at_all_takes_no_memory() -> None:
    """A hundred megabytes without a newline, and as many NULs, are one cut entry and nothing."""
    for fill, expected in ((b"x", [b"x" * 1000]), (b"\0", [])):
        splitter, found = Splitter(Position(0, 1), 1000), []
        chunk = fill * (1 << 17)
        tracemalloc.start()
        for _ in range(800):
            found += splitter.feed(chunk)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert texts(found) == expected
        assert peak < 1 << 20
        assert splitter.position.offset == 800 << 17


def test_a_hole_before_the_text() -> None:
    """NULs that a writer left who did not append are no text, whatever pieces they come in."""
    data = b"\0" * 5000 + b"text\n"
    for size in (1, 7, 4999, 5000, 5001, 6000):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        for joined in (False, True):
            assert split(pieces, joined=joined) == [Raw(5000, 1, 5, b"text")]


_LINES = [
    b"1 a",
    b" b",
    b"",
    b"x" * 30,
    b"2\r",
    b"\0\0",
    b"3 \xff",
    b"x" * 63 + b"\r",
    b"y" * 64 + b"\r",
    b"y" * 70,
    b"4" * 70,
    b"\0\0005 c",
]


@given(
    st.lists(st.sampled_from(_LINES), max_size=30),
    st.lists(st.integers(0, 900), max_size=8),
    st.booleans(),
    st.integers(0, 20),
)
@example([b"x" * 30, b"x" * 30, b"1 a", b"1 a"], [65], True, 0)
@example([b"x" * 70, b"y" * 70, b"1 a", b"1 a"], [140], True, 0)
@example([b"x" * 30, b"4" * 70, b"1 a"], [100], True, 0)
@example([b"x" * 70, b"\0\0001 a", b"1 a"], [71], True, 0)
@example([b"x" * 64 + b"1", b"1 a", b"1 a"], [], True, 0)
def test_reads_make_no_difference(lines: list[bytes], cuts: list[int], joined: bool, crash: int) -> None:
    """Whatever pieces a file is read in, and wherever a crash interrupts that, the entries are the same."""
    data = b"\n".join(lines)
    expected = split(data, joined=joined, max_bytes=64, flush=False)
    at = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    splitter, found = Splitter(Position(0, 1), 64, _starts if joined else None), []
    for number, (start, end) in enumerate(itertools.pairwise(at)):
        if number == crash:  # what is no entry yet is read again
            position = splitter.position
            splitter = Splitter(position, 64, _starts if joined else None)
            found += splitter.feed(data[position.offset : start])
        found += splitter.feed(data[start:end])
    assert found == expected


@pytest.mark.parametrize("joined", [False, True])
def test_nothing_is_left_out(joined: bool) -> None:
    """What lies between the entries of a file without overlong ones is blank."""
    data = b"1 a\n b\n\n2 c\r\n3\n\0\0\nd\n"
    found = split(data, joined=joined)
    covered = b"".join(data[raw.offset : raw.offset + raw.length] for raw in found)
    assert covered.translate(None, b"\0\r\n") == data.translate(None, b"\0\r\n")
