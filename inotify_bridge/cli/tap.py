"""``inotify-bridge tap``"""

from __future__ import annotations

import json
import sys

import click

from inotify_bridge.cli.connection import Target, lines_of
from inotify_bridge.cli.options import target_options
from inotify_bridge.errors import BridgeError
from inotify_bridge.log import escaped

_SILENCE_SECONDS = 40.0  # the agent says something, if only an empty line, every ten


@click.command("tap")
@click.argument("group", required=False)
@click.option("--limit", type=click.IntRange(min=1), help="End after so many file or directory events.")
@target_options
def command(target: Target, group: str | None, limit: int | None) -> None:
    """
    Print the events of a running agent as they are recorded.

    Of GROUP or of all, one JSON object a line. It slows nothing: where it is read too slowly it is cut off,
    with exit code 1.

    \b
    Example:
      inotify-bridge tap uploads --limit 10
    """
    try:
        for line in lines_of(target, "/api/v1/tap", {"group": group, "limit": limit}, _SILENCE_SECONDS):
            if line.startswith(b'{"error"'):  # the last one: an event begins otherwise
                _raise(json.loads(line))
            if line != b"\n":
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
    except KeyboardInterrupt:
        return


def _raise(last: dict[str, str]) -> None:
    raise BridgeError(escaped(last["error"]), escaped(last["hint"]))
