"""An agent's view that a test sets: it answers what it was given."""

from __future__ import annotations

from inotify_bridge.web.view import AgentStatus, FindingStatus, GroupStatus, OutboxStatus, SinkStatus


class GivenView:
    """Implements `AgentView` from its attributes."""

    def __init__(self) -> None:
        self.figures = agent_status()
        self.not_live: list[str] = []
        self.not_ready: list[str] = []
        self.not_started: list[str] = []
        self.error: Exception | None = None

    def status(self) -> AgentStatus:
        if self.error:
            raise self.error
        return self.figures

    def live(self) -> list[str]:
        return self.not_live

    def ready(self) -> list[str]:
        return self.not_ready

    def started(self) -> list[str]:
        return self.not_started


def agent_status() -> AgentStatus:
    """An agent with one group, one root and one sink, all well."""
    return AgentStatus(
        version="1.2.3",
        started_at="2026-11-21T08:00:00Z",
        uptime_seconds=7261.5,
        config={
            "path": "/etc/inotify-bridge/config.yaml",
            "loaded_at": "2026-11-21T08:00:00Z",
            "last_reload": None,
        },
        watches_limit=65536,
        groups=[group_status()],
        problems=[],
        findings=[],
    )


def group_status() -> GroupStatus:
    """A group that is well."""
    return GroupStatus(
        name="uploads",
        source="inotify://web-1/uploads",
        epoch="0192f3a4b5c6d7e8f9a0",
        sequence=42,
        state="running",
        consistent=True,
        roots=[{"path": "/srv/uploads", "name": "", "state": "covered"}],
        watches=17,
        uncovered_count=0,
        uncovered=[],
        resync={
            "running": False,
            "last": {
                "reason": "start",
                "completed_at": "2026-11-21T08:00:01Z",
                "entries": 1234,
                "duration_seconds": 0.25,
            },
        },
        outbox=outbox_status(),
        sinks=[sink_status()],
        logs=None,
        recent=[
            {
                "sequence": 42,
                "time": "2026-11-21T08:00:02.123456Z",
                "type": "file.written",
                "path": "2026/a.csv",
                "moved_from": None,
            }
        ],
        problems=[],
        findings=[],
    )


def outbox_status() -> OutboxStatus:
    """A journal with a little in it."""
    return OutboxStatus(events=3, bytes=150, limit_bytes=1 << 30, oldest_age_seconds=0.5, blocked=False)


def sink_status() -> SinkStatus:
    """A sink that is connected."""
    return SinkStatus(
        name="orders",
        type="rabbitmq",
        connected=True,
        since="2026-11-21T08:00:00Z",
        acked_sequence=39,
        lag_events=3,
        parked=0,
        last_error=None,
        error_since=None,
        insecure=False,
    )


def finding(title: str = "Coverage is degraded", what: str = "2 directories are polled") -> FindingStatus:
    """Something that is wrong."""
    return FindingStatus(title=title, what=what, do="ask `inotify-bridge doctor`", see="Coverage is degraded")
