"""The event that takes the place of a message that no broker takes."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inotify_bridge.capture.change import Change, Item
from inotify_bridge.events.envelope import Encoder
from inotify_bridge.events.parking import parked
from inotify_bridge.events.schemas import schema
from inotify_bridge.sinks.base import Message
from tests.events.strategies import EPOCH, GROUP, NOTICES, SOURCE, changes, file_change, paths

VALIDATOR = jsonschema.Draft202012Validator(schema("event"))


def _body(item: Item, **options: Any) -> bytes:
    return Encoder(SOURCE, GROUP, EPOCH, **options).encode(item, 42)[2]


@given(st.one_of(changes(), st.sampled_from(NOTICES)), st.text(max_size=600))
def test_schema(item: Item, reason: str) -> None:
    """The replacement of any event is an event of the published schema, also when it is replaced again."""
    body = _body(item)
    once = parked(body, "lake", reason)
    VALIDATOR.validate(json.loads(once))
    twice = json.loads(parked(once, "lake", reason))
    VALIDATOR.validate(twice)
    assert twice["data"]["type"] == json.loads(body)["type"]


@given(changes())
def test_keeps_what_a_fold_reads(change: Change) -> None:
    """Number, source, key, path, former path and file type stay; the stat fields go."""
    body = _body(change, partition_by="path")
    original, replaced = json.loads(body), json.loads(parked(body, "lake", "too large"))
    same = ("specversion", "id", "source", "subject", "time", "sequence", "partitionkey", "watchgroup")
    assert {name: replaced[name] for name in same} == {name: original[name] for name in same}
    assert replaced["type"] == "io.inotify-bridge.stream.event_parked.v1"
    data, before = replaced["data"], original["data"]
    assert (data["sink"], data["type"], data["reason"]) == ("lake", original["type"], "too large")
    assert data.get("move") == before.get("move")
    assert data["file"] == {k: before["file"][k] for k in ("path", "path_b64", "type") if k in before["file"]}


@given(paths)
def test_binary_mode(path: bytes) -> None:
    """The replacement can be taken apart for binary content mode."""
    body = parked(_body(file_change(path=path)), "lake", ',"data":{')
    message = Message(42, 0.0, "stream.event_parked", b"uploads", body)
    assert message.attributes() | {"data": json.loads(message.data())} == json.loads(body)


@pytest.mark.parametrize("filling", [b"a", b"\xff", b"%", b'"', b"\\", "€".encode()])
@pytest.mark.parametrize("length", [4096, 12_000, 765_000])
def test_bounded(filling: bytes, length: int) -> None:
    """However long the paths, the replacement is below 96 KiB; any path of a system call is carried whole."""
    path = filling * (length // len(filling))
    body = parked(_body(file_change("moved", path, source=path)), "lake", "\x00€" * 10_000)
    assert len(body) < 96 * 1024
    data = json.loads(body)["data"]
    if length <= 4096:
        assert data["file"].keys() >= {"path", "type"}
        assert "omitted" not in data
    else:
        assert ("path" in data["file"]) != ("omitted" in data)
        VALIDATOR.validate(json.loads(body))


def test_omission_is_said() -> None:
    """A path that is left out is named, the type stays, and a smaller limit makes a smaller event."""
    moved = file_change("moved", b"b" * 300, source=b"a" * 300)
    document = json.loads(parked(parked(_body(moved), "lake", ""), "lake", "", path_bytes=100))
    assert document["data"]["omitted"] == ["file.path", "move.from"]
    assert document["data"]["file"] == {"type": "file"}
    assert "move" not in document["data"]
    assert "subject" not in document
    again = json.loads(parked(json.dumps(document).encode(), "lake", ""))
    assert again["data"]["omitted"] == ["file.path", "move.from"]


def test_not_an_event() -> None:
    """What is no event cannot be replaced."""
    with pytest.raises(ValueError, match="Expecting value"):
        parked(b"nonsense", "lake", "")
