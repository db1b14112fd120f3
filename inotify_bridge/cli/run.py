"""``inotify-bridge run``: the agent."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import click

from inotify_bridge.cli.options import config_option
from inotify_bridge.cli.terminal import Terminal, hold_reloads
from inotify_bridge.errors import BridgeError, ConfigError, StoreError, UnavailableError

if TYPE_CHECKING:
    from inotify_bridge.agent import Agent, Undelivered

_log = logging.getLogger("inotify_bridge.agent")


@click.command(
    "run",
    epilog="SIGTERM and SIGINT drain and end it, a second one interrupts the drain; SIGHUP reloads. Exit "
    "code 1 when messages were lost: not delivered, and no state.dir keeps them.",
)
@config_option
@click.option("--check", is_flag=True, help="Only validate the configuration.")
@click.option(
    "--reload-on-change",
    is_flag=True,
    envvar="INOTIFY_BRIDGE_RELOAD_ON_CHANGE",
    help="Reload whenever the configuration file changes, without SIGHUP.",
)
def command(config_file: str, check: bool, reload_on_change: bool) -> int:
    """
    Run the agent.

    \b
    Example:
      inotify-bridge run -c /etc/inotify-bridge/config.yaml
    """
    terminal = None if check else hold_reloads()
    from inotify_bridge import config

    path = Path(config_file)
    if check:
        config.load(path)
        click.echo(f"{path}: ok", err=True)
        return 0
    return _run(path, terminal, reload_on_change)


def _run(path: Path, terminal: Terminal | None, reload_on_change: bool) -> int:
    from inotify_bridge import config
    from inotify_bridge.agent import Agent
    from inotify_bridge.cli import configure_log
    from inotify_bridge.cli.file_watch import FileWatch
    from inotify_bridge.cli.process import Signals
    from inotify_bridge.cli.service import Service
    from inotify_bridge.systemd import ServiceManager

    _raise_limit_of_descriptors()
    # Before the file is read: what changes from here on is seen.
    file = FileWatch(path) if reload_on_change else None
    loaded = config.load(path)
    configure_log(loaded.log.level, loaded.log.format)
    agent = Agent(loaded, path)
    service = Service(agent, ServiceManager.from_environment())
    context = click.get_current_context()

    def reload() -> BridgeError | None:
        service.reloading()
        with context.scope(cleanup=False):  # on a thread of its own: --log-level is in there
            refused = _reload(agent, path)
        service.reloaded()
        return refused

    signals = Signals(agent, reload, terminal, file)
    agent.signals.reload_file = signals.request_reload
    agent.given_up = lambda: signals.wake() if agent.taken_over else None
    try:
        agent.start()
    except StoreError as error:
        if isinstance(error.__cause__, OSError) and error.reason == "other":  # permissions, or no file at all
            raise ConfigError(error.message, error.hint) from error
        raise
    service.ready()
    taken_over = None
    try:
        signals.wait()
        taken_over = agent.taken_over
    finally:
        service.stopping()
        left = signals.stop()
        service.ended()
    if taken_over:
        raise UnavailableError(taken_over.message, taken_over.hint)
    code = _ended(left, kept=loaded.state.dir is not None)
    _end_beside_a_hanging_disk(agent, code)
    return code


def _raise_limit_of_descriptors() -> None:
    """
    As many as the process may have at all: shells and service managers give 1,024 for the sake of select(2),
    which nothing here uses, and rotated files that wait to be read are open.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # "unlimited" is more than the kernel gives
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _end_beside_a_hanging_disk(agent: Agent, code: int) -> None:
    """
    End the process where a recorder is in a system call of a disk that hangs: it must not come back to an
    interpreter that is being taken apart.
    """
    if any(group.started and group.recorder.alive for group in agent.groups.values()):
        logging.shutdown()
        os._exit(code)


def _reload(agent: Agent, path: Path) -> BridgeError | None:
    """Returns why the old configuration stayed."""
    from inotify_bridge import config
    from inotify_bridge.cli import configure_log

    try:
        new = config.load(path)
        agent.reload(new)
    except BridgeError as error:
        agent.reload_failed("; ".join(_reasons(error)))
        for reason in _reasons(error):
            _log.error("the configuration stays as it was: %s", reason)
        return error
    configure_log(new.log.level, new.log.format)
    return None


def _reasons(error: BridgeError) -> list[str]:
    """Every problem of a configuration is a line of its own."""
    return [str(problem) for problem in getattr(error, "problems", ())] or [str(error)]


def _ended(left: Undelivered, kept: bool) -> int:
    """Says what was not delivered; returns the exit code."""
    from inotify_bridge.cli.process import in_words

    if left:
        fate = "sent after the next start" if kept else "lost, for there is no state.dir"
        _log.warning("left undelivered, %s: %s", fate, in_words(left))
    return 1 if left and not kept else 0
