"""The consumer of the module's documentation."""

from __future__ import annotations

import ast
import random
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from typing import Any

import pytest

import inotify_bridge.subscribe
from inotify_bridge.capture.change import Item, Notice
from inotify_bridge.events.envelope import Encoder
from inotify_bridge.subscribe import Replica
from tests.events.strategies import GROUP, SOURCE, file_change

Delivery = tuple[bytes, dict[str, str]]

_STARTED = Notice("started", 0)


def _code() -> str:
    text = inotify_bridge.subscribe.__doc__ or ""
    begin, end = text.index("    from inotify_bridge.subscribe"), text.index("\n\n`messages`")
    return textwrap.dedent(text[begin:end])


@pytest.fixture(scope="module")
def consume() -> Any:
    """The function of the docstring, as it stands there."""
    space: dict[str, Any] = {}
    exec(compile(_code(), "docstring", "exec"), space)
    return space["consume"]


def _stream(items: Iterable[Item], epoch: str) -> list[Delivery]:
    encoder = Encoder(SOURCE, GROUP, epoch)
    return [(encoder.encode(item, number)[2], {}) for number, item in enumerate(items, 1)]


def _files(count: int) -> list[Item]:
    return [_STARTED, *(file_change("created", b"f%d" % number) for number in range(count))]


def test_it_is_short() -> None:
    """Twenty lines suffice."""
    assert len([line for line in _code().splitlines() if line.strip()]) <= 20
    ast.parse(_code())


def test_repeats_and_reordering(consume: Any) -> None:
    """It holds the exact tree of a stream that was repeated and partly came early, and asks for nothing."""
    stream = _stream(_files(50), "a")
    random_ = random.Random(1)
    received: list[Delivery] = []
    for begin in range(0, len(stream), 5):
        window = stream[begin : begin + 5]
        received += (
            [message for message in window if random_.random() < 0.5]
            + stream[max(0, begin - 3) : begin]
            + window
        )
    replicas: dict[str, Replica] = {}
    asked: list[str] = []
    consume(received, replicas, asked.append)
    assert len(received) > len(stream)
    assert sorted(path for path, _ in replicas[SOURCE].items()) == sorted(b"f%d" % n for n in range(50))
    assert asked == []


def test_wrong_digest(consume: Any) -> None:
    """It asks once for a snapshot when its tree is not the sender's, and is right after it."""
    wrong = Notice("resync_completed", 0, b"", {"digest": "1" * 32})
    lost = _stream([*_files(3), wrong, *_files(2)[1:]], "a")
    replicas: dict[str, Replica] = {}
    asked: list[str] = []
    consume([*lost, *_stream(_files(1), "b")], replicas, asked.append)
    assert asked == [SOURCE]
    assert [path for path, _ in replicas[SOURCE].items()] == [b"f0"]
    assert (replicas[SOURCE].invalid, replicas[SOURCE].epoch) == ("", "b")


def test_a_file_with_a_line_missing(consume: Any) -> None:
    """It asks for a snapshot where the input ends with a hole, once."""
    stream = _stream(_files(5), "a")
    asked: list[str] = []
    consume(stream[:3] + stream[4:], {}, asked.append)
    assert asked == [SOURCE]


def test_nothing_heavy_is_imported() -> None:
    """Importing it loads nothing outside the standard library and this package's own light parts."""
    script = (
        "import sys; before = set(sys.modules); import inotify_bridge.subscribe;"
        "print(*{m.partition('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names));"
        "print(*sorted(m for m in sys.modules if m.startswith('inotify_bridge.')))"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60
    )
    foreign, own = output.stdout.splitlines()
    assert foreign.split() == ["inotify_bridge"]
    assert {name.split(".")[1] for name in own.split()} == {"capture", "events", "subscribe"}
