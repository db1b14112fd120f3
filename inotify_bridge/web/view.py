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
    last_error: str | None  # what keeps messages from being delivered
    error_since: str | None
    insecure: bool


class LogsStatus(TypedDict):
    """The log files that a group follows."""

    files: int
    lag_bytes: int  # known to be there, and in no entry yet
    unreadable: int


class RecentEvent(TypedDict):
    """A message that was recorded."""

    sequence: int
    time: str  # of the event, with a fraction
    type: str  # without prefix and version
    path: str | None  # as in events; None for what the stream says about itself
    moved_from: str | None


class FindingStatus(TypedDict):
    """One thing that is wrong."""

    title: str  # a few words that stay the same for as long as it lasts
    what: str  # the facts of now
    do: str
    see: str  # a section of docs/operations.md


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
    logs: LogsStatus | None  # None: it follows none
    recent: list[RecentEvent]  # the last ones, the newest first
    problems: list[str]  # in words, empty when all is well
    findings: list[FindingStatus]  # the same, taken apart


class AgentStatus(TypedDict):
    """The whole agent."""

    version: str
    started_at: str
    uptime_seconds: float
    config: ConfigStatus
    watches_limit: int | None  # that this user may hold on the machine; None: not known
    groups: list[GroupStatus]
    problems: list[str]  # of the agent itself; those of a group stand with it
    findings: list[FindingStatus]  # the same, taken apart


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
