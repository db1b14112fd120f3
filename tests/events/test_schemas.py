"""The published schemas."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import pytest

from inotify_bridge.events.envelope import Encoder
from inotify_bridge.events.event import (
    DIRECTORY_KINDS,
    FILE_KINDS,
    KINDS,
    LOG_KINDS,
    STREAM_KINDS,
    split_type,
    type_of,
)
from inotify_bridge.events.schemas import FILES, schema
from tests.events.strategies import EPOCH, GROUP, NOTICES, SOURCE, file_change

VALIDATOR = jsonschema.Draft202012Validator(schema("event"))


def _document(item: Any = None) -> dict[str, Any]:
    item = file_change() if item is None else item
    document: dict[str, Any] = json.loads(Encoder(SOURCE, GROUP, EPOCH).encode(item, 1)[2])
    return document


def test_event_schema_is_a_schema() -> None:
    """The event's schema is itself valid JSON Schema of draft 2020-12."""
    jsonschema.Draft202012Validator.check_schema(schema("event"))


def test_every_kind_is_known() -> None:
    """The schema takes the type of every kind of the catalogue, and no other."""
    types = jsonschema.Draft202012Validator(schema("event")["properties"]["type"])
    for kind in KINDS:
        types.validate(type_of("io.inotify-bridge", kind))
    for wrong in (
        "io.x.file.opened.v1",
        "io.x.file.written.v2",
        "file.written.v1",
        "io.x.directory.written.v1",
    ):
        assert not types.is_valid(wrong)


def _changed(path: str, value: Any, item: Any = None) -> dict[str, Any]:
    document = copy.deepcopy(_document(item))
    *above, last = path.split("/")
    holder = document
    for member in above:
        holder = holder[member]
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return document


@pytest.mark.parametrize(
    "document",
    [
        _changed("unknown", "x"),
        _changed("subject", ""),
        _changed("subject", "a\nb"),
        _changed("sequence", "12"),
        _changed("time", "2026-11-21T08:00:00Z"),
        _changed("watchgroup", "Up Loads"),
        _changed("dataschema", "urn:inotify-bridge:schema:stream:1"),
        _changed("data/extra", 1),
        _changed("data/origin", "rumour"),
        _changed("data/origin", None),
        _changed("data/move", {"from": "a"}),
        _changed("data/file/type", "dir"),
        _changed("data/file/size", None),
        _changed("data/file/mode", "644"),
        _changed("data/file/path", "100%"),
        _changed("data/file/inode", 256383),
        _changed("type", "io.inotify-bridge.file.moved.v1"),
        _changed("type", "io.inotify-bridge.directory.created.v1"),
        _changed("data/scope", None, NOTICES[2]),
        _changed("data/digest", "xyz", NOTICES[3]),
        _changed("data/reason", "boredom", NOTICES[2]),
        _changed("data/path", "a", NOTICES[1]),
    ],
)
def test_strict(document: dict[str, Any]) -> None:
    """Whatever is not published is refused: other members, missing ones, other forms."""
    assert VALIDATOR.is_valid(_document())
    assert not VALIDATOR.is_valid(document)


def test_asyncapi_knows_every_kind() -> None:
    """The AsyncAPI document names every kind as a routing key, and its payload is the event's schema."""
    document = schema("asyncapi")
    assert document["asyncapi"] == "3.0.0"
    assert set(document["components"]["parameters"]["kind"]["enum"]) == KINDS
    assert document["channels"]["rabbitmq"]["address"] == "{group}.{kind}"
    assert document["channels"]["kafka"]["address"] == "inotify-bridge.{group}"
    for message in document["components"]["messages"].values():
        assert message["payload"]["schema"] == {"$ref": f"./{FILES['event']}"}


def test_asyncapi_references_resolve() -> None:
    """Every reference inside the AsyncAPI document leads somewhere."""
    document = schema("asyncapi")

    def follow(value: Any) -> int:
        if isinstance(value, list):
            return sum(map(follow, value))
        if not isinstance(value, dict):
            return 0
        found = sum(map(follow, value.values()))
        reference = value.get("$ref", "")
        if reference.startswith("#/"):
            target = document
            for member in reference[2:].split("/"):
                target = target[member]
            found += 1
        return found

    assert follow(document) > 5


def test_unknown_schema() -> None:
    """There are no other schemas."""
    with pytest.raises(KeyError):
        schema("config")  # type: ignore[arg-type]


def test_catalogue() -> None:
    """A type is prefix, kind and version, and comes apart again; another version is refused."""
    assert len(KINDS) == len(FILE_KINDS) + len(DIRECTORY_KINDS) + len(STREAM_KINDS) + len(LOG_KINDS)
    assert split_type(type_of("a.b-c.d", "file.written")) == ("a.b-c.d", "file.written")
    for wrong in ("a.file.written.v2", "file.written.v1", "", "x"):
        with pytest.raises(ValueError, match="version 1"):
            split_type(wrong)
