"""
What differs between two configurations, and what that means for a running agent: what goes on as it is, what
another epoch is needed for, and what cannot be put in force without a restart.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from typing import Any, Final

from inotify_bridge.config.model import REPLICABLE_KINDS, Config, SinkEntry, WatchGroup
from inotify_bridge.errors import ConfigError
from inotify_bridge.events.names import encode as encode_name
from inotify_bridge.wiring import context_of, identity_of

_CREDENTIAL: Final = re.compile(r"password|passphrase|secret|token|username|^tls|^sasl|timeout|heartbeat")
"""Options of a sink that say nothing about where its messages go."""

_TOLD_FROM_THEN_ON: Final = REPLICABLE_KINDS | {"attributes_changed"}
"""
Kinds whose changes are lost to a stream that did not tell them: the index went on without them, and no resync
finds them.
"""


def refuse_unreloadable(old: Config, new: Config) -> None:
    """
    Raises: ConfigError, something was changed that needs a restart, or a group would watch what is not there
    instead of what it watches; names all of it.
    """
    changed = list(_fixed(old, new))
    if changed:
        raise ConfigError(
            f"{', '.join(changed)} cannot be changed by a reload",
            "restart the agent; the old configuration stays in force",
        )
    missing = list(_missing(old, new))
    if missing:
        raise ConfigError(
            f"there is nothing at {', '.join(missing)}",
            "mend the path, or make the directory first; the old configuration stays in force",
        )


def _fixed(old: Config, new: Config) -> Iterator[str]:
    """What was bound or opened at the start."""
    if old.http.listen != new.http.listen:
        yield "http.listen"
    if old.http.admin_socket != new.http.admin_socket:
        yield "http.admin_socket"
    if old.state.dir != new.state.dir:
        yield "state.dir"


def _missing(old: Config, new: Config) -> Iterator[str]:
    """New paths of groups that run, where nothing is: a slip would empty every replica."""
    known = {group.name: {root.path for root in group.roots} for group in old.watch_groups}
    for group in new.watch_groups:
        for root in group.roots if group.name in known else ():
            if root.path not in known[group.name] and not _is_there(root.path):
                yield f"{encode_name(root.path)} (paths of group {group.name})"


def _is_there(path: bytes) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass  # something is, or is not to be known
    return True


def is_changed(old: Config, new: Config, name: str) -> bool:
    """Whether a group that both have runs in another way under the new one."""

    def manner(config: Config) -> object:
        group = config.group(name)
        sinks = [config.sink(sink) for sink in group.sinks]
        return group, sinks, config.capture, config.state, config.events

    return manner(old) != manner(new)


def sinks_to_end(old: Config, new: Config, before: WatchGroup, after: WatchGroup) -> list[str]:
    """Sinks of a group whose connections end: they are gone, or configured in another way."""
    return [name for name in before.sinks if name not in after.sinks or _relayed(old, new, before, name)]


def _relayed(old: Config, new: Config, group: WatchGroup, sink: str) -> bool:
    contexts = [context_of(config, group.name, sink) for config in (old, new)]
    return old.sink(sink) != new.sink(sink) or contexts[0] != contexts[1]


def subject_of(config: Config, group: WatchGroup) -> str:
    """
    What the stream of a group is about and whom it is for, as it is kept with an epoch: see `goes_on`.

    Destinations are digests, without credentials, and what stands at its default is left out: an option that
    a later release adds changes nothing.
    """
    identity = identity_of(config.events.source_of(group.name), group)
    events = config.events.model_dump(exclude={"content_mode", "host", "source"}, exclude_defaults=True)
    stream = identity, events, group.recursive, group.one_file_system, group.snapshot
    sinks = {name: _digest(_destination(config.sink(name))) for name in group.sinks}
    return json.dumps({"stream": _digest(stream), "kinds": sorted(group.kinds), "sinks": sinks})


def goes_on(before: str, after: str) -> bool:
    """
    Whether the stream of a group can go on in its epoch, by its subjects before and after.

    It cannot where what it is about has changed, where a sink has to be given all of it, or where it promises
    more than before. What only enters or leaves is published by a resync.
    """
    old, new = json.loads(before), json.loads(after)
    return bool(
        old["stream"] == new["stream"]
        and new["sinks"].items() <= old["sinks"].items()
        and not (set(new["kinds"]) - set(old["kinds"])) & _TOLD_FROM_THEN_ON
    )


def _destination(entry: SinkEntry) -> tuple[str, dict[str, Any]]:
    options: dict[str, Any] = entry.options.model_dump(exclude_defaults=True)
    return entry.type, {key: value for key, value in options.items() if not _CREDENTIAL.search(key)}


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
