"""``inotify-bridge state``: what the journal of a group begins with."""

from __future__ import annotations

import os
from pathlib import Path

import click

from inotify_bridge.cli.connection import ask
from inotify_bridge.cli.options import find_target, raw_target_options
from inotify_bridge.cli.waiting import timeout_option, with_timeout
from inotify_bridge.errors import UsageError


@click.group("state")
def command() -> None:
    """
    Act on the state of an agent's groups.

    \b
    Example:
      inotify-bridge state new-epoch uploads
    """


@command.command("new-epoch")
@click.argument("group")
@click.option(
    "--offline", is_flag=True, help="The agent is stopped: act on the state directory of the file of -c."
)
@timeout_option
@raw_target_options
def new_epoch(
    group: str,
    offline: bool,
    timeout: float,
    url: str | None,
    token_file: Path | None,
    config_file: str | None,
) -> None:
    """
    End a group's epoch, and begin a new one with a full snapshot.

    The duty of whoever has restored the whole volume of the state directory from a backup: that cannot be
    told from inside, and numbers that consumers have seen would be used again. With --offline it is done
    before the agent starts, and the snapshot comes with its start.

    \b
    Example:
      inotify-bridge state new-epoch uploads --offline -c config.yaml
    """
    if offline:
        click.echo(f"new epoch {_minted(group, config_file)}")
        return
    target = find_target(url, token_file, config_file)
    query = {"group": group, "snapshot": "true"}
    click.echo(f"new epoch {ask(target, 'POST', '/-/resync', **with_timeout(query, timeout))['epoch']}")


def _minted(name: str, config_file: str | None) -> str:
    from prometheus_client import CollectorRegistry

    from inotify_bridge.config import load
    from inotify_bridge.config.problems import nearest
    from inotify_bridge.epochs import begin_epoch, open_store
    from inotify_bridge.metrics import Metrics
    from inotify_bridge.outbox.lock import DirectoryLock

    if config_file is None:
        raise UsageError("--offline needs the agent's configuration", "name it with -c")
    config = load(config_file)
    groups = {group.name: group for group in config.watch_groups}
    if name not in groups:
        raise UsageError(f"no watch group '{name}' in {config_file}", nearest(name, groups))
    if config.state.dir is None:
        raise UsageError(
            f"{config_file} has no state.dir", "without one every start is a new epoch by itself"
        )
    metrics = Metrics(CollectorRegistry(), [name], []).group(name)
    lock = DirectoryLock(Path(os.fsdecode(config.state.dir)))
    try:
        store, _ = open_store(config, groups[name], metrics)
        try:
            return begin_epoch(store, config, groups[name], "requested", metrics)
        finally:
            store.close()
    finally:
        lock.close()
