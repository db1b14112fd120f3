"""The JSON Schema of a configuration file, for editors and for checks without the program."""

from __future__ import annotations

from typing import Any, Final

from inotify_bridge.config.model import Config
from inotify_bridge.errors import ConfigError
from inotify_bridge.sinks.registry import sink_class, sink_types

SCHEMA_ID: Final = "urn:inotify-bridge:schema:config:1"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = {"type": "string", "pattern": r"\$\{"}


def json_schema() -> dict[str, Any]:
    """
    The schema (draft 2020-12), with the options of every sink type whose driver is installed.

    Scalars of any type may also be references to the environment.
    """
    schema = Config.model_json_schema(by_alias=True)
    definitions: dict[str, Any] = schema["$defs"]
    entry = definitions.pop("SinkEntry")
    schema["properties"]["sinks"]["items"] = {
        "oneOf": [_sink(entry, name, definitions) for name in _usable_types()],
        "description": "A sink: a name, a type, and the options of this type.",
    }
    definitions["RootPath"] = {"anyOf": [{"type": "string", "minLength": 1}, definitions["RootPath"]]}
    allowed = _with_references(schema)
    return {"$schema": _DIALECT, "$id": SCHEMA_ID, **allowed, "title": "inotify-bridge configuration"}


def _usable_types() -> list[str]:
    usable = []
    for name in sink_types():
        try:
            sink_class(name)
        except ConfigError:  # its driver is not installed
            continue
        usable.append(name)
    return usable


def _sink(entry: dict[str, Any], name: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The options of one type beside name and type; definitions get the type's name as a prefix."""
    model = sink_class(name).Options
    options = model.model_json_schema(by_alias=True, ref_template=f"#/$defs/{name}.{{model}}")
    for inner, definition in options.pop("$defs", {}).items():
        definitions[f"{name}.{inner}"] = definition
    own = {"name": entry["properties"]["name"], "type": {"const": name}}
    return {
        **options,
        "title": name,
        "properties": {**own, **options.get("properties", {})},
        "required": ["name", "type", *options.get("required", [])],
    }


def _with_references(schema: Any) -> Any:
    """The schema with ${VAR} allowed wherever a scalar stands that is no free text."""
    if isinstance(schema, list):
        return [_with_references(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    below = {key: _with_references(value) if key not in _LITERAL else value for key, value in schema.items()}
    restricted = schema.get("type") in ("integer", "number", "boolean") or (
        schema.get("type") == "string" and ("enum" in schema or "pattern" in schema)
    )
    if not restricted:
        return below
    outside = {key: below.pop(key) for key in _ANNOTATIONS if key in below}
    return {"anyOf": [below, _REFERENCE], **outside}


_LITERAL: Final = frozenset(("default", "enum", "const", "examples", "required"))
_ANNOTATIONS: Final = ("title", "description", "default")
