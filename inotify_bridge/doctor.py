"""
What stands in the way on this machine: limits against the watches needed, permissions, blind file systems,
the state directory, the clock. Changes nothing; every finding that is not ok says what to change.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, Literal, NamedTuple

import inotify_bridge
from inotify_bridge.capture.filesystem import KernelFileSystem
from inotify_bridge.capture.filters import Filters
from inotify_bridge.capture.inotify import Inotify
from inotify_bridge.config import Config, RootPath, State, WatchGroup
from inotify_bridge.config.rules import why_unreachable, writable_by_others
from inotify_bridge.outbox.directory import not_writable
from inotify_bridge.sinks.registry import inspect as inspect_sink

_SCAN_SECONDS: Final = 2.0  # for the descriptors of other processes
_QUEUE_EVENTS: Final = 16_384  # the kernel's default
_SPARE: Final = 1.25  # a tree grows
_SHOWN: Final = 3
_OF_CONTAINER: Final = re.compile(
    r"[0-9a-f]{12}"
)  # the start of its id: the name that Docker and podman give it


class Finding(NamedTuple):
    """
    One thing that was looked at.

    Args:
        status: ``warning`` works, but not as well as it could; ``failed`` does not.
        subject: what was looked at.
        detail: what was seen.
        advice: what to change, or empty.
    """

    status: Literal["ok", "warning", "failed"]
    subject: str
    detail: str
    advice: str = ""


class Count(NamedTuple):
    """
    The directories of one group.

    Args:
        directories: each needs a watch.
        unreadable: paths that cannot be read, and what lies below was not counted.
        complete: False: there are more; time ran out, or a path was too long.
    """

    directories: int
    unreadable: tuple[bytes, ...]
    complete: bool


class Usage(NamedTuple):
    """
    What all processes of this user hold.

    Args:
        instances, watches: of inotify.
        complete: False: not all processes could be looked at.
    """

    instances: int
    watches: int
    complete: bool


def examine(config: Config | None, seconds: float = 10.0, proc: str = "/proc") -> Iterator[Finding]:
    """
    Look at everything.

    Args:
        config: None: only the machine.
        seconds: longest time for counting directories.
        proc: the proc file system.
    """
    groups = config.watch_groups if config is not None else ()
    counts = []
    for group in groups:
        counts.append(count_directories(group, time.monotonic() + seconds / len(groups)))
        yield from _roots(group)
        yield from _readability(group, counts[-1])
    yield from _limits(counts, usage(proc), proc)
    yield from _instance()
    if config is not None:
        yield from _state(config.state, len(groups))
        yield from _source(config)
        yield from _sinks(config)
    yield from _clock(config.state.dir if config is not None else None)


def count_directories(group: WatchGroup, deadline: float) -> Count:
    """
    Count the directories of a group that need a watch, as its filters leave them.

    Args:
        deadline: on the monotonic clock; then counting stops.
    """
    filters = Filters(group.include, group.exclude)
    total, unreadable, in_time = 0, [], True
    cut = False  # below a path longer than PATH_MAX nothing is counted
    waiting = [(root.path, root.name or b"", _device(root.path, group)) for root in group.roots]
    while waiting and in_time:
        path, name, device = waiting.pop()
        total += 1
        try:
            below = list(_directories(path))
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                cut = True
            elif error.errno not in (errno.ENOENT, errno.ENOTDIR):
                unreadable.append(path)
            continue
        for inner in below if group.recursive else ():
            published = os.path.join(name, inner)
            full = os.path.join(path, inner)
            if filters.admits(published, True) and (device is None or _device(full, group) == device):
                waiting.append((full, published, device))
        in_time = time.monotonic() < deadline
    return Count(total, tuple(unreadable), not (waiting or cut))


def usage(proc: str = "/proc", seconds: float = _SCAN_SECONDS) -> Usage:
    """What this user's processes hold, found in their descriptors within a bounded time."""
    deadline = time.monotonic() + seconds
    instances = watches = 0
    complete = True
    for process in filter(str.isdecimal, os.listdir(proc)):
        if time.monotonic() > deadline:
            return Usage(instances, watches, False)
        try:
            if os.stat(f"{proc}/{process}").st_uid != os.geteuid():
                continue
            held = [_watches(f"{proc}/{process}", fd) for fd in os.listdir(f"{proc}/{process}/fd")]
        except PermissionError:
            complete = False
        except OSError:  # it has ended
            continue
        else:
            inotify = [count for count in held if count is not None]
            instances, watches = instances + len(inotify), watches + sum(inotify)
    return Usage(instances, watches, complete)


