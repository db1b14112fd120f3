"""Messages for the tests of sinks, and the check of the order in which they arrived."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from inotify_bridge.sinks.base import Message

EPOCH = "0192f3a4b5c6d7e8f9a0"
SOURCE = "inotify://test/uploads"
KINDS = ("file.created", "file.written", "file.deleted", "directory.created", "file.moved")


class Received(NamedTuple):
    """One message as a consumer got it."""

    sequence: int
    body: bytes


def received(body: bytes) -> Received:
    """What a consumer knows of a structured message: its number, read from the envelope."""
    return Received(int(json.loads(body)["sequence"].rpartition("-")[2]), body)


def messages(count: int, first: int = 1, epoch: str = EPOCH, body_bytes: int = 0) -> list[Message]:
    """
    Valid CloudEvents in structured mode with the numbers from `first` on.

    Args:
        body_bytes: make every body exactly so long, where that is longer than it is anyway.
    """
    return [_message(sequence, epoch, body_bytes) for sequence in range(first, first + count)]


def _message(sequence: int, epoch: str, body_bytes: int) -> Message:
    kind = KINDS[sequence % len(KINDS)]
    number = f"{epoch}-{sequence:012d}"
    # The non-ASCII letter and the quote must arrive as they are sent.
    path = f'2026/ä "{sequence}".csv'
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": number,
        "source": SOURCE,
        "type": f"io.inotify-bridge.{kind}.v1",
        "subject": path,
        "time": "2026-11-21T08:00:00.123456Z",
        "datacontenttype": "application/json",
        "sequence": number,
        "partitionkey": "uploads",
        "watchgroup": "uploads",
        "data": {"file": {"path": path, "type": "file"}, "origin": "kernel", "padding": ""},
    }
    body = _encode(envelope)
    missing = body_bytes - len(body)
    if missing > 0:
        envelope["data"] = {**envelope["data"], "padding": "x" * missing}
        body = _encode(envelope)
    return Message(sequence, 1763712000.123456, kind, b"uploads", body)


def _encode(envelope: dict[str, Any]) -> bytes:
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()


def assert_go_back_n(sequences: Sequence[int], first: int, last: int) -> None:
    """
    Nothing is missing, and repeats go back to a hole and take all after it again.

    Legal: ``1 2 3 2 3 4`` and, after an early one, ``1 3 2 3``. Illegal: ``1 3 2``, ``1 2 4``, ``1 2 3 2``.

    Args:
        sequences: in the order of arrival, at the end of the run.
        first, last: what was sent.
    Raises:
        AssertionError: with the place and its surroundings.
    """
    assert set(sequences) == set(range(first, last + 1)), _difference(sequences, range(first, last + 1))
    last_place = {sequence: place for place, sequence in enumerate(sequences)}
    before = first - 1
    for place, sequence in enumerate(sequences):
        if sequence > before + 1:
            around = list(sequences[max(0, place - 3) : place + 4])
            assert last_place[before + 1] > place, (
                f"{before + 1} was skipped at place {place} and never came again: … {around} …"
            )
        before = sequence
    assert before == last, f"the run ends with {before}, not with {last}: not all after a hole came again"


def _difference(sequences: Iterable[int], expected: Iterable[int]) -> str:
    got, wanted = set(sequences), set(expected)
    missing, strange = sorted(wanted - got), sorted(got - wanted)
    return f"{len(missing)} missing {missing[:10]}, {len(strange)} never sent {strange[:10]}"
