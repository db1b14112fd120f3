"""``inotify-bridge parked``: the messages that a sink will never take."""

from __future__ import annotations

import json

import click

from inotify_bridge.cli.connection import TIMEOUT_SECONDS, Target, ask
from inotify_bridge.cli.options import target_options
from inotify_bridge.cli.status import table

_HEAD = ("GROUP", "SINK", "ID", "PARKED AT", "TYPE", "PATH", "REASON", "DETAIL")
_KEYS = ("group", "sink", "id", "parked_at", "type", "path", "reason", "detail")


@click.group("parked")
def command() -> None:
    """
    List, publish anew or drop the messages that a sink will never take.

    \b
    Example:
      inotify-bridge parked list uploads
    """


@command.command("list")
@click.argument("group", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@target_options
def list_parked(target: Target, group: str | None, as_json: bool) -> None:
    """
    List what is parked, of GROUP or of all.

    \b
    Example:
      inotify-bridge parked list uploads
    """
    parked = ask(target, "GET", "/-/parked", {"group": group}, 4 * TIMEOUT_SECONDS)["parked"]
    if as_json:
        click.echo(json.dumps(parked, indent=2))
    elif not parked:
        click.echo("Nothing is parked.")
    else:
        for line in table(_HEAD, [[str(one[key] or "-") for key in _KEYS] for one in parked]):
            click.echo(line)


@command.command("retry")
@click.argument("group")
@click.option("--sink", metavar="NAME", help="Those of this sink alone.")
@click.option("--id", "message", metavar="ID", help="This message alone, by its id of `parked list`.")
@target_options
def retry(target: Target, group: str, sink: str | None, message: str | None) -> None:
    """
    Publish the present state of the paths of parked messages, as new events.

    Raise the broker's limit before. Of a path that is gone there is nothing to publish.

    \b
    Example:
      inotify-bridge parked retry uploads --sink orders
    """
    click.echo(f"{_settle(target, 'retry', group, sink, message)} published anew")


@command.command("drop")
@click.argument("group")
@click.option("--sink", metavar="NAME", help="Those of this sink alone.")
@click.option("--id", "message", metavar="ID", help="This message alone, by its id of `parked list`.")
@target_options
def drop(target: Target, group: str, sink: str | None, message: str | None) -> None:
    """
    Forget parked messages; what took their places in the stream stays.

    \b
    Example:
      inotify-bridge parked drop uploads --id 0192f3a4b5c6d7e8f9a0-000000000042
    """
    click.echo(f"{_settle(target, 'drop', group, sink, message)} dropped")


def _settle(target: Target, action: str, group: str, sink: str | None, message: str | None) -> int:
    query = {"action": action, "group": group, "sink": sink, "id": message}
    return int(ask(target, "POST", "/-/parked", query, 4 * TIMEOUT_SECONDS)["count"])
