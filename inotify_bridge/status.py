"""The agent as the HTTP server shows it: figures, probes, and what is wrong in words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path

from inotify_bridge import __version__
from inotify_bridge.capture.tree import Root
from inotify_bridge.config.model import Config, SinkEntry
from inotify_bridge.events.names import encode as encode_name
from inotify_bridge.group import Group
from inotify_bridge.outbox.relay import RelayStatus
from inotify_bridge.web.view import (
    AgentStatus,
    GroupState,
    GroupStatus,
    OutboxStatus,
    ReloadStatus,
    ResyncStatus,
    RootState,
    RootStatus,
    SinkStatus,
    UncoveredStatus,
)

SILENT_SECONDS = 5.0
"""How long a sink may say nothing before that is told: a broker at work takes a fraction of it."""

_UNCOVERED_SHOWN = 100
_PARKED_SHARE = 0.5


class StatusView:
    """
    Fulfils `web.view.AgentView`. Reads the figures of running threads without stopping them.

    Args:
        groups: those that run, by name; changed by the agent.
        config: the configuration in force.
        path: of the configuration file.
    """

    def __init__(self, groups: Mapping[str, Group], config: Callable[[], Config], path: Path | None) -> None:
        self._running = groups
        self._config = config
        self._path = path
        self._started_at = time.time()
        self._loaded_at = self._started_at
        self._reload: ReloadStatus | None = None
        self._start_over = False

    def reloaded(self, error: str | None) -> None:
        """Note a reload that succeeded, or why it did not."""
        now = time.time()
        self._reload = {"at": timestamp(now), "ok": error is None, "error": error}
        if error is None:
            self._loaded_at = now

    # -- probes

    def live(self) -> list[str]:
        """See `web.view.AgentView`."""
        return [problem for group in self._groups() for problem in group.hanging()]

    def ready(self) -> list[str]:
        """See `web.view.AgentView`."""
        return [
            f"group {group.config.name}: the first snapshot is not recorded yet"
            for group in self._groups()
            if not group.started or not group.recorder.snapshot_done.is_set()
        ] or self._none_yet()

    def started(self) -> list[str]:
        """See `web.view.AgentView`. Once it was said, it stays so: a reload is no start."""
        if not self._start_over:
            waiting = [
                f"group {group.config.name}: not every directory is watched or polled yet"
                for group in self._groups()
                if not group.started or not group.recorder.snapshot_done.is_set()
            ] or self._none_yet()
            self._start_over = not waiting
            return waiting
        return []

    def _none_yet(self) -> list[str]:
        return [] if len(self._groups()) == len(self._config().watch_groups) else ["starting"]

    def _groups(self) -> list[Group]:
        return list(self._running.values())

    # -- status

    def status(self) -> AgentStatus:
        """See `web.view.AgentView`."""
        return {
            "version": __version__,
            "started_at": timestamp(self._started_at),
            "uptime_seconds": round(time.time() - self._started_at, 3),
            "config": {
                "path": str(self._path) if self._path is not None else None,
                "loaded_at": timestamp(self._loaded_at),
                "last_reload": self._reload,
            },
            "groups": [self._group(group) for group in self._groups() if group.started],
            "problems": self._problems(),
        }

    def _problems(self) -> list[str]:
        if self._reload is not None and not self._reload["ok"]:
            return [
                f"the last reload was refused, the old configuration is in force: {self._reload['error']}"
            ]
        return []

    def _group(self, group: Group) -> GroupStatus:
        reconciler = group.recorder.reconciler
        uncovered: list[UncoveredStatus] = [
            {"path": encode_name(path), "error": error}
            for path, error in islice(_steady(reconciler.uncovered), _UNCOVERED_SHOWN)
        ]
        end = group.store.end
        return {
            "name": group.config.name,
            "source": group.source,
            "epoch": end.epoch,
            "sequence": end.sequence,
            "state": _state(group),
            "consistent": reconciler.consistent
            and group.recorder.snapshot_done.is_set()
            and not group.recorder.books.trouble,
            "roots": _roots(group),
            "watches": reconciler.watches,
            "uncovered_count": reconciler.uncovered_count,
            "uncovered": uncovered,
            "resync": _resync(group),
            "outbox": self._outbox(group),
            "sinks": [self._sink(group, name, relay.status) for name, relay in group.relays.items()],
            "problems": _words(group),
        }

    @staticmethod
    def _outbox(group: Group) -> OutboxStatus:
        recorder = group.recorder
        return {
            "events": recorder.books.lag(),
            "bytes": group.store.live_bytes,
            "limit_bytes": group.store.max_bytes,
            "oldest_age_seconds": round(recorder.books.oldest_age(), 3),
            "blocked": recorder.books.blocked,
        }

    def _sink(self, group: Group, name: str, relay: RelayStatus) -> SinkStatus:
        entry: SinkEntry = group.whole.sink(name)
        return {
            "name": name,
            "type": entry.type,
            "connected": relay.connected,
            "since": timestamp(relay.error_since or self._started_at),
            "acked_sequence": relay.position.sequence,
            "lag_events": group.lag(name),
            "parked": group.recorder.desk.parked_count.get(name, 0),
            "last_error": relay.error or None,
            "insecure": bool(getattr(entry.options, "is_insecure", False)),
        }


def timestamp(seconds: float) -> str:
    """Unix seconds as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _steady(uncovered: Callable[[], Iterable[tuple[bytes, str]]]) -> list[tuple[bytes, str]]:
    """The recorder may change the set while it is read: try again rather than stop it."""
    for _ in range(5):
        try:
            return list(uncovered())
        except RuntimeError:
            continue
    return []