def _watches(process: str, fd: str) -> int | None:
    """The number of watches of one descriptor; None: it is no inotify instance."""
    try:
        if os.readlink(f"{process}/fd/{fd}") != "anon_inode:inotify":
            return None
        with open(f"{process}/fdinfo/{fd}", encoding="ascii") as lines:
            return sum(line.startswith("inotify ") for line in lines)
    except OSError:
        return None


def _directories(path: bytes) -> Iterator[bytes]:
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield entry.name


def _device(path: bytes, group: WatchGroup) -> int | None:
    """The device of a path, where the group asks for it."""
    if not group.one_file_system:
        return None
    try:
        return os.lstat(path).st_dev
    except OSError:
        return None


def _roots(group: WatchGroup) -> Iterator[Finding]:
    for root in group.paths:
        subject = f"root {os.fsdecode(root.path)}"
        reason = why_unreachable(root.path)
        if reason is not None:
            yield Finding("failed", subject, *reason)
            continue
        blind = _blind(root)
        if blind:
            poll = f"{group.poll_interval:g} s"
            yield Finding(
                "warning",
                subject,
                f"lies on {blind}, where inotify does not see every change: it is polled every {poll}",
                "run the agent where the files are written, or set poll_interval",
            )
        else:
            yield Finding("ok", subject, "can be read, and inotify sees its changes")


def _blind(root: RootPath) -> str:
    """Name of a file system where inotify does not see every change, or empty."""
    path = root.path if os.path.isdir(root.path) else os.path.dirname(root.path)
    try:
        inotify = Inotify()
    except OSError:  # `_instance` speaks of it
        return ""
    try:
        port = KernelFileSystem(inotify)
        with closing(port.open_root(path)) as door:
            return port.blind(door)
    except OSError:
        return ""
    finally:
        inotify.close()


def _readability(group: WatchGroup, count: Count) -> Iterator[Finding]:
    """Directories below the roots that cannot be read; the roots themselves have findings of their own."""
    roots = {root.path for root in group.paths}
    unreadable = [path for path in count.unreadable if path not in roots]
    if unreadable:
        some = ", ".join(os.fsdecode(path) for path in unreadable[:_SHOWN])
        yield Finding(
            "warning",
            f"group {group.name}",
            f"{len(unreadable)} directories cannot be read: {some}{' …' if len(unreadable) > _SHOWN else ''}",
            "give the agent's user or group read and search permission, or exclude them",
        )


def _limits(counts: list[Count], used: Usage, proc: str) -> Iterator[Finding]:
    directories = sum(count.directories for count in counts)
    least = "" if all(count.complete for count in counts) else "at least "
    held = "" if used.complete else "at least "
    yield from _limit(
        proc, "watches", directories, f"{least}{directories}", used.watches, f"{held}{used.watches}"
    )
    yield from _limit(
        proc, "instances", len(counts), str(len(counts)), used.instances, f"{held}{used.instances}"
    )
    queue = _sysctl(proc, "fs.inotify.max_queued_events")
    if queue is not None and queue < _QUEUE_EVENTS:
        yield Finding(
            "warning",
            "fs.inotify.max_queued_events",
            f"is {queue}: bursts will overflow the kernel's queue, and each overflow costs a resync",
            f"sysctl -w fs.inotify.max_queued_events={_QUEUE_EVENTS}",
        )
    elif queue is not None:
        yield Finding("ok", "fs.inotify.max_queued_events", f"is {queue}")


_BEYOND: Final = {
    "watches": "what is not covered is polled",
    "instances": "without one for each group the agent does not start",
}
"""What follows where there are fewer than are needed."""


def _limit(proc: str, noun: str, need: int, need_text: str, held: int, held_text: str) -> Iterator[Finding]:
    """The limit in force is the smallest of the machine's and the name space's."""
    for name in (f"fs.inotify.max_user_{noun}", f"user.max_inotify_{noun}"):
        limit = _sysctl(proc, name)
        if limit is None:
            continue
        detail = f"is {limit}; needed {need_text}, in use by this user {held_text}"
        if need + held <= limit:
            yield Finding("ok", name, detail)
        else:
            wanted = max(int((need + held) * _SPARE), limit * 2)
            advice = f"sysctl -w {name}={wanted}, and a line in /etc/sysctl.d to keep it"
            yield Finding("failed", name, f"{detail}: {_BEYOND[noun]}", advice)


