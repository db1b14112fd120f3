"""The agent as the HTTP server shows it: figures, probes, and what is wrong in words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from inotify_bridge import __version__
from inotify_bridge.config.model import Config, SinkEntry
from inotify_bridge.events.names import encode as encode_name
from inotify_bridge.findings import Finding, findings, lost_roots, refused_reload
from inotify_bridge.group import Group
from inotify_bridge.outbox.relay import RelayStatus
from inotify_bridge.sinks.base import Message
from inotify_bridge.web.view import (
    AgentStatus,
    FindingStatus,
    GroupState,
    GroupStatus,
    LogsStatus,
    OutboxStatus,
    RecentEvent,
    ReloadStatus,
    ResyncStatus,
    RootState,
    RootStatus,
    SinkStatus,
    UncoveredStatus,
)

_UNCOVERED_SHOWN = 100


class StatusView:
    """
    Fulfils `web.view.AgentView`. Reads the figures of running threads without stopping them.

    Args:
        groups: those that run, by name; changed by the agent.
        config: the configuration in force.
        path: of the configuration file.
        recent: the last messages that a group has recorded, the oldest first.
        watch_limit: how many watches this user may hold; raises OSError or ValueError where none knows.
    """

    def __init__(
        self,
        groups: Mapping[str, Group],
        config: Callable[[], Config],
        path: Path | None,
        recent: Callable[[str], Sequence[Message]],
        watch_limit: Callable[[], float],
    ) -> None:
        self._running = groups
        self._config = config
        self._path = path
        self._recent = recent
        self._watch_limit = watch_limit
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
        found = self._findings()
        return {
            "version": __version__,
            "started_at": timestamp(self._started_at),
            "uptime_seconds": round(time.time() - self._started_at, 3),
            "config": {
                "path": str(self._path) if self._path is not None else None,
                "loaded_at": timestamp(self._loaded_at),
                "last_reload": self._reload,
            },
            "watches_limit": self._limit(),
            "groups": [self._group(group) for group in self._groups() if group.started],
            "problems": [finding.words for finding in found],
            "findings": [_shown(finding) for finding in found],
        }

    def _findings(self) -> list[Finding]:
        if self._reload is not None and not self._reload["ok"]:
            return [refused_reload(self._reload["error"] or "")]
        return []

    def _limit(self) -> int | None:
        try:
            return int(self._watch_limit())
        except (OSError, ValueError):
            return None

    def _group(self, group: Group) -> GroupStatus:
        reconciler = group.recorder.reconciler
        uncovered: list[UncoveredStatus] = [
            {"path": encode_name(path), "error": error}
            for path, error in islice(_steady(reconciler.uncovered), _UNCOVERED_SHOWN)
        ]
        end, found = group.store.end, findings(group)
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
            "logs": _logs(group),
            "recent": [_event(message) for message in reversed(self._recent(group.config.name))],
            "problems": [finding.words for finding in found],
            "findings": [_shown(finding) for finding in found],
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
            "since": timestamp(relay.since or self._started_at),
            "acked_sequence": relay.position.sequence,
            "lag_events": group.lag(name),
            "parked": group.recorder.desk.parked_count.get(name, 0),
            "last_error": relay.error or None,
            "error_since": timestamp(relay.error_since) if relay.error_since else None,
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
    lost = lost_roots(group)
    for root in group.recorder.reconciler.tree_roots:
        state: RootState = "covered"
        if root in lost:
            state = "lost"
        elif not (group.recorder.alive and group.recorder.snapshot_done.is_set()):
            state = "starting"
        elif group.recorder.reconciler.uncovered_count:
            state = "degraded"
        states.append({"path": encode_name(root.place), "name": encode_name(root.name), "state": state})
    return states


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


def _logs(group: Group) -> LogsStatus | None:
    logs = group.recorder.logs
    return (
        None if logs is None else {"files": logs.files, "lag_bytes": logs.lag, "unreadable": logs.unreadable}
    )


def _event(message: Message) -> RecentEvent:
    """Of the bodies only the path is needed, and only of the few that are shown."""
    body = json.loads(message.body)
    return {
        "sequence": message.sequence,
        "time": body["time"],
        "type": message.kind,
        "path": body.get("subject"),
        "moved_from": body["data"].get("move", {}).get("from"),
    }


def _shown(finding: Finding) -> FindingStatus:
    return {"title": finding.title, "what": finding.what, "do": finding.do, "see": finding.see}
