"""The log: nothing that a file's name holds can forge a line or reach the terminal as a command."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import logging
import os
import select
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inotify_bridge import log
from inotify_bridge.log import escaped

HOSTILE = b"a\nlevel=error forged\r\x1b[31m\xff\xc2\x85\xe2\x80\xae\x7f"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """The logger of a module of the package; the package's logger is put back afterwards."""
    package = logging.getLogger("inotify_bridge")
    before = package.handlers[:], package.level, package.propagate
    yield logging.getLogger("inotify_bridge.some.module")
    package.handlers[:], package.level, package.propagate = before


def test_json_is_one_object_a_line(logger: logging.Logger) -> None:
    """Each record is one line of JSON with time, level, logger, message and the extra members."""
    stream = io.StringIO()
    log.configure("info", "json", stream)
    logger.info("watching %d directories", 7, extra={"group": "uploads", "path": HOSTILE})
    logger.debug("not this one")
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert record["message"] == "watching 7 directories"
    assert (record["level"], record["logger"], record["group"]) == ("info", logger.name, "uploads")
    assert record["time"].endswith("Z")
    assert record["path"] == escaped("a\nlevel=error forged\r\x1b[31m\udcff\x85\u202e\x7f")


@pytest.mark.parametrize("format", ["console", "json"])
def test_hostile_names_stay_on_their_line(logger: logging.Logger, format: log.Format) -> None:
    """A name with line breaks, escape sequences and broken UTF-8 is one printable line in both formats."""
    stream = io.StringIO()
    log.configure("info", format, stream)
    logger.warning("lost %s", HOSTILE)
    logger.warning("lost %(path)s", {"path": HOSTILE})
    logger.warning(HOSTILE.decode("utf-8", "surrogateescape"))
    logger.warning("extra", extra={"path": HOSTILE})
    lines = stream.getvalue().split("\n")
    assert len(lines) == 5
    assert all(line.isprintable() for line in lines)
    assert stream.getvalue().encode(), "can be encoded"


def test_a_name_cannot_look_like_a_member(logger: logging.Logger) -> None:
    """On the console a name or member with spaces, quotes or `=` stands in quotes."""
    stream = io.StringIO()
    log.configure("info", "console", stream)
    logger.warning("lost %s", b'x" group=other', extra={"path": b"a b=c", "group": "g"})
    assert stream.getvalue().endswith(' lost "x\\" group=other" path="a b=c" group=g\n')


@pytest.mark.parametrize("format", ["console", "json"])
def test_tracebacks_forge_nothing(logger: logging.Logger, format: log.Format) -> None:
    """In a traceback only line breaks remain, and a line of it never looks like a record."""
    stream = io.StringIO()
    log.configure("info", format, stream)
    try:
        open(b"/nowhere/" + HOSTILE, "rb").close()
    except OSError:
        logger.exception("failed")
    first, *rest = stream.getvalue().rstrip("\n").split("\n")
    assert "failed" in first
    assert all(line.startswith("  ") and line.isprintable() for line in rest)
    assert bool(rest) == (format == "console")


def test_auto_is_for_people_on_a_terminal(logger: logging.Logger) -> None:
    """`auto` writes lines for people on a terminal, and JSON elsewhere."""
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        log.configure("info", "auto", stream)
        logger.info("hello", extra={"group": "g"})
    assert terminal.getvalue().endswith(" INFO    hello group=g\n")
    assert json.loads(pipe.getvalue())["message"] == "hello"


@pytest.mark.parametrize("redirected", [False, True])
def test_priorities_are_for_the_journal(
    logger: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redirected: bool
) -> None:
    """Lines that systemd reads begin with their priority; where stderr goes elsewhere by now they do not."""
    with (tmp_path / "journal").open("w+") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + redirected}")
        log.configure("info", "json", stream)
        logger.warning("w")
        logger.info("i")
        stream.seek(0)
        lines = stream.read().splitlines()
    prefixes = ("", "") if redirected else ("<4>", "<6>")
    assert [line.partition("{")[0] for line in lines] == list(prefixes)
    assert [json.loads(line[line.index("{") :])["message"] for line in lines] == ["w", "i"]


def test_configuring_again_replaces(logger: logging.Logger) -> None:
    """A second call moves the log: nothing is written twice, and the root logger is not touched."""
    root = logging.getLogger().handlers[:]
    first, second = io.StringIO(), io.StringIO()
    log.configure("info", "console", first)
    log.configure("debug", "console", second)
    logger.debug("hello")
    assert first.getvalue() == ""
    assert second.getvalue().count("hello") == 1
    assert logging.getLogger().handlers == root


def test_a_closed_stream_stops_nothing(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    """Logging to a stream that was closed raises nothing and prints nothing."""
    stream = io.StringIO()
    log.configure("info", "console", stream)
    stream.close()
    logger.info("hello")
    assert capsys.readouterr() == ("", "")


def test_a_stream_that_takes_nothing_stops_nothing(logger: logging.Logger) -> None:
    """Lines that nobody takes are dropped, and when they are taken again a line says how many were."""
    read_end, write_end = os.pipe()
    with open(read_end, "rb", buffering=0) as reader, open(write_end, "w") as stream:
        log.configure("info", "console", stream)
        os.set_blocking(write_end, False)
        with contextlib.suppress(BlockingIOError):
            while os.write(write_end, bytes(4096)):
                pass
        os.set_blocking(write_end, True)
        for _ in range(3):
            logger.info("lost")
        assert reader.read(1 << 20) is not None
        logger.info("found")
        *_, told, found = reader.read(1 << 20).split(b"\n")[:-1]
    assert b"WARNING 3 lines of the log were dropped" in told
    assert found.endswith(b"found")


def test_a_long_line_that_is_taken_in_part_stops_nothing(logger: logging.Logger) -> None:
    """A line without room is broken off and counted, and the next stands on a line of its own."""
    read_end, write_end = os.pipe()
    with open(read_end, "rb", buffering=0) as reader, open(write_end, "w") as stream:
        log.configure("info", "json", stream)
        os.write(write_end, bytes(fcntl.fcntl(write_end, fcntl.F_GETPIPE_SZ) - 2 * select.PIPE_BUF))
        logger.info("x" * 100_000)
        taken = reader.read(1 << 20)
        logger.info("found")
        lines = (taken + reader.read(1 << 20)).split(b"\n")[:-1]
    assert lines[0].endswith(b"xxx")
    told, found = (json.loads(line)["message"] for line in lines[1:])
    assert told == "1 lines of the log were dropped: nobody took them"
    assert found == "found"


@given(st.text())
def test_escaped_text_is_printable(text: str) -> None:
    """Whatever the text, what is left has no control, line break, mark of direction or surrogate."""
    safe = escaped(text)
    assert safe.encode().decode() == safe
    assert len(safe.splitlines()) <= 1
    assert all(character.isprintable() or unicodedata.category(character) == "Zs" for character in safe)


def test_what_has_no_width_is_seen() -> None:
    """Format characters (zero width space, byte order mark, tags, marks of direction) are all escaped."""
    formats = [chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code)) == "Cf"]
    assert {"\u200b", "\ufeff", "\U000e0001", "\u202e"} <= set(formats)
    assert escaped("a\u200bb\ufeff\U000e0001") == "a\\u200bb\\ufeff\\U000e0001"
    assert all(escaped(character).isascii() for character in formats)


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_ordinary_text_is_left_alone(text: str) -> None:
    """Letters, digits, punctuation and symbols of any script pass unchanged."""
    assert escaped(text) == text