def _sysctl(proc: str, name: str) -> int | None:
    """A kernel setting, or None where this kernel has none of that name."""
    try:
        with open(f"{proc}/sys/{name.replace('.', '/')}", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _instance() -> Iterator[Finding]:
    try:
        Inotify().close()
    except OSError as error:
        yield Finding(
            "failed", "inotify", f"no instance can be made: {error.strerror}", "see the limits above"
        )
    else:
        yield Finding("ok", "inotify", "an instance can be made")


def _state(state: State, groups: int) -> Iterator[Finding]:
    if state.dir is None:
        yield Finding(
            "warning",
            "state directory",
            "none: the state is in memory, and each start publishes a new snapshot",
            "set state.dir",
        )
        return
    subject = f"state directory {os.fsdecode(state.dir)}"
    place = state.dir
    while not os.path.exists(place):
        place = os.path.dirname(place)
    if place == state.dir and os.path.isdir(place) and (refused := not_writable(Path(os.fsdecode(place)))):
        yield Finding(
            "failed", subject, f"{os.fsdecode(place)} cannot be written: {refused.said}", refused.do
        )
        return
    if not os.path.isdir(place) or not os.access(place, os.W_OK | os.X_OK):
        yield Finding(
            "failed", subject, f"{os.fsdecode(place)} cannot be written", "give it to the agent's user"
        )
        return
    if locked := _not_to_be_opened(state.dir):
        yield Finding(
            "failed", subject, f"{locked} cannot be opened", "give it to the agent's user, mode 0600"
        )
        return
    if writable_by_others(state.dir):
        yield Finding("warning", subject, "can be written by other users", "chmod go-w")
    blind = _blind(RootPath(path=place))
    if blind:
        yield Finding(
            "failed", subject, f"lies on {blind}: SQLite needs a local disk", "put it on a local disk"
        )
        return
    space = os.statvfs(place)
    free, wanted = space.f_bavail * space.f_frsize, state.max_bytes * groups
    detail = f"local, can be written, {free >> 20} MiB free of {wanted >> 20} MiB that it may take"
    if free < wanted:
        yield Finding("warning", subject, detail, "lower state.max_bytes or make room")
    else:
        yield Finding("ok", subject, detail)


def _not_to_be_opened(directory: bytes) -> str:
    """A file of the state that this user may not read and write, or empty."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return ""
    for name in names:
        path = os.path.join(directory, name)
        ours = name.endswith((b".db", b".note"))
        if ours and (not os.path.isfile(path) or not os.access(path, os.R_OK | os.W_OK)):
            return os.fsdecode(path)
    return ""


def _source(config: Config) -> Iterator[Finding]:
    """The name of a container is another one each time it is made anew, and another source a new epoch."""
    machine, events = socket.gethostname(), config.events
    if events.host or "{host}" not in events.source or not _OF_CONTAINER.fullmatch(machine):
        return
    detail = f"events come from {machine}, a container's name: the next container is another source"
    yield Finding("warning", "source", detail, "set events.host, or the container's host name")


def _sinks(config: Config) -> Iterator[Finding]:
    for entry in config.sinks:
        lack = inspect_sink(entry.type, entry.options)
        if lack is not None:
            yield Finding("failed", f"sink {entry.name}", lack.message, lack.hint)


def _clock(directory: bytes | None) -> Iterator[Finding]:
    """Epochs and the times of events come from the wall clock: one that was set back shows against files."""
    now = time.time()
    if now < os.stat(inotify_bridge.__file__).st_mtime:
        yield Finding("failed", "clock", "is earlier than the installation of this program", "set the clock")
        return
    newest = _newest(directory) if directory is not None else 0.0
    if newest > now:
        ahead = newest - now
        yield Finding(
            "warning",
            "clock",
            f"the state directory was written {ahead:.0f} s in the future",
            "set the clock",
        )
        return
    yield Finding("ok", "clock", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))


def _newest(directory: bytes) -> float:
    try:
        with os.scandir(directory) as entries:
            return max((entry.stat(follow_symlinks=False).st_mtime for entry in entries), default=0.0)
    except OSError:
        return 0.0
