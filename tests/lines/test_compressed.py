"""What compressed logs say of themselves."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

from inotify_bridge.lines.compressed import Gzip, measure
from inotify_bridge.lines.marks import HEAD_BYTES


def _measured(path: Path, content: bytes) -> Gzip | None:
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        return measure(fd)
    finally:
        os.close(fd)


def test_what_it_holds(tmp_path: Path) -> None:
    """Its size and how it begins, also where it is as small as gzip can make it."""
    for text in (b"a line\n", bytes(50_000_000), os.urandom(20_000)):
        assert _measured(tmp_path / "a.gz", gzip.compress(text)) == Gzip(len(text), text[:HEAD_BYTES])


def test_what_it_cannot_hold(tmp_path: Path) -> None:
    """A file that says it holds more than its bytes ever could is counted nowhere."""
    forged = gzip.compress(os.urandom(20_000))[:-4] + struct.pack("<I", 2**32 - 1)
    assert _measured(tmp_path / "a.gz", forged) is None
