"""
What the HTTP server asks of the agent, and the shape of the answer: `/api/v1/status`, see docs/status.md.

Keys are only ever added within v1. Paths are percent-encoded like in events, times are RFC 3339 in UTC,
durations seconds and sizes bytes.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias, TypedDict

GroupState: TypeAlias = Literal["starting", "running", "blocked", "restarting", "failed", "stopping"]
"""
- ``starting``: the first watches or the first snapshot are under way.
- ``running``: events flow.
- ``blocked``: nothing is recorded: the journal is full until a sink takes something, or cannot be written.
- ``restarting``: a thread died, the group is built anew.
- ``failed``: the group could not be restarted.
- ``stopping``: what was read is being recorded and sent.
"""

RootState: TypeAlias = Literal["starting", "covered", "degraded", "lost"]
"""``covered``: every directory is watched; ``degraded``: some are polled; ``lost``: not there, waited for."""


class ReloadStatus(TypedDict):
    """The last reload that was asked for."""

    at: str
    ok: bool
    error: str | None  # why the old configuration stayed


class ConfigStatus(TypedDict):
    """The configuration in force."""

    path: str | None  # None: given by the embedding program
    loaded_at: str
    last_reload: ReloadStatus | None


class RootStatus(TypedDict):
    """One root of a group."""

    path: str  # absolute
    name: str  # its `as`, empty where the group has one root without a name
    state: RootState


class UncoveredStatus(TypedDict):
    """A directory that inotify does not cover."""

    path: str  # as in events, relative to the root
    error: str  # ENOSPC, or the name of a blind file system


class ResyncResult(TypedDict):
    """A resync that was completed."""

    reason: str
    completed_at: str
    entries: int
    duration_seconds: float


class ResyncStatus(TypedDict):
    """Resyncs of a group."""

    running: bool
    last: ResyncResult | None


class OutboxStatus(TypedDict):
    """The journal of a group."""

    events: int  # that some sink has not acknowledged
    bytes: int
    limit_bytes: int
    oldest_age_seconds: float  # 0 when there are none
    blocked: bool


class SinkStatus(TypedDict):
    """One (group, sink) pair."""

    name: str
    type: str
    connected: bool
    since: str  # of being connected, or not
    acked_sequence: int
    lag_events: int
    parked: int
    last_error: str | None
    insecure: bool


class GroupStatus(TypedDict):
    """One watch group."""

    name: str
    source: str
    epoch: str
    sequence: int  # the last one recorded
    state: GroupState
    consistent: bool
    roots: list[RootStatus]
    watches: int
    uncovered_count: int
    uncovered: list[UncoveredStatus]  # the first 100 at most
    resync: ResyncStatus
    outbox: OutboxStatus
    sinks: list[SinkStatus]
    problems: list[str]  # in words, empty when all is well


class AgentStatus(TypedDict):
    """The whole agent."""

    version: str
    started_at: str
    uptime_seconds: float
    config: ConfigStatus
    groups: list[GroupStatus]
    problems: list[str]  # of the agent itself; those of a group stand with it


class AgentView(Protocol):
    """
    The agent as the HTTP server sees it.

    Every method is called from threads of the server, several at a time, answers promptly, blocks on no
    broker and no disk, and may be called before the agent has started and while it stops.
    """

    def status(self) -> AgentStatus:
        """The figures of now."""

    def live(self) -> list[str]:
        """Why the process should be restarted, in words; empty when it works. Never because of a sink."""

    def ready(self) -> list[str]:
        """What is missing: the configuration, or the first snapshot. A broker or a resync never is."""

    def started(self) -> list[str]:
        """Which directories are neither watched nor polled yet; empty when the start is over."""
