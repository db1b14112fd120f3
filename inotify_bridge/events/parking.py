"""
The small event that takes the place of a message that no broker will take.

It keeps the sequence, so that the numbering stays dense, and what a replica needs to fold it like the
original: the original's type, and ``file.path``, ``file.type`` and ``move.from`` at the places where they
stood. The stat fields and everything else that may be long is left out.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from inotify_bridge.events.event import PARKED, SCHEMAS, split_type, type_of
from inotify_bridge.events.names import decode

PATH_BYTES: Final = 12_288
"""Length of a path's JSON text up to which it is carried: any path that a system call takes, with every byte
encoded (3 x PATH_MAX)."""

REASON_CHARACTERS: Final = 500

_PATHS: Final = (("file", "path"), ("move", "from"))
_OWN_PATHS: Final = ("path", "scope")


class About(NamedTuple):
    """
    What a message is about.

    Args:
        kind: for example ``file.written``.
        paths: raw bytes, as the stream names them; of a move the new one, then the old. Empty for what the
            stream says about itself.
    """

    kind: str
    paths: tuple[bytes, ...]


def about(body: bytes) -> About:
    """
    Read from a message what it is about.

    Args:
        body: as `Encoder.encode` made it.
    Raises:
        ValueError: the body is no event.
    """
    event: dict[str, Any] = json.loads(body)
    kind, data = split_type(event["type"])[1], event["data"]
    named = (data[member][key] for member, key in _PATHS if key in data.get(member, ()))
    return About(kind, tuple(decode(text) for text in named))


def parked(body: bytes, sink: str, reason: str, path_bytes: int = PATH_BYTES) -> bytes:
    """
    Make the body that replaces a message. Its kind is `event.PARKED`; sequence, time and key stay the same.

    Args:
        body: of the message, as `Encoder.encode` made it; or one that was made here, to make it smaller.
        sink: name of the sink that refused it.
        reason: why, in words; cut after `REASON_CHARACTERS`.
        path_bytes: a path whose JSON text is longer is left out and named in ``data.omitted``. A consumer
            cannot fold such an event: its replica is invalid until the next epoch. With the default the
            result is below 96 KiB.

    Returns:
        The body of the ``stream.event_parked`` event.

    Raises:
        ValueError: the body is no event.
    """
    event: dict[str, Any] = json.loads(body)
    original: dict[str, Any] = event.pop("data")
    prefix, kind = split_type(event["type"])
    type = original["type"] if kind == PARKED else event["type"]
    data, omitted = _folded(original, path_bytes)
    if kind == PARKED:
        omitted = sorted({*omitted, *original.get("omitted", ())})
    if _too_long(event.get("subject", ""), path_bytes):
        del event["subject"]
    event |= {"type": type_of(prefix, PARKED), "dataschema": SCHEMAS["stream"]}
    event["data"] = {"sink": sink, "type": type, "reason": _sentence(reason), **data}
    if omitted:
        event["data"]["omitted"] = omitted
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _folded(original: dict[str, Any], path_bytes: int) -> tuple[dict[str, Any], list[str]]:
    """What a fold reads of the original's data, and the names of the paths that were too long."""
    data: dict[str, Any] = {}
    omitted: list[str] = []
    for member, key in _PATHS:
        holder = original.get(member, {})
        kept = _path(holder, key, path_bytes)
        if key in holder and key not in kept:
            omitted.append(f"{member}.{key}")
        if "type" in holder:
            kept["type"] = holder["type"]
        if kept:
            data[member] = kept
    for key in _OWN_PATHS:
        data |= _path(original, key, path_bytes)
    return data, omitted


def _path(holder: dict[str, Any], key: str, path_bytes: int) -> dict[str, Any]:
    if key not in holder or _too_long(holder[key], path_bytes):
        return {}
    return {name: holder[name] for name in (key, f"{key}_b64") if name in holder}


def _too_long(text: str, path_bytes: int) -> bool:
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2 > path_bytes


def _sentence(reason: str) -> str:
    """The broker's words come from outside: no lone surrogates, and not too many."""
    return reason[:REASON_CHARACTERS].encode("utf-8", "replace").decode()
