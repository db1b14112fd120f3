"""``inotify-bridge test-sink``"""

from __future__ import annotations

import os
import secrets
import time

import click

from inotify_bridge import __version__
from inotify_bridge.capture.change import Notice
from inotify_bridge.cli.options import config_option
from inotify_bridge.config import Config, WatchGroup, load
from inotify_bridge.config.problems import nearest
from inotify_bridge.errors import SinkUnavailable, UsageError
from inotify_bridge.events.envelope import Encoder
from inotify_bridge.log import escaped
from inotify_bridge.sinks.base import Message, Sink, SinkContext, Verdict
from inotify_bridge.sinks.registry import sink_class


@click.command("test-sink")
@click.argument("name")
@config_option
@click.option(
    "--group", "group_name", metavar="GROUP", help="Route as this group does; else the first that uses it."
)
def command(name: str, config_file: str, group_name: str | None) -> None:
    """
    Connect a configured sink and publish one probe message.

    The message is a `stream.probe` under a source of its own, so that no consumer takes it for a part of the
    stream. Each step is reported. Exit code 69 when one fails.

    \b
    Example:
      inotify-bridge test-sink orders -c config.yaml
    """
    config = load(config_file)
    click.echo(escaped(f"configuration {config_file}: ok"))
    if name not in {entry.name for entry in config.sinks}:
        raise UsageError(
            f"no sink '{name}' in {config_file}", nearest(name, (entry.name for entry in config.sinks))
        )
    group = _group(config, name, group_name)
    context = _context(config, name, group)
    entry = config.sink(name)
    sink: Sink = sink_class(entry.type)(entry.options, context)
    try:
        _probe(sink, _message(config, context))
    finally:
        sink.close()
    click.echo("close: ok")


def _group(config: Config, sink: str, name: str | None) -> WatchGroup:
    groups = {group.name: group for group in config.watch_groups}
    if name is not None and name not in groups:
        raise UsageError(f"no watch group '{name}'", nearest(name, groups))
    if name is not None:
        return groups[name]
    return next((group for group in config.watch_groups if sink in group.sinks), config.watch_groups[0])


def _context(config: Config, sink: str, group: WatchGroup) -> SinkContext:
    return SinkContext(
        name=sink,
        group=group.name,
        source=f"{config.events.source_of(group.name)}#probe",
        content_mode=config.events.content_mode,
        partition_by=config.events.partition_by,
        client_id=f"inotify-bridge-probe-{os.getpid()}",
    )


def _message(config: Config, context: SinkContext) -> Message:
    now = time.time_ns()
    epoch = f"{now // 1_000_000:012x}{secrets.token_hex(4)}"
    encoder = Encoder(
        context.source, context.group, epoch, config.events.type_prefix, config.events.partition_by
    )
    kind, key, body = encoder.encode(Notice("probe", now, data={"version": __version__}), 1)
    return Message(1, now / 1e9, kind, key, body)


def _probe(sink: Sink, message: Message) -> None:
    try:
        sink.connect()
    except SinkUnavailable:
        click.echo("connect: failed")
        raise
    click.echo("connect: ok")
    try:
        outcome = sink.publish([message])[0]
    except SinkUnavailable:
        click.echo("publish: failed")
        raise
    if outcome.verdict is not Verdict.ACCEPTED:
        click.echo("publish: failed")
        raise SinkUnavailable(
            f"the probe was not accepted: {outcome.detail or outcome.reason or outcome.verdict.value}",
            reason=outcome.reason or "other",
        )
    click.echo(f"publish: ok, {len(message.body)} bytes confirmed")
