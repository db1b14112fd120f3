"""``inotify-bridge state``: what the journal of a group begins with."""

from __future__ import annotations

import click

from inotify_bridge.cli.connection import Target, ask
from inotify_bridge.cli.options import target_options
from inotify_bridge.cli.waiting import timeout_option, with_timeout


@click.group("state")
def command() -> None:
    """
    Act on the state of a running agent's groups.

    \b
    Example:
      inotify-bridge state new-epoch uploads
    """


@command.command("new-epoch")
@click.argument("group")
@timeout_option
@target_options
def new_epoch(target: Target, group: str, timeout: float) -> None:
    """
    End a group's epoch, and begin a new one with a full snapshot.

    The duty of whoever has restored the whole volume of the state directory from a backup: that cannot be
    told from inside, and numbers that consumers have seen would be used again.

    \b
    Example:
      inotify-bridge state new-epoch uploads
    """
    query = {"group": group, "snapshot": "true"}
    click.echo(f"new epoch {ask(target, 'POST', '/-/resync', **with_timeout(query, timeout))['epoch']}")
