"""Which file is which, where a file can be opened and not be read."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from inotify_bridge.lines.extract import Extractor
from inotify_bridge.lines.register import Register
from inotify_bridge.lines.report import Report
from inotify_bridge.lines.search import Search
from inotify_bridge.lines.splitter import Splitter
from tests.processes import open_files

UNREADABLE = b"mem"
"""In /proc/self: a regular file of which nothing stands at the front, so that read(2) gives EIO there."""


@dataclass
class Place:
    """Implements `capture.following.Places` as far as it is asked: one directory."""

    directory: int

    def at(self, path: bytes) -> tuple[int, bytes]:
        """Everything stands there."""
        return self.directory, path

    def known_at(self, device: int, inode: int) -> list[bytes]:
        """Nothing has another name."""
        return []


@pytest.fixture
def directory() -> Iterator[int]:
    """/proc/self, open."""
    fd = os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_what_cannot_be_read_is_closed(directory: int) -> None:
    """A file whose disk gives errors is tried again and again: no descriptor stays behind."""
    seen = os.stat(UNREADABLE, dir_fd=directory)
    state = {
        "log": "app.log",
        "path": UNREADABLE.decode(),
        "device": seen.st_dev,
        "inode": seen.st_ino,
        "position": [0, 1, 0],
        "size": 0,
        "mtime": 0,
        "marks": [10, "0" * 32, ""],
        "finished": False,
    }
    register = Register({1: json.dumps(state).encode()}, lambda position: Splitter(position, 1000))
    report = Report(Extractor("utf-8", None), "g")
    search = Search(Place(directory), register, report, lambda *_: None, lambda _: None)  # type: ignore[arg-type]
    (generation,) = register
    for _ in range(3):
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            search.recall(generation)
    assert f"/proc/{os.getpid()}/{os.fsdecode(UNREADABLE)}" not in set(open_files())
