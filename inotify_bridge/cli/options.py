"""Options that several commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import click
from click.core import ParameterSource

from inotify_bridge.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from inotify_bridge.cli.connection import Target
    from inotify_bridge.config.model import Http

DEFAULT_FILE: Final = "/etc/inotify-bridge/config.yaml"
DEFAULT_URL: Final = "http://127.0.0.1:10477"

P = ParamSpec("P")
R = TypeVar("R")

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

_TARGET_OPTIONS: Final = (
    click.option(
        "--url",
        metavar="URL",
        envvar="INOTIFY_BRIDGE_URL",
        help=f"Address of the running agent: http://HOST:PORT, or unix:PATH for its admin socket. "
        f"[default: {DEFAULT_URL}]",
    ),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="File with the bearer token.",
    ),
    click.option(
        "-c",
        "--config",
        "config_file",
        metavar="FILE",
        envvar="INOTIFY_BRIDGE_CONFIG",
        help="Take address, admin socket and token from the agent's configuration file.",
    ),
)


def target_options(command: Callable[..., R]) -> Callable[..., R]:
    """``--url``, ``--token-file`` and ``-c``, as the parameter `target`: the agent to ask."""

    @functools.wraps(command)
    def with_target(
        *args: Any, url: str | None, token_file: Path | None, config_file: str | None, **others: Any
    ) -> R:
        return command(*args, target=find_target(url, token_file, config_file), **others)

    return raw_target_options(with_target)


def raw_target_options(command: Callable[..., R]) -> Callable[..., R]:
    """The same as the parameters `url`, `token_file` and `config_file`, for `find_target`."""
    for option in reversed(_TARGET_OPTIONS):
        command = option(command)
    return command


def find_target(url: str | None, token_file: Path | None, config_file: str | None) -> Target:
    """
    The agent that the options name.

    The command line comes before the environment, and an address before a file that holds one. A file's token
    goes to the address in it, and elsewhere only where both stand on the command line; where it listens
    on loopback, with operator signals only.

    Raises: UsageError, ConfigError.
    """
    from inotify_bridge.cli.connection import Target

    context = click.get_current_context()
    said = {
        name: context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        for name in ("url", "config_file")
    }
    if said["config_file"] and not said["url"]:
        url = None
    token = _read(token_file, "--token-file") if token_file else None
    if config_file is None or (url is not None and not said["config_file"]):
        return Target(DEFAULT_URL if url is None else url, token)
    from inotify_bridge.config.file import load_http

    http = load_http(config_file)
    is_open = url is None and http.loopback and token is None
    if url is None:
        url = _address(http, config_file)
    if token is None and not url.startswith("unix:"):
        token = _token(http)
    return Target(url, token, is_open)


def _socket(http: Http) -> str | None:
    """The admin socket, if this user may connect to it."""
    path = http.admin_socket
    return path if path is not None and os.access(path, os.W_OK) else None


def _address(http: Http, file: str) -> str:
    path = _socket(http)
    if path is not None:
        return f"unix:{path}"
    host, port = http.address
    if port == 0:
        raise UsageError(f"{file}: http.listen has port 0, the agent took any", "give --url: its log has it")
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _token(http: Http) -> str | None:
    if http.admin_token_file is not None:
        return _read(Path(http.admin_token_file), "http.admin_token_file")
    return http.admin_token.get_secret_value() if http.admin_token is not None else None


def _read(path: Path, where: str) -> str:
    """The token of a file that `where` names. Raises: UsageError."""
    from inotify_bridge.config.token import read_token

    try:
        return read_token(path)
    except ConfigError as error:
        raise UsageError(f"{where} {error.message}", error.hint) from error
