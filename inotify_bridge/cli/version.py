"""``inotify-bridge version``"""

from __future__ import annotations

import platform

import click

from inotify_bridge import __version__


@click.command("version")
def command() -> None:
    """
    Print the version.

    \b
    Example:
      inotify-bridge version
    """
    kernel = platform.release()
    click.echo(f"inotify-bridge {__version__} (Python {platform.python_version()}, Linux {kernel})")
