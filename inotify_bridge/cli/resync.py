"""``inotify-bridge resync``"""

from __future__ import annotations

import click

from inotify_bridge.cli.connection import Target, ask
from inotify_bridge.cli.options import target_options
from inotify_bridge.cli.waiting import timeout_option, with_timeout


@click.command("resync")
@click.argument("group")
@click.argument("path", required=False)
@target_options
@click.option("--snapshot", is_flag=True, help="End the epoch, and begin a new one with everything.")
@timeout_option
def command(target: Target, group: str, path: str | None, snapshot: bool, timeout: float) -> None:
    """
    Have a group compared with what was published, or begin it anew.

    What differs is published. PATH is a directory, as events name it or absolute; without it everything is
    compared. With --snapshot all sinks get a new epoch with everything that is there: for a consumer that
    joins late, or has lost something.

    \b
    Example:
      inotify-bridge resync uploads 2026/11
    """
    query = {"group": group, "path": path, "snapshot": "true" if snapshot else None}
    answer = ask(target, "POST", "/-/resync", **with_timeout(query, timeout if snapshot else None))
    click.echo(f"new epoch {answer['epoch']}" if snapshot else "requested")
