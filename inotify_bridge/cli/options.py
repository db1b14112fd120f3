"""Options that several commands share."""

from __future__ import annotations

from typing import Final

import click

DEFAULT_FILE: Final = "/etc/inotify-bridge/config.yaml"
DEFAULT_URL: Final = "http://127.0.0.1:10477"

config_option = click.option(
    "-c",
    "--config",
    "config_file",
    metavar="FILE",
    default=DEFAULT_FILE,
    show_default=True,
    envvar="INOTIFY_BRIDGE_CONFIG",
    help="Configuration file.",
)
"""``-c FILE``, as the parameter `config_file`."""

url_option = click.option(
    "--url",
    metavar="URL",
    default=DEFAULT_URL,
    show_default=True,
    envvar="INOTIFY_BRIDGE_URL",
    help="Address of the running agent: http://HOST:PORT, or unix:PATH for its admin socket.",
)
"""``--url URL``, as the parameter `url`."""
