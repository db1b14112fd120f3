"""``inotify-bridge replay``"""

from __future__ import annotations

import click

from inotify_bridge.cli.connection import TIMEOUT_SECONDS, Target, ask
from inotify_bridge.cli.options import target_options


@click.command("replay")
@click.argument("group")
@click.option(
    "--from", "first", type=click.IntRange(min=1), required=True, metavar="SEQ", help="The first sequence."
)
@click.option("--sink", metavar="NAME", help="To this sink alone.")
@target_options
def command(target: Target, group: str, first: int, sink: str | None) -> None:
    """
    Have a group's events sent again.

    From a sequence of the present epoch on; how far back that can be, `state.retain` says. Consumers that
    have seen the events drop them by their ids.

    \b
    Example:
      inotify-bridge replay uploads --from 1200 --sink orders
    """
    query = {"group": group, "from": first, "sink": sink}
    at = ask(target, "POST", "/-/replay", query, 4 * TIMEOUT_SECONDS)
    click.echo(f"sent again from {at['epoch']}-{at['sequence']:012d}")
