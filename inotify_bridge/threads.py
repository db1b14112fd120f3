"""The threads of a watch group, with what they use: what is built anew at a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from inotify_bridge.capture.filesystem import KernelFileSystem
from inotify_bridge.capture.inotify import Inotify
from inotify_bridge.capture.notifier import Inbox, Notifier
from inotify_bridge.capture.reconciler import Reconciler
from inotify_bridge.config.model import Config, WatchGroup
from inotify_bridge.lines.follower import Follower
from inotify_bridge.metrics import GroupMetrics, Metrics
from inotify_bridge.outbox.store import Store
from inotify_bridge.recorder import Recorder
from inotify_bridge.sinks.base import Message
from inotify_bridge.wiring import cpu_seconds, instance, lines_of, options_of, roots_of, stream_of

JOIN_SECONDS: Final = 5.0
"""How long a thread is waited for."""

_GLANCE: Final = 0.05


class Threads(NamedTuple):
    """Neither is started by being made."""

    inotify: Inotify
    notifier: Notifier
    recorder: Recorder

    def stop_reading(self, deadline: float) -> None:
        """
        What happened until now is read, as far as `deadline` in monotonic seconds allows; the notifier ends.
        """
        if self.notifier.alive:
            barrier, end = self.notifier.barrier(), min(deadline, time.monotonic() + JOIN_SECONDS)
            # A recorder that was interrupted passes none.
            while self.recorder.alive and time.monotonic() < end and not barrier.passed.wait(_GLANCE):
                pass
        self.notifier.stop(JOIN_SECONDS)


def build_threads(
    whole: Config,
    config: WatchGroup,
    store: Store,
    all_metrics: Metrics,
    snapshot_done: threading.Event,
    committed: Callable[[str, list[Message]], None],
    died: Callable[[str, BaseException], None],
) -> Threads:
    """
    An inotify instance, and the threads of a group on it. The arguments are those of `Recorder` and `Group`.

    Raises:
        StoreError: the index cannot be read.
        UnavailableError: no inotify instance is to be had.
    """
    inotify = instance()
    try:
        metrics = all_metrics.group(config.name)
        inbox = Inbox(whole.capture.queue_max_bytes)
        notifier = Notifier(inotify, inbox, f"notifier-{config.name}", lambda error: died("notifier", error))
        reconciler = Reconciler(
            KernelFileSystem(inotify),
            store,
            roots_of(config),
            options_of(whole, config),
            volumes=store.volumes(),
        )
        logs = _follower(config, reconciler, store)
        recorder = Recorder(
            stream_of(whole, config),
            inbox,
            reconciler,
            store,
            metrics,
            {name: all_metrics.relay(config.name, name) for name in config.sinks},
            notifier.caught_up,
            snapshot_done,
            committed,
            lambda error: died("recorder", error),
            logs,
        )
        metrics.limits(whole.state.max_bytes, whole.capture.queue_max_bytes)
        _follow(metrics, inotify, inbox, notifier, recorder, logs)
        return Threads(inotify, notifier, recorder)
    except BaseException:
        inotify.close()
        raise


def _follower(config: WatchGroup, reconciler: Reconciler, store: Store) -> Follower | None:
    options = lines_of(config)
    return None if options is None else Follower(reconciler.places, options, store.followed(), config.name)


def _follow(
    metrics: GroupMetrics,
    inotify: Inotify,
    inbox: Inbox,
    notifier: Notifier,
    recorder: Recorder,
    logs: Follower | None,
) -> None:
    metrics.follow(
        kernel_queue_bytes=inotify.pending,
        capture_queue_bytes=lambda: inbox.bytes,
        notifier_cpu_seconds=lambda: cpu_seconds(notifier.thread),
        recorder_cpu_seconds=lambda: cpu_seconds(recorder.thread),
        notifier_last_loop_timestamp_seconds=lambda: _wall(notifier.turned_at),
        recorder_last_loop_timestamp_seconds=lambda: _wall(recorder.turned_at),
        roots_lost=lambda: sum(root.lost for root in recorder.reconciler.tree_roots),
    )
    if logs is not None:
        metrics.follow_logs(lambda: logs.files, lambda: logs.lag)


def _wall(monotonic: float) -> float:
    """The Unix time of a moment of `time.monotonic`."""
    return time.time() - (time.monotonic() - monotonic)
