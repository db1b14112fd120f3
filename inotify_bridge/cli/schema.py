"""``inotify-bridge schema``"""

from __future__ import annotations

import json
from typing import Literal

import click


@click.command("schema")
@click.argument("name", type=click.Choice(["config", "event", "asyncapi"]))
def command(name: Literal["config", "event", "asyncapi"]) -> None:
    """
    Print a published schema.

    config: JSON Schema of the configuration file, for editors and checks. event: JSON Schema of every event.
    asyncapi: AsyncAPI document of the channels.

    \b
    Example:
      inotify-bridge schema config > config.schema.json
    """
    click.echo(json.dumps(_schema(name), indent=2, ensure_ascii=False))


def _schema(name: Literal["config", "event", "asyncapi"]) -> object:
    if name == "config":
        from inotify_bridge.config import json_schema

        return json_schema()
    from inotify_bridge.events.schemas import schema

    return schema(name)
