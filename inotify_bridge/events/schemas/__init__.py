"""The published schemas: JSON Schema (draft 2020-12) of an event, AsyncAPI 3 of the channels."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Final, Literal, TypeAlias

Name: TypeAlias = Literal["event", "asyncapi"]

FILES: Final[dict[Name, str]] = {"event": "event.schema.json", "asyncapi": "asyncapi.json"}


def schema(name: Name) -> dict[str, Any]:
    """
    A published schema, decoded.

    Raises:
        KeyError: there is none of that name.
    """
    text = resources.files(__name__).joinpath(FILES[name]).read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
