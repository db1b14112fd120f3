"""Changes and notices as CloudEvents, against the CloudEvents SDK and the published schema."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest
from cloudevents.core.bindings import kafka, rabbitmq
from hypothesis import given
from hypothesis import strategies as st

from inotify_bridge.capture.change import Change, Item, Notice, Stat
from inotify_bridge.events import names
from inotify_bridge.events.envelope import KEY_BYTES, Encoder
from inotify_bridge.events.event import KINDS, kind_of, split_type
from inotify_bridge.events.schemas import schema
from inotify_bridge.sinks.base import Message
from tests.events.strategies import EPOCH, GROUP, NOTICES, SOURCE, changes, file_change, paths

VALIDATOR = jsonschema.Draft202012Validator(schema("event"))

_items = st.one_of(changes(), st.sampled_from(NOTICES))


def _message(item: Item, sequence: int = 42, **options: Any) -> Message:
    kind, key, body = Encoder(SOURCE, GROUP, EPOCH, **options).encode(item, sequence)
    return Message(sequence, item.time / 1e9, kind, key, body)


def _data(item: Item) -> Any:
    return json.loads(_message(item).body)["data"]


def test_published_example() -> None:
    """The example of the documentation comes out byte for byte."""
    expected = (
        '{"specversion":"1.0","id":"0192f3a4b5c6d7e8f9a0-000000000042","source":"inotify://web-1/uploads",'
        '"type":"io.inotify-bridge.file.written.v1","subject":"2026/a.csv","time":"2026-11-21T08:00:00.123456Z",'
        '"datacontenttype":"application/json","dataschema":"urn:inotify-bridge:schema:file:1",'
        '"sequence":"0192f3a4b5c6d7e8f9a0-000000000042","partitionkey":"uploads","watchgroup":"uploads",'
        '"data":{"file":{"path":"2026/a.csv","type":"file","size":123,"mode":"0644","owner":{"id":"1000"},'
        '"group":{"id":"1000"},"inode":"256383","device":"64769","modified":"2026-11-21T08:00:00.100000000Z"},'
        '"origin":"kernel"}}'
    )
    message = _message(file_change())
    assert (message.kind, message.key, message.body.decode()) == ("file.written", b"uploads", expected)


@given(_items, st.sampled_from(("group", "path", "directory")))
def test_schema(item: Item, partition_by: str) -> None:
    """Every body is one line of compact JSON that the published schema takes, under a kind of the list."""
    message = _message(item, partition_by=partition_by)
    document = json.loads(message.body)
    VALIDATOR.validate(document)
    assert json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() == message.body
    assert b"\n" not in message.body
    assert message.kind in KINDS
    assert message.kind == kind_of(item) == split_type(document["type"])[1]
    assert message.key.decode() == document["partitionkey"]


@given(_items)
def test_kafka_structured(item: Item) -> None:
    """The SDK reads a Kafka record in structured mode, with the attributes and the data that were written."""
    message = _message(item)
    headers = {"content-type": b"application/cloudevents+json; charset=UTF-8"}
    _same(kafka.from_kafka_event(kafka.KafkaMessage(headers, message.key, message.body)), message)


@given(_items)
def test_kafka_binary(item: Item) -> None:
    """The SDK reads a Kafka record in binary mode the same."""
    message = _message(item)
    attributes = message.attributes()
    headers = {"content-type": attributes.pop("datacontenttype").encode()}
    headers |= {f"ce_{name}": value.encode() for name, value in attributes.items()}
    _same(kafka.from_kafka_event(kafka.KafkaMessage(headers, message.key, message.data())), message)


@given(_items)
def test_rabbitmq_structured(item: Item) -> None:
    """The SDK reads a RabbitMQ message in structured mode the same."""
    message = _message(item)
    received = rabbitmq.RabbitMQMessage({}, "application/cloudevents+json; charset=UTF-8", message.body)
    _same(rabbitmq.from_rabbitmq_event(received), message)


@given(_items)
def test_rabbitmq_binary(item: Item) -> None:
    """The SDK reads a RabbitMQ message in binary mode the same."""
    message = _message(item)
    attributes = message.attributes()
    content_type = attributes.pop("datacontenttype")
    headers = {f"ce-{name}": value for name, value in attributes.items()}
    _same(
        rabbitmq.from_rabbitmq_event(rabbitmq.RabbitMQMessage(headers, content_type, message.data())), message
    )


def _same(event: Any, message: Message) -> None:
    document = json.loads(message.body)
    data = document.pop("data")
    attributes = dict(event.get_attributes())
    when = datetime.fromisoformat(document.pop("time"))
    assert attributes.pop("time") == when
    assert when.tzinfo == UTC
    assert (attributes, event.get_data()) == (document, data)


@given(changes())
def test_fields(change: Change) -> None:
    """A change's data says what the change says, and lstat's fields only where there was an lstat."""
    data = _data(change)
    assert data["origin"] == change.origin
    file = data["file"]
    assert names.decode(file["path"]) == change.path
    assert ("move" in data) == (change.source is not None)
    if change.source is not None:
        assert names.decode(data["move"]["from"]) == change.source
    if change.stat is None:
        assert file.keys() <= {"path", "path_b64", "type"}
    else:
        _check_stat(file, change.stat)


def _check_stat(file: dict[str, Any], about: Stat) -> None:
    assert file["size"] == about.size
    assert int(file["mode"], 8) == stat.S_IMODE(about.mode)
    assert (file["owner"]["id"], file["group"]["id"]) == (str(about.uid), str(about.gid))
    assert (file["device"], file["inode"]) == (str(about.device), str(about.inode))
    assert ("target" in file) == (about.target is not None)
    if about.target is not None:
        assert names.decode(file["target"]) == about.target


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (999_999_999, "1970-01-01T00:00:00.999999999Z"),
        (1_000_000_000, "1970-01-01T00:00:01.000000000Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
        (-62_135_596_800 * 10**9, "0001-01-01T00:00:00.000000000Z"),
        (-62_135_596_801 * 10**9, "0001-01-01T00:00:00.000000000Z"),
        (253_402_300_799 * 10**9, "9999-12-31T23:59:59.000000000Z"),
        (2**63 * 10**9, "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_times(nanoseconds: int, text: str) -> None:
    """A time is exact to the nanosecond, and outside the years of RFC 3339 it is the nearest there is."""
    about = file_change().stat
    assert about is not None
    encoder = Encoder(SOURCE, GROUP, EPOCH)
    for _ in range(2):  # from the calendar, then remembered
        body = encoder.encode(file_change(stat=about._replace(mtime=nanoseconds), time=nanoseconds), 1)[2]
        document = json.loads(body)
        assert document["data"]["file"]["modified"] == text
        assert document["time"] == text[:-4] + "Z"


@given(st.lists(changes(), min_size=2, max_size=6))
def test_nothing_is_remembered_wrongly(several: list[Change]) -> None:
    """An encoder that has encoded other changes before gives the same as a fresh one."""
    encoder = Encoder(SOURCE, GROUP, EPOCH)
    for sequence, change in enumerate((*several, *several), 1):
        assert encoder.encode(change, sequence) == Encoder(SOURCE, GROUP, EPOCH).encode(change, sequence)


def test_owner_and_group_are_not_mixed_up() -> None:
    """What is remembered of one owner and group is not taken for the same numbers the other way round."""
    about = file_change().stat
    assert about is not None
    encoder = Encoder(SOURCE, GROUP, EPOCH)
    for uid, gid in ((1, 2), (2, 1), (1, 2)):
        file = json.loads(encoder.encode(file_change(stat=about._replace(uid=uid, gid=gid)), 1)[2])["data"][
            "file"
        ]
        assert (file["owner"], file["group"]) == ({"id": str(uid)}, {"id": str(gid)})


def test_memory_is_bounded() -> None:
    """More owners and seconds than an encoder remembers are encoded right, the first ones again too."""
    about = file_change().stat
    assert about is not None
    encoder = Encoder(SOURCE, GROUP, EPOCH)
    for number in (*range(5000), 0):
        change = file_change(stat=about._replace(uid=number, mtime=(10**9 + number) * 10**9))
        file = json.loads(encoder.encode(change, 1)[2])["data"]["file"]
        assert file["owner"]["id"] == str(number)
        assert datetime.fromisoformat(file["modified"]).timestamp() == 10**9 + number
    assert max(len(v) for v in vars(encoder).values() if isinstance(v, dict)) <= 4096


@pytest.mark.parametrize(
    ("mode", "text"), [(0o100000, "0000"), (0o100644, "0644"), (0o104755, "4755"), (0o101777, "1777")]
)
def test_mode(mode: int, text: str) -> None:
    """The mode is the permission bits with setuid, setgid and sticky, four octal digits."""
    about = file_change().stat
    assert about is not None
    assert _data(file_change(stat=about._replace(mode=mode)))["file"]["mode"] == text


def test_subject() -> None:
    """A subject is never empty: a change of the root itself and a notice about the whole group have none."""
    root = Change("attributes_changed", b"", stat.S_IFDIR, "kernel", 0)
    assert "subject" not in json.loads(_message(root).body)
    assert "subject" not in json.loads(_message(Notice("root_lost", 0, b"")).body)
    assert "subject" not in json.loads(_message(Notice("heartbeat", 0)).body)
    assert json.loads(_message(Notice("root_lost", 0, b"in\xff")).body)["subject"] == "in%FF"


def test_scope() -> None:
    """The place of a resync is its scope, that of every other notice its path, each with its raw twin."""
    assert _data(Notice("resync_completed", 0)) == {"scope": ""}
    assert _data(Notice("resync_started", 0, b"a\xff")) == {"scope": "a%FF", "scope_b64": "Yf8="}
    assert _data(Notice("coverage_degraded", 0, b"a\xff", {"error": "ENOSPC"})) == {
        "path": "a%FF",
        "path_b64": "Yf8=",
        "error": "ENOSPC",
    }


@given(paths)
def test_partition_key(path: bytes) -> None:
    """The key of a path is bounded, free of control characters, and the same for the same path."""
    by_path = _message(file_change(path=path), partition_by="path").key
    assert by_path == _message(file_change("deleted", path), partition_by="path").key
    assert len(by_path) <= KEY_BYTES
    plain = names.encode(path).encode()
    assert by_path == plain or len(plain) > KEY_BYTES


def test_partition_by_directory() -> None:
    """Names of one directory share a key, also those of the root; the stream's own events go by group."""
    keys = [
        _message(file_change(path=p), partition_by="directory").key for p in (b"a", b"d/a", b"d/b", b"d/e/a")
    ]
    assert keys == [b".", b"d", b"d", b"d/e"]
    assert _message(NOTICES[4], partition_by="directory").key == b"uploads"
    long = [_message(file_change(path=b"x" * 201 + tail), partition_by="path").key for tail in (b"", b"y")]
    assert long[0] != long[1]
    assert {len(key) for key in long} == {32}


def test_configured_names() -> None:
    """A source and a prefix with quotes and letters of any script stay JSON."""
    kind, _, body = Encoder('urn:x"\\ü', "g", EPOCH, 'my"pre.fix').encode(file_change(), 7)
    document = json.loads(body)
    assert (kind, document["source"]) == ("file.written", 'urn:x"\\ü')
    assert document["type"] == 'my"pre.fix.file.written.v1'


def test_no_such_event() -> None:
    """What is no event of the catalogue is refused, not published under a made-up name."""
    with pytest.raises(KeyError):
        _message(file_change("written", type=stat.S_IFDIR))
    with pytest.raises(KeyError):
        _message(Notice("wondering", 0))


def test_sequence_is_ordered_as_text() -> None:
    """Ids of one epoch sort as their numbers, up to twelve digits."""
    ids = [json.loads(_message(file_change(), n).body)["sequence"] for n in (1, 9, 10, 99_999, 10**12 - 1)]
    assert ids == sorted(ids)
    assert ids[0] == f"{EPOCH}-000000000001"
