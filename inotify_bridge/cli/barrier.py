"""``inotify-bridge barrier``"""

from __future__ import annotations

import click

from inotify_bridge.cli.connection import Target, ask
from inotify_bridge.cli.options import target_options
from inotify_bridge.cli.waiting import timeout_option, with_timeout


@click.command("barrier")
@click.argument("group")
@click.option("--wait-sink", metavar="NAME", help="Wait until this sink has confirmed it.")
@timeout_option
@target_options
def command(target: Target, group: str, wait_sink: str | None, timeout: float) -> None:
    """
    Wait until everything that has happened is recorded.

    Prints the id of the last event.

    \b
    Example:
      inotify-bridge barrier uploads --wait-sink orders
    """
    query = {"group": group, "wait_sink": wait_sink}
    at = ask(target, "POST", "/-/barrier", **with_timeout(query, timeout))
    click.echo(f"{at['epoch']}-{at['sequence']:012d}")
