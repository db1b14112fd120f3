"""``inotify-bridge healthcheck``"""

from __future__ import annotations

import contextlib
import http.client

import click

from inotify_bridge.cli.connection import Target, connection, explained
from inotify_bridge.cli.options import target_options
from inotify_bridge.errors import BridgeError

_TIMEOUT_SECONDS = 5.0
_SHOWN_CHARACTERS = 300


@click.command("healthcheck")
@target_options
@click.option(
    "--probe",
    type=click.Choice(["livez", "readyz", "startupz"]),
    default="livez",
    show_default=True,
    help="What to ask.",
)
def command(target: Target, probe: str) -> None:
    """
    Ask a running agent whether it is well.

    Exit code 0: yes; 1: no; 69: no agent answers.

    \b
    Example:
      inotify-bridge healthcheck --probe readyz
    """
    status, text = _get(target, f"/{probe}")
    if status != http.client.OK:
        raise BridgeError(
            f"{probe} answers {status}: {text or 'nothing'}", f"see '{target.url}/' and the log"
        )
    click.echo(text or "ok")


def _get(target: Target, path: str) -> tuple[int, str]:
    """Status and first line of a GET. The agent asks no token of probes, but what stands before it may."""
    asked = connection(target.url, _TIMEOUT_SECONDS)
    with contextlib.closing(asked), explained(target.url):
        asked.request("GET", path, headers=target.headers(path))
        response = asked.getresponse()
        body = response.read(_SHOWN_CHARACTERS).decode("utf-8", "replace")
    return response.status, body.strip().partition("\n")[0]
