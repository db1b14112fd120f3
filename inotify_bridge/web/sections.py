"""What the status page says of the groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from inotify_bridge.web.html import (
    Column,
    Html,
    Tone,
    ago,
    badge,
    clock,
    join,
    meter,
    name,
    small,
    table,
    text,
    tiles,
)
from inotify_bridge.web.view import AgentStatus, GroupState, GroupStatus, RecentEvent, RootState, SinkStatus
from inotify_bridge.web.words import duration, plural, size

_GROUP_TONES: Final[dict[GroupState, Tone]] = {"running": "good", "starting": "wait", "stopping": "wait"}
_ROOT_TONES: Final[dict[RootState, Tone]] = {"covered": "good", "starting": "wait"}

_UNFOLDED = 5
"""So many polled directories are shown at once."""


def overview(status: AgentStatus) -> Html:
    """All groups in one table, each with a link to its section; nothing where there is one only."""
    if len(status["groups"]) < 2:
        return Html("")
    made = table("All groups", _OVERVIEW, map(_overview_row, status["groups"]))
    return Html(f'<nav id="overview" aria-label="Groups">\n{made}</nav>\n')


_OVERVIEW: Final = (
    Column("Group", "name"),
    Column("State"),
    Column("Sequence", "number"),
    Column("Waiting", "number"),
    Column("Oldest", "number"),
    Column("Watches", "number"),
    Column("Polled", "number"),
    Column("Sinks"),
)


def _overview_row(group: GroupStatus) -> Sequence[str]:
    outbox, sinks = group["outbox"], group["sinks"]
    well = sum(1 for sink in sinks if sink["connected"] and not sink["last_error"])
    counts = f"{well} of {len(sinks)} work"
    return (
        Html(f'<a href="#{_id(group)}">{text(group["name"])}</a>'),
        _state(group),
        f"{group['sequence']:,}",
        f"{outbox['events']:,}",
        duration(outbox["oldest_age_seconds"]) if outbox["events"] else "–",
        f"{group['watches']:,}",
        f"{group['uncovered_count']:,}",
        badge("good" if well == len(sinks) else "bad", counts),
    )


def _id(group: GroupStatus) -> str:
    return text(f"group-{group['name']}")


def _state(group: GroupStatus) -> Html:
    return badge(_GROUP_TONES.get(group["state"], "bad"), group["state"])


def section(group: GroupStatus, limit: int | None, now: datetime) -> Html:
    """
    One group.

    Args:
        limit: of watches; None: not known.
    """
    place = _id(group)
    return Html(
        f'<section id="{place}" aria-labelledby="{place}-name">\n'
        f'<h2 id="{place}-name">{name(group["name"])} {_state(group)}</h2>\n'
        f'<p class="soft name">{name(group["source"])}</p>\n'
        f"{tiles(_figures(group, limit, now))}"
        f"{table('Sinks', _SINKS, (_sink(sink, now) for sink in group['sinks']), css='sinks')}"
        f"{_coverage(group)}"
        f"{table('Last events', _EVENTS, (_event(event, now) for event in group['recent']), css='events')}"
        "</section>\n"
    )


# -- figures


def _figures(group: GroupStatus, limit: int | None, now: datetime) -> Iterator[tuple[str, str]]:
    agrees = badge("good", "yes") if group["consistent"] else badge("wait", "not known yet")
    yield "Agrees with the disk", agrees
    yield "Sequence", join(f"{group['sequence']:,}", small(join("epoch ", name(group["epoch"]))))
    yield "Waiting for a sink", _waiting(group)
    yield "Watches", _watches(group, limit)
    yield "Last resync", _resync(group, now)
    if (logs := group["logs"]) is not None:
        behind = f"{size(logs['lag_bytes'])} not read yet" if logs["lag_bytes"] else "read to their ends"
        unreadable = f"; {logs['unreadable']:,} cannot be read" if logs["unreadable"] else ""
        yield "Log files", join(f"{logs['files']:,}", small(behind + unreadable))


def _waiting(group: GroupStatus) -> Html:
    outbox = group["outbox"]
    room = f"{size(outbox['bytes'])} of {size(outbox['limit_bytes'])} used"
    if outbox["events"]:
        room += f"; the oldest is {duration(outbox['oldest_age_seconds'])} old"
    return join(
        plural(outbox["events"], "event"),
        meter("room of the journal used", outbox["bytes"], outbox["limit_bytes"]),
        small(room),
        small(badge("bad", "full: nothing is taken from the kernel") if outbox["blocked"] else ""),
    )


def _watches(group: GroupStatus, limit: int | None) -> Html:
    polled = plural(group["uncovered_count"], "directory", "directories")
    return join(
        f"{group['watches']:,}",
        meter("of the watches that this user may hold", group["watches"], limit) if limit else "",
        small(f"of {limit:,} that this user may hold" if limit else ""),
        small(badge("bad", f"{polled} polled instead") if group["uncovered_count"] else ""),
    )


def _resync(group: GroupStatus, now: datetime) -> Html:
    running, last = group["resync"]["running"], group["resync"]["last"]
    if last is None:
        return join(badge("wait", "running") if running else "none yet")
    entries = plural(last["entries"], "entry", "entries")
    done = join(
        f"{entries} in {duration(last['duration_seconds'])}, ", clock(last["completed_at"], now), " UTC"
    )
    now_running = small(badge("wait", "another one is running")) if running else Html("")
    return join(last["reason"], small(done), now_running)


# -- sinks

_SINKS: Final = (
    Column("Sink", "name"),
    Column("State"),
    Column("Acknowledged", "number"),
    Column("Behind", "number"),
    Column("Parked", "number"),
    Column("What is wrong", "name"),
)


def _sink(sink: SinkStatus, now: datetime) -> Sequence[str]:
    kind = join(sink["type"], small(badge("bad", "insecure")) if sink["insecure"] else "")
    wrong = Html("")
    if error := sink["last_error"]:
        began = small(ago(sink["error_since"], now)) if sink["error_since"] else Html("")
        wrong = join(name(error), began)
    return (
        join(name(sink["name"]), small(kind)),
        join(_sink_state(sink), small(ago(sink["since"], now))),
        f"{sink['acked_sequence']:,}",
        f"{sink['lag_events']:,}",
        join(badge("bad", f"{sink['parked']:,}") if sink["parked"] else "0"),
        wrong or "–",
    )


def _sink_state(sink: SinkStatus) -> Html:
    if not sink["connected"]:
        return badge("bad", "not connected")
    return badge("bad", "refuses") if sink["last_error"] else badge("good", "connected")


# -- coverage

_ROOTS: Final = (Column("Root", "name"), Column("State"))
_WHY: Final = {
    "ENOSPC": "this user has no watch left",
    "EACCES": "the agent may not read it",
    "ENOMEM": "the kernel has no memory left",
    "EMFILE": "the process has no descriptor left",
    "ENOTSUP": "a file system whose changes the kernel does not see",
    "EEXIST": "the same directory is watched elsewhere in the tree",
    "ELOOP": "it is mounted below itself",
}
_UNCOVERED: Final = (Column("Directory", "name"), Column("Why", "name"))


def _coverage(group: GroupStatus) -> Html:
    places = sorted(group["uncovered"], key=lambda place: place["path"])
    rows = [(name(place["path"] or "."), _why(place["error"])) for place in places]
    shown = f"Polled directories, {len(rows):,} of {group['uncovered_count']:,}"
    fold = f"polled-{group['name']}" if len(rows) > _UNFOLDED else ""
    return join(table("Coverage", _ROOTS, _roots(group)), table(shown, _UNCOVERED, rows, fold))


def _why(error: str) -> Html:
    return join(name(error), small(_WHY.get(error, "")))


def _roots(group: GroupStatus) -> Iterable[Sequence[str]]:
    return (
        (
            join(name(root["path"]), small(join("as ", name(root["name"]))) if root["name"] else ""),
            badge(_ROOT_TONES.get(root["state"], "bad"), root["state"]),
        )
        for root in group["roots"]
    )


# -- events

_EVENTS: Final = (Column("Time (UTC)"), Column("Sequence", "number"), Column("Event"), Column("Path", "name"))


def _event(event: RecentEvent, now: datetime) -> Sequence[str]:
    path = name(event["path"]) if event["path"] is not None else Html("–")
    if (source := event["moved_from"]) is not None:
        path = join(name(source), " → ", path)
    return clock(event["time"], now, fraction=True), f"{event['sequence']:,}", event["type"], path
