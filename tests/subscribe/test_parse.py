"""Received messages to events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inotify_bridge.capture.change import TYPE_NAMES, Change, Item
from inotify_bridge.events.envelope import Encoder
from inotify_bridge.events.event import kind_of
from inotify_bridge.events.parking import parked
from inotify_bridge.sinks.base import Message
from inotify_bridge.subscribe import Event, parse
from tests.events.strategies import EPOCH, GROUP, NOTICES, SOURCE, changes, file_change

_EARLIEST, _LATEST = -62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1  # the years 1 to 9999


def _message(item: Item, sequence: int = 42) -> Message:
    return Message(sequence, 0.0, *Encoder(SOURCE, GROUP, EPOCH).encode(item, sequence))


@given(changes(), st.integers(1, 10**13))
def test_round_trip(change: Change, sequence: int) -> None:
    """Everything a change says is in the event that comes out at the other end."""
    event = parse(_message(change, sequence).body)
    assert (event.source, event.watch_group, event.epoch, event.sequence) == (SOURCE, GROUP, EPOCH, sequence)
    assert event.kind == event.original_kind == kind_of(change)
    assert (event.path, event.from_path, event.origin) == (change.path, change.source, change.origin)
    assert event.entry is not None
    assert event.entry.type == TYPE_NAMES[change.type]
    if change.stat is None:
        assert event.entry.size is None
    else:
        _check_stat(event, change)


def _check_stat(event: Event, change: Change) -> None:
    entry, about = event.entry, change.stat
    assert entry is not None
    assert about is not None
    assert (entry.size, entry.mode, entry.target) == (about.size, about.mode & 0o7777, about.target)
    assert (entry.owner, entry.group) == (str(about.uid), str(about.gid))
    assert (entry.device, entry.inode) == (str(about.device), str(about.inode))
    assert entry.modified == min(max(about.mtime, _EARLIEST), _LATEST)


@given(st.one_of(changes(), st.sampled_from(NOTICES)), st.sampled_from(("ce_", "ce-", "CE-")), st.booleans())
def test_binary_mode(item: Item, prefix: str, as_bytes: bool) -> None:
    """Headers and data of binary mode give the same event, as Kafka's pairs and as RabbitMQ's mapping."""
    message = _message(item)
    attributes = message.attributes().items()
    headers = {prefix + name: value.encode() if as_bytes else value for name, value in attributes}
    extra = {"content-type": "application/json", "x-death": "1"}
    assert parse(message.data(), headers | extra) == parse(message.body)
    assert parse(message.data(), [*headers.items(), *extra.items()]) == parse(message.body)


def test_structured_mode_with_headers() -> None:
    """Headers that are none of CloudEvents' leave a message in structured mode."""
    body = _message(file_change()).body
    headers = [("content-type", b"application/cloudevents+json; charset=UTF-8"), ("traceparent", b"00")]
    assert parse(body, headers) == parse(body.decode(), {}) == parse(body)


@pytest.mark.parametrize("notice", NOTICES, ids=lambda notice: str(notice.kind))
def test_notices(notice: Any) -> None:
    """A stream's own event has the place that it is about, and its data."""
    event = parse(_message(notice).body)
    assert (event.kind, event.path, event.entry) == (f"stream.{notice.kind}", notice.path, None)
    assert event.data.items() >= notice.data.items()


@given(changes())
def test_parked(change: Change) -> None:
    """A parked event names the kind to fold by, and the places and type of the original."""
    event = parse(parked(_message(change).body, "lake", "too large"))
    assert (event.kind, event.original_kind) == ("stream.event_parked", kind_of(change))
    assert (event.path, event.from_path) == (change.path, change.source)
    assert event.entry is not None
    assert (event.entry.type, event.entry.size) == (TYPE_NAMES[change.type], None)


def _without(*names: str) -> bytes:
    document: dict[str, Any] = json.loads(_message(file_change()).body)
    holder = document
    for name in names[:-1]:
        holder = holder[name]
    del holder[names[-1]]
    return json.dumps(document).encode()


def _with(**members: Any) -> bytes:
    document: dict[str, Any] = json.loads(_message(file_change()).body)
    return json.dumps(document | members).encode()


def _file(**members: Any) -> bytes:
    return _with(data={"file": {"path": "a", "type": "file"} | members})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"\xff",
        b"[]",
        b"null",
        b"5",
        b"[" * 100_000,
        _without("data"),
        _without("sequence"),
        _without("data", "file", "type"),
        _without("data", "file", "modified"),
        _with(specversion="0.3"),
        _with(sequence="7"),
        _with(sequence=f"{EPOCH}-0"),
        _with(sequence=f"{EPOCH}-x"),
        _with(type="io.inotify-bridge.file.written.v2"),
        _file(path="%"),
        _file(path=5),
        _file(path_b64="?"),
    ],
)
def test_not_an_event(body: Any) -> None:
    """Whatever is no event raises ValueError, never something else."""
    with pytest.raises(ValueError, match=r"."):
        parse(body)


@given(st.binary(max_size=50), st.dictionaries(st.text(max_size=8), st.binary(max_size=8), max_size=3))
def test_noise(body: bytes, headers: dict[str, bytes]) -> None:
    """Random bytes with random headers raise ValueError, never something else."""
    with pytest.raises(ValueError, match=r"."):
        parse(body, headers)
