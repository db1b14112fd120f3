"""Names as text: whatever bytes they have, they break no line, hide nothing, and cost no more than others."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from inotify_bridge.events.names import decode, encode
from tests.cli.running import Running

HOSTILE = (
    "line\u2028line",
    "turned\u202eround",
    "no\u200bwidth",
    "\ufeffmark",
    "tag\U000e0001",
    "c1\u0085",
)


def test_a_line_of_text_shows_all_of_a_name(tmp_path: Path) -> None:
    """What `watch` prints for people is one printable line an event, whatever Unicode the names hold."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in HOSTILE:
        (tree / name).write_text("x")
    count = 2 * len(HOSTILE)
    arguments = ("watch", "--format", "text", "--snapshot", "--limit", str(count), str(tree))
    with Running(*arguments, directory=tmp_path) as child:
        ended = child.ended()
    assert ended.code == 0
    lines = ended.out.split("\n")
    assert len(lines) == count + 1
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("name", [b"\xff" * 50_000, b"%" * 50_000, b"\n" * 50_000, "\x85".encode() * 50_000])
def test_a_path_of_other_bytes_costs_no_more(name: bytes) -> None:
    """No call of Python for every byte: a path of hundreds of kilobytes is cheap to make, and to tell."""
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        text = encode(name)
    finally:
        sys.setprofile(before)
    assert text.isascii()
    assert decode(text) == name
    assert 0 < calls < 100