def _state(group: Group) -> GroupState:
    if group.failure:
        return "failed"
    if group.stopping:
        return "stopping"
    if not group.recorder.alive:
        return "restarting"
    if group.recorder.books.blocked or group.recorder.books.trouble:
        return "blocked"
    return "running" if group.recorder.snapshot_done.is_set() else "starting"


def _roots(group: Group) -> list[RootStatus]:
    states: list[RootStatus] = []
    for root in group.recorder.reconciler.tree_roots:
        state: RootState = "covered"
        if root in _lost(group):
            state = "lost"
        elif not (group.recorder.alive and group.recorder.snapshot_done.is_set()):
            state = "starting"
        elif group.recorder.reconciler.uncovered_count:
            state = "degraded"
        states.append({"path": encode_name(root.place), "name": encode_name(root.name), "state": state})
    return states


def _lost(group: Group) -> list[Root]:
    """Roots that are; a recorder that does not run has not looked yet, or no more."""
    return [root for root in group.recorder.reconciler.tree_roots if root.lost and group.recorder.alive]


def _resync(group: Group) -> ResyncStatus:
    last = group.recorder.last_resync
    return {
        "running": group.recorder.reconciler.resyncing,
        "last": None
        if last is None
        else {
            "reason": last[0],
            "completed_at": timestamp(last[1]),
            "entries": last[2],
            "duration_seconds": last[3],
        },
    }


def _words(group: Group) -> list[str]:
    """What is wrong, and what to do about it."""
    words = list(group.hanging())
    if group.trouble is not None and not words:
        words.append(f"the group does not run, it is being restarted: {group.trouble}")
    reconciler = group.recorder.reconciler
    still = time.monotonic() - group.recorder.turned_at
    if still > SILENT_SECONDS and group.recorder.alive and not words:
        words.append(
            f"nothing was recorded for {still:.0f} s, one step takes that long: does the disk of the state "
            "directory answer?"
        )
    words.extend(
        f"root {encode_name(root.place)} is lost: mount it or make it again; nothing is taken for deleted"
        for root in _lost(group)
    )
    if count := reconciler.uncovered_count:
        words.append(
            f"{count} directories are polled, not watched: `inotify-bridge doctor` says which limit to raise"
        )
    if count := group.recorder.unreadable_logs:
        words.append(
            f"{count} log files cannot be read, the log of the agent says which and why; tried again"
        )
    if group.recorder.books.blocked:
        words.append("the journal is full: reading waits until the slowest sink takes messages")
    parked, limit = group.store.parked_bytes, group.store.max_bytes
    if parked > limit * _PARKED_SHARE:
        words.append(
            f"parked messages take {parked} of {limit} bytes (state.max_bytes), and nothing goes to a sink "
            "that refuses one more: `inotify-bridge parked list`, then `parked retry` or `parked drop`"
        )
    if group.recorder.books.trouble:
        words.append(group.recorder.books.trouble)
    words.extend(group.recorder.books.unwritten)
    words.extend(
        f"sink {name} could not be asked since the start what it holds: if the state directory was put back "
        "from a backup, begin a new epoch (`inotify-bridge state new-epoch`)"
        for name in group.not_compared
    )
    for name, relay in group.relays.items():
        if said := relay.status.error or _silent(relay.status, group.lag(name)):
            words.append(f"sink {name}: {said}")
    return words


def _silent(relay: RelayStatus, lag: int) -> str:
    """That a sink has not answered for a while, long before it counts as a failure; empty: it has."""
    seconds = 0.0 if relay.asked_at is None else time.monotonic() - relay.asked_at
    if seconds < SILENT_SECONDS:
        return ""
    if relay.inflight:
        return f"{relay.inflight} messages were sent and are not confirmed for {seconds:.0f} s; {lag} wait"
    return f"it does not answer to the connection for {seconds:.0f} s; {lag} messages wait"
