"""
What no single field can see, and what is worth a note though it is allowed.

The rules look at those parts that are valid by themselves, so that a file with a broken group still hears
about the rest.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from inotify_bridge.capture.filters import Filters
from inotify_bridge.config.problems import Place, nearest
from inotify_bridge.outbox.directory import not_writable
from inotify_bridge.sinks.base import Selective, TakenFields
from inotify_bridge.sinks.registry import inspect as inspect_sink

if TYPE_CHECKING:
    from inotify_bridge.config.model import Config, Events, SinkEntry, State, WatchGroup

Violation: TypeAlias = tuple[Place, str, str]
"""Place, reason, suggestion."""


class Parts(NamedTuple):
    """
    What of a configuration is valid by itself.

    Args:
        groups, sinks: by their index in the list.
        group_names, sink_names: also of entries that are invalid otherwise.
        wanted: the names of sinks that groups refer to, likewise.
        state, events: None where invalid.
    """

    groups: Mapping[int, WatchGroup]
    sinks: Mapping[int, SinkEntry]
    group_names: Mapping[int, str]
    sink_names: Mapping[int, str]
    wanted: Mapping[int, Sequence[str]]
    state: State | None
    events: Events | None

    @classmethod
    def of(cls, config: Config) -> Parts:
        """All parts of a valid tree."""
        return cls(
            groups=dict(enumerate(config.watch_groups)),
            sinks=dict(enumerate(config.sinks)),
            group_names={index: group.name for index, group in enumerate(config.watch_groups)},
            sink_names={index: sink.name for index, sink in enumerate(config.sinks)},
            wanted={index: group.sinks for index, group in enumerate(config.watch_groups)},
            state=config.state,
            events=config.events,
        )


def violations(parts: Parts) -> Iterator[Violation]:
    """Everything that is wrong between the parts. Looks at the disk only to follow symbolic links."""
    yield from _repeated("watch_groups", "group", parts.group_names)
    yield from _repeated("sinks", "sink", parts.sink_names)
    yield from _unknown_sinks(parts)
    for index, group in parts.groups.items():
        yield from _roots(index, group)
    yield from _state_inside(parts)
    yield from _journal_inside(parts)
    yield from _one_source(parts)
    yield from _fields(parts)


def unreachable(parts: Parts) -> Iterator[Violation]:
    """
    What cannot be used as things stand now: roots and sinks, for which a running agent would wait, and a
    state directory, without which none starts. One that is not there yet will be made.
    """
    if parts.state is not None and parts.state.dir is not None and os.path.isdir(parts.state.dir):
        refused = not_writable(Path(os.fsdecode(parts.state.dir)))
        if refused is not None:
            yield ("state", "dir"), f"cannot be written by this user: {refused.said}", refused.do
    for index, group in parts.groups.items():
        for position, root in enumerate(group.paths):
            reason = why_unreachable(root.path)
            if reason:
                yield ("watch_groups", index, "paths", position), *reason
    for index, entry in parts.sinks.items():
        lack = inspect_sink(entry.type, entry.options)
        if lack is not None:
            yield ("sinks", index), lack.message, lack.hint


def notes(config: Config) -> Iterator[str]:
    """What is allowed, but may surprise."""
    for group in config.watch_groups:
        obstacles = config.obstacles(group)
        if obstacles:
            yield f"group '{group.name}' is a notification stream, not replicable: {', '.join(obstacles)}"
        if "ready" in group.model_fields_set and "ready" not in group.kinds:
            yield f"group '{group.name}': ready has no effect without the kind 'ready'"
        yield from _linked_logs(group)
    used = {name for group in config.watch_groups for name in group.sinks}
    for sink in config.sinks:
        if sink.name not in used:
            yield f"sink '{sink.name}' is used by no group"
    yield from _left_out(config)
    if not (config.http.loopback or config.http.admin_token or config.http.admin_token_file):
        yield "http.listen is open to the network: without a token only /metrics and the probes answer"
    if config.state.dir is None:
        yield "without state.dir the state is in memory: each start is a new epoch with a new snapshot"
    elif writable_by_others(config.state.dir):
        yield f"state.dir {os.fsdecode(config.state.dir)} can be written by other users: chmod go-w"


def _linked_logs(group: WatchGroup) -> Iterator[str]:
    """Files to follow that are links: nothing would ever be read."""
    for root in group.roots if group.lines is not None else ():
        if os.path.islink(root.path) and os.path.isfile(root.path):
            path, target = os.fsdecode(root.path), os.fsdecode(os.path.realpath(root.path))
            yield f"group '{group.name}': {path} is a symbolic link, which is not followed: name {target}"


def writable_by_others(directory: bytes) -> bool:
    """Whether other users can put files of theirs in place of ours."""
    try:
        return bool(os.stat(directory).st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    except OSError:
        return False


def _repeated(section: str, noun: str, names: Mapping[int, str]) -> Iterator[Violation]:
    first: dict[str, int] = {}
    for index, name in names.items():
        if first.setdefault(name, index) != index:
            yield (
                (section, index, "name"),
                f"is the name of another {noun} too",
                f"see {section}[{first[name]}]",
            )


def _unknown_sinks(parts: Parts) -> Iterator[Violation]:
    known = set(parts.sink_names.values())
    for index, names in parts.wanted.items():
        for position, name in enumerate(names):
            place = ("watch_groups", index, "sinks", position)
            if name not in known:
                yield place, "is no configured sink", nearest(name, known)
            elif name in names[:position]:
                yield place, "stands twice", "name each sink once"


def _roots(index: int, group: WatchGroup) -> Iterator[Violation]:
    seen: list[tuple[bytes, bytes | None]] = []
    for position, root in enumerate(group.roots):
        place = ("watch_groups", index, "paths", position)
        real = os.path.realpath(root.path)
        for other, name in seen:
            if _inside(real, other) or _inside(other, real):
                yield place, f"and {os.fsdecode(other)} overlap", "use one root, or two groups"
            elif name == root.name:
                yield (
                    place,
                    "has the same name as another root of the group",
                    "give one of them a name with `as`",
                )
        seen.append((real, root.name))


def _state_inside(parts: Parts) -> Iterator[Violation]:
    if parts.state is None or parts.state.dir is None:
        return
    directory = os.path.realpath(parts.state.dir)
    for group in parts.groups.values():
        if any(_inside(directory, os.path.realpath(root.path)) for root in group.paths):
            yield (
                ("state", "dir"),
                f"lies inside a root of group '{group.name}': the agent would watch itself",
                "put it elsewhere",
            )


def _journal_inside(parts: Parts) -> Iterator[Violation]:
    """A file sink below a root that feeds it makes events of its own events, for ever."""
    for position, sink in parts.sinks.items():
        path = getattr(sink.options, "path", None)
        if not isinstance(path, str | bytes | os.PathLike):
            continue
        place = ("sinks", position, "path" if "path" in type(sink.options).model_fields else "url")
        try:
            real = os.path.realpath(os.fsencode(path))
        except FileNotFoundError:
            yield place, "is relative, and the current directory has been deleted", "name an absolute path"
            continue
        for group in parts.groups.values():
            if sink.name in group.sinks and any(_watches(group, root.path, real) for root in group.paths):
                yield (
                    place,
                    f"lies inside a root of group '{group.name}', which writes to it: no end of events",
                    "put it elsewhere, or exclude it",
                )


def _watches(group: WatchGroup, root: bytes, file: bytes) -> bool:
    top = os.path.realpath(root)
    if not _inside(file, top):
        return False
    below = file[len(top) :].lstrip(b"/")
    if not group.recursive and b"/" in below:
        return False
    named = next((entry.name for entry in group.roots if entry.path == root), None)
    path = below if named is None else b"/".join(filter(None, (named, below)))
    return Filters(group.include, group.exclude).admits(path, False)


def _one_source(parts: Parts) -> Iterator[Violation]:
    if parts.events is not None and len(parts.group_names) > 1 and "{group}" not in parts.events.source:
        yield (
            ("events", "source"),
            "is the same for all groups, but numbers events of each",
            "put {group} into it",
        )


def _fields(parts: Parts) -> Iterator[Violation]:
    """What a sink takes of log entries by name must come from the pattern of some group that uses it."""
    for position, sink in parts.sinks.items():
        taken = _taken(sink)
        users = [index for index, names in parts.wanted.items() if sink.name in names]
        groups = [parts.groups[index] for index in users if index in parts.groups]
        found = [group.lines.extracted() for group in groups if group.lines is not None]
        # Of a group that is wrong otherwise nobody knows the fields.
        if taken is None or not found or None in found or len(groups) < len(users):
            continue
        known = {name for fields in found for name in fields or ()}
        for place, name in taken.named.items():
            if name not in known:
                yield (
                    ("sinks", position, *place),
                    f"takes the field '{name}', which no pattern of a group that uses this sink extracts",
                    nearest(name, known),
                )


def _left_out(config: Config) -> Iterator[str]:
    """What patterns extract and sinks do not keep."""
    for group in config.watch_groups:
        if group.lines is None:
            continue
        named = group.lines.named_groups()
        for sink in map(config.sink, group.sinks):
            taken = _taken(sink)
            if taken is None and isinstance(sink.options, Selective):
                yield f"group '{group.name}': sink '{sink.name}' keeps none of its log entries"
            elif taken is not None and not taken.all and not named <= set(taken.named.values()):
                fields = ", ".join(sorted(named - set(taken.named.values())))
                yield f"group '{group.name}': sink '{sink.name}' has no column for {fields}"


def _taken(sink: SinkEntry) -> TakenFields | None:
    return sink.options.log_fields() if isinstance(sink.options, Selective) else None


def why_unreachable(path: bytes) -> tuple[str, str] | None:
    """Why a root cannot be watched as things stand now, as (reason, suggestion); None: it can."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        hint = "make it first" if isinstance(error, FileNotFoundError) else ""
        return f"cannot be reached: {os.strerror(error.errno or 0)}", hint
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        return "is neither a directory nor a regular file", "watch the directory that holds it"
    needed = os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)
    if not os.access(path, needed):
        return "cannot be read", "inotify needs read permission, and search permission on the way"
    return None


def _inside(path: bytes, top: bytes) -> bool:
    return path == top or path.startswith(top.rstrip(b"/") + b"/")
