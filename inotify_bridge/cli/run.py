"""``inotify-bridge run``: the agent."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from inotify_bridge.cli.options import config_option
from inotify_bridge.errors import BridgeError

_log = logging.getLogger("inotify_bridge.agent")


@click.command(
    "run",
    epilog="SIGTERM and SIGINT drain and end it, a second one interrupts the drain; SIGHUP reloads.",
)
@config_option
@click.option("--check", is_flag=True, help="Only validate the configuration.")
def command(config_file: str, check: bool) -> int:
    """
    Run the agent.

    \b
    Example:
      inotify-bridge run -c /etc/inotify-bridge/config.yaml
    """
    from inotify_bridge import config

    path = Path(config_file)
    loaded = config.load(path)
    if check:
        click.echo(f"{path}: ok", err=True)
        return 0
    return _run(path, loaded)


def _run(path: Path, loaded: object) -> int:
    from inotify_bridge import config
    from inotify_bridge.agent import Agent
    from inotify_bridge.cli import configure_log
    from inotify_bridge.cli.process import Signals

    assert isinstance(loaded, config.Config)
    configure_log(loaded.log.level, loaded.log.format)
    agent = Agent(loaded, path)

    def reload() -> None:
        try:
            new = config.load(path)
            agent.reload(new)
        except BridgeError as error:
            agent.reload_failed(str(error))
            _log.error("the configuration stays as it was: %s", error)
        else:
            configure_log(new.log.level, new.log.format)

    signals = Signals(agent, reload)
    agent.start()
    try:
        signals.wait()
    finally:
        left = signals.stop()
    if left:
        _log.warning("%d messages are left undelivered", left)
    return 0
