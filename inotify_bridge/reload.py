"""
What differs between two configurations, and what that means for a running agent: what goes on as it is, what
another epoch is needed for, and what cannot be put in force without a restart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from inotify_bridge.config.model import REPLICABLE_KINDS, Config, SinkEntry, WatchGroup
from inotify_bridge.errors import ConfigError
from inotify_bridge.wiring import context_of, identity_of

_CREDENTIAL: Final = re.compile(r"password|passphrase|secret|token|username|^tls|^sasl|timeout|heartbeat")
"""Options of a sink that say nothing about where its messages go."""


def refuse_unreloadable(old: Config, new: Config) -> None:
    """Raises: ConfigError, something was changed that needs a restart; names all of it."""
    changed = list(_fixed(old, new))
    if changed:
        raise ConfigError(
            f"{', '.join(changed)} cannot be changed by a reload",
            "restart the agent; the old configuration stays in force",
        )


def _fixed(old: Config, new: Config) -> Iterator[str]:
    """What was bound or opened at the start."""
    if old.http.listen != new.http.listen:
        yield "http.listen"
    if old.http.admin_socket != new.http.admin_socket:
        yield "http.admin_socket"
    if old.state.dir != new.state.dir:
        yield "state.dir"


def group_of(config: Config, name: str) -> WatchGroup | None:
    """The group of this name."""
    return next((group for group in config.watch_groups if group.name == name), None)


def is_changed(old: Config, new: Config, name: str) -> bool:
    """Whether a group that both have runs in another way under the new one."""

    def manner(config: Config) -> object:
        group = group_of(config, name)
        assert group is not None
        sinks = [config.sink(sink) for sink in group.sinks]
        return group, sinks, config.capture, config.state, config.events

    return manner(old) != manner(new)


def sinks_to_end(old: Config, new: Config, before: WatchGroup, after: WatchGroup) -> list[str]:
    """Sinks of a group whose connections end: they are gone, or configured in another way."""
    return [name for name in before.sinks if name not in after.sinks or _relayed(old, new, before, name)]


def _relayed(old: Config, new: Config, group: WatchGroup, sink: str) -> bool:
    contexts = [context_of(config, group.name, sink) for config in (old, new)]
    return old.sink(sink) != new.sink(sink) or contexts[0] != contexts[1]


def needs_epoch(old: Config, new: Config, before: WatchGroup, after: WatchGroup) -> bool:
    """
    Whether the stream of a group cannot go on: what it is about has changed, a sink has to be given all of
    it, or it promises more than before. What only enters or leaves is published by a resync.
    """

    def subject(config: Config, group: WatchGroup) -> object:
        events = config.events.model_dump(exclude={"content_mode"})
        identity = identity_of(config.events.source_of(group.name), group)
        return identity, events, group.recursive, group.one_file_system, group.snapshot

    kept = [name for name in after.sinks if name in before.sinks]
    return (
        subject(old, before) != subject(new, after)
        or len(kept) < len(after.sinks)
        or any(_destination(old.sink(name)) != _destination(new.sink(name)) for name in kept)
        or bool((after.kinds - before.kinds) & REPLICABLE_KINDS)
    )


def _destination(entry: SinkEntry) -> tuple[str, dict[str, Any]]:
    options: dict[str, Any] = entry.options.model_dump()
    return entry.type, {key: value for key, value in options.items() if not _CREDENTIAL.search(key)}
