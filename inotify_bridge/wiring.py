"""
What the configuration means to the parts of a watch group: roots, options, words of the stream.

Nothing here runs or keeps anything.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Mapping, Sequence

from inotify_bridge import __version__
from inotify_bridge.books import Stream
from inotify_bridge.capture.filters import Filters
from inotify_bridge.capture.inotify import Inotify
from inotify_bridge.capture.reconciler import Options, Root
from inotify_bridge.config.model import Config, RootPath, WatchGroup
from inotify_bridge.errors import UnavailableError
from inotify_bridge.events.names import encode as encode_name
from inotify_bridge.lines.options import Options as LineOptions
from inotify_bridge.sinks.base import SinkContext


def identity_of(source: str, config: WatchGroup) -> str:
    """What an epoch is minted for: another source, or other roots, begin a new one."""
    roots = (f"{encode_name(root.name or b'')}={encode_name(root.path)}" for root in config.roots)
    return "\n".join((source, *roots))


def options_of(whole: Config, config: WatchGroup) -> Options:
    """How a group watches."""
    return Options(
        kinds=config.kinds,
        recursive=config.recursive,
        one_file_system=config.one_file_system,
        filters=Filters(config.include, config.exclude),
        poll_interval=config.poll_interval,
        resync_interval=config.resync_interval,
        settle=config.ready.settle,
        snapshot=config.snapshot == "initial",
        whole_moves=whole.events.partition_by == "group",
        writes=config.lines is not None and "modified" in config.lines.on,
    )


def lines_of(config: WatchGroup) -> LineOptions | None:
    """How its logs are followed, where they are."""
    return None if config.lines is None else config.lines.options()


def stream_of(whole: Config, config: WatchGroup) -> Stream:
    """What its stream is called, and says of itself at the start."""
    events, replicable = whole.events, whole.replicable(config)
    roots = {
        encode_name(_stream_name(root)): encode_name(os.path.abspath(root.path)) for root in config.roots
    }
    started: Mapping[str, object] = {
        "version": __version__,
        "roots": roots,
        "kinds": sorted(config.kinds),
        "replicable": replicable,
    }
    return Stream(
        group=config.name,
        source=events.source_of(config.name),
        type_prefix=events.type_prefix,
        partition_by=events.partition_by,
        replicable=replicable,
        started=started,
        retain=whole.state.retain,
        heartbeat=config.heartbeat,
    )


def context_of(config: Config, group: str, sink: str) -> SinkContext:
    """What a sink is told about the pair it serves."""
    return SinkContext(
        name=sink,
        group=group,
        source=config.events.source_of(group),
        content_mode=config.events.content_mode,
        partition_by=config.events.partition_by,
        client_id=f"inotify-bridge-{group}-{sink}",
    )


def roots_of(config: WatchGroup) -> Sequence[Root]:
    """
    The directories to watch: a root that is a file is its name in its directory.

    A path that is not there yet is taken for a directory until it is found to be a file.
    """
    roots: list[Root] = []
    files: dict[bytes, dict[bytes, bytes]] = {}
    for root in config.roots:
        if _is_file(root.path):
            directory, _, base = root.path.rpartition(b"/")
            files.setdefault(directory or b"/", {})[base] = root.name or base
        else:
            roots.append(Root(root.path, root.name or b""))
    roots.extend(Root(path, b"", only) for path, only in files.items())
    return roots


def _stream_name(root: RootPath) -> bytes:
    """What a root's paths begin with; of a file it is its whole path in the stream."""
    return root.name or (os.path.basename(root.path) if _is_file(root.path) else b"")


def _is_file(path: bytes) -> bool:
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False


def instance() -> Inotify:
    """An inotify instance. Raises: UnavailableError, none is to be had."""
    try:
        return Inotify()
    except OSError as error:
        raise UnavailableError(
            f"no inotify instance is to be had: {error.strerror}",
            "raise fs.inotify.max_user_instances with sysctl, or run under a user of its own",
        ) from error


def cpu_seconds(thread: threading.Thread) -> float:
    """CPU time that a thread has used; 0 where it does not run."""
    if thread.ident is None or not thread.is_alive():
        return 0.0
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
