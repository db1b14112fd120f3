"""``inotify-bridge sinks``"""

from __future__ import annotations

from importlib.metadata import entry_points

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from inotify_bridge.errors import ConfigError
from inotify_bridge.sinks.registry import ENTRY_POINT_GROUP, sink_class, sink_types


@click.command("sinks")
@click.argument("type_name", metavar="[TYPE]", required=False)
def command(type_name: str | None) -> None:
    """
    List the types of sinks and their options.

    With TYPE: its options, one a line, with defaults. An option marked * must be given.

    \b
    Example:
      inotify-bridge sinks rabbitmq
    """
    if type_name is not None:
        options: type[BaseModel] = sink_class(type_name).Options
        for name, field in options.model_fields.items():
            click.echo(_line(name, field))
        return
    for known in sink_types():
        click.echo(f"{known:<10} {_origin(known):<12} {_short(known)}")


def _origin(type_name: str) -> str:
    """Where the type comes from: this package, or the distribution that registers it."""
    for point in entry_points(group=ENTRY_POINT_GROUP, name=type_name):
        if not point.value.startswith("inotify_bridge."):
            return point.dist.name if point.dist is not None else point.module
    return "built in"


def _short(type_name: str) -> str:
    try:
        options: type[BaseModel] = sink_class(type_name).Options
    except ConfigError as error:
        return str(error)
    return ", ".join(name + _mark(field) for name, field in options.model_fields.items())


def _line(name: str, field: FieldInfo) -> str:
    default = "" if field.is_required() else f"[{_text(field)}]"
    return f"{name + _mark(field):<28} {default:<24} {field.description or ''}".rstrip()


def _text(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=False)
    return "" if value is None else str(value)


def _mark(field: FieldInfo) -> str:
    return "*" if field.is_required() else ""
