"""The screen of ``inotify-bridge top``: the status page for a terminal, as wide and as high as that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from inotify_bridge.cli.pace import Pace
from inotify_bridge.log import escaped
from inotify_bridge.web.view import AgentStatus, FindingStatus, GroupStatus, SinkStatus
from inotify_bridge.web.words import duration, plural, size

_GOOD: Final = "green"
_BAD: Final = "bold red"
_WAIT: Final = "yellow"
_SOFT: Final = "dim"

_PROBLEMS = 4
"""So many problems are told at once: the figures need room, too."""

_LEAST_ROWS = 3


class Column(NamedTuple):
    """
    A column of a table.

    Args:
        fill: makes its cell.
        least: columns that the terminal has where it is shown.
        number: it is aligned right.
    """

    name: str
    fill: Callable[..., str | Text]
    least: int = 0
    number: bool = True


def board(pace: Pace, silence: str, room: ConsoleDimensions) -> RenderableType:
    """
    All of it.

    Args:
        silence: why the agent does not answer any more, in words; empty: it does.
        room: columns and rows of the terminal.
    """
    width, height = room
    figures = pace.figures
    head: list[RenderableType] = [_head(figures), *_silence(silence), *_problems(figures)]
    rows = height - _lines(head, width) - 6  # two headings, two empty lines, two lines of what is left out
    groups, sinks = _sorted_groups(figures), _sorted_sinks(figures)
    for_groups = max(_LEAST_ROWS, min(len(groups), rows // 2))
    for_sinks = max(_LEAST_ROWS, rows - min(for_groups, len(groups)))
    return Group(
        *head,
        Text(),
        *_table(_GROUP_COLUMNS, [(pace, group) for group in groups], width, for_groups, "group"),
        Text(),
        *_table(_SINK_COLUMNS, [(pace, *pair) for pair in sinks], width, for_sinks, "sink"),
    )


def _lines(parts: Sequence[RenderableType], width: int) -> int:
    console = Console(width=width)
    return sum(len(console.render_lines(part)) for part in parts)


# -- what is wrong, on top


def _head(figures: AgentStatus) -> Text:
    path = f", {escaped(figures['config']['path'])}" if figures["config"]["path"] else ""
    words = f"inotify-bridge {escaped(figures['version'])}, up {duration(figures['uptime_seconds'])}{path}"
    made = f"  {datetime.now(UTC):%H:%M:%S} UTC, q quits"
    return Text.assemble((words, "bold"), (made, _SOFT))


def _silence(why: str) -> list[Text]:
    return [Text(f"! {escaped(why)}", style=_BAD)] if why else []


def _problems(figures: AgentStatus) -> Iterator[RenderableType]:
    found = [("", finding) for finding in figures["findings"]]
    found += [(group["name"], finding) for group in figures["groups"] for finding in group["findings"]]
    if not found:
        yield Text("✓ No problems", style=_GOOD)
        return
    yield Text(f"! {plural(len(found), 'problem')}", style=_BAD)
    for group, finding in found[:_PROBLEMS]:
        yield from _problem(group, finding)
    if (left := len(found) - _PROBLEMS) > 0:
        yield Text(f"  and {left} more: `inotify-bridge status` has them all", style=_SOFT)


def _problem(group: str, finding: FindingStatus) -> Iterator[RenderableType]:
    where = f" ({escaped(group)})" if group else ""
    yield Padding(Text(_cut(finding["title"], 100) + where, style=_BAD), (0, 0, 0, 2))
    yield Padding(Text(_cut(finding["what"], 300)), (0, 0, 0, 4))
    yield Padding(Text.assemble(("Do: ", "bold"), _cut(finding["do"], 300)), (0, 0, 0, 4))


def _cut(words: str, most: int) -> str:
    return escaped(words if len(words) <= most else f"{words[: most - 1]}…")


# -- tables


def _table(
    columns: Sequence[Column], rows: Sequence[tuple[object, ...]], width: int, most: int, noun: str
) -> Iterator[RenderableType]:
    shown = [column for column in columns if width >= column.least]
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0), header_style=_SOFT)
    for place, column in enumerate(shown):
        name = place == 0 or column.name == "SINK"
        table.add_column(
            column.name,
            justify="right" if column.number else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if name else None,
            min_width=8 if name else None,
        )
    for row in rows[:most]:
        table.add_row(*(_cell(column.fill(*row)) for column in shown))
    yield table
    if left := max(0, len(rows) - most):
        yield Text(f"and {plural(left, noun)} more, with less to tell", style=_SOFT)


def _cell(made: str | Text) -> Text:
    """What is not `Text` would be read as markup, which may hold links."""
    return made if isinstance(made, Text) else Text(escaped(made))


def _speed(events: float | None) -> str:
    return "-" if events is None else f"{events:,.0f}"


def _badge(words: str, style: str) -> Text:
    sign = {_GOOD: "✓", _BAD: "!", _WAIT: "…"}[style]
    return Text(f"{sign} {escaped(words)}", style=style)


def _sorted_groups(figures: AgentStatus) -> list[GroupStatus]:
    """What is wrong first, then what waits most."""
    return sorted(
        figures["groups"], key=lambda one: (not one["findings"], -one["outbox"]["events"], one["name"])
    )


def _group_state(_: Pace, group: GroupStatus) -> Text:
    state = group["state"]
    style = {"running": _GOOD, "starting": _WAIT, "stopping": _WAIT}.get(state, _BAD)
    return _badge(state, style)


def _resync(_: Pace, group: GroupStatus) -> str:
    last = group["resync"]["last"]
    if group["resync"]["running"]:
        return "running"
    return f"{last['reason']}, {duration(last['duration_seconds'])}" if last else "none yet"


def _oldest(_: Pace, group: GroupStatus) -> str:
    outbox = group["outbox"]
    return duration(outbox["oldest_age_seconds"]) if outbox["events"] else "-"


def _journal(_: Pace, group: GroupStatus) -> str:
    outbox = group["outbox"]
    return f"{100 * outbox['bytes'] / max(1, outbox['limit_bytes']):.0f} %"


def _logs(_: Pace, group: GroupStatus) -> str:
    logs = group["logs"]
    return f"{logs['files']:,}, {size(logs['lag_bytes'])} behind" if logs else "-"


_GROUP_COLUMNS: Final = (
    Column("GROUP", lambda _, group: group["name"], number=False),
    Column("STATE", _group_state, number=False),
    Column("SEQUENCE", lambda _, group: f"{group['sequence']:,}", 72),
    Column("RECORDED/s", lambda pace, group: _speed(pace.recorded(group["name"])), 40),
    Column("WAITING", lambda _, group: f"{group['outbox']['events']:,}"),
    Column("OLDEST", _oldest, 80),
    Column("JOURNAL", _journal, 60),
    Column("WATCHES", lambda _, group: f"{group['watches']:,}", 95),
    Column("POLLED", lambda _, group: f"{group['uncovered_count']:,}", 105),
    Column("LOG FILES", _logs, 130),
    Column("LAST RESYNC", _resync, 115, number=False),
)


def _sorted_sinks(figures: AgentStatus) -> list[tuple[GroupStatus, SinkStatus]]:
    """What is wrong first, then what is most behind."""
    pairs = [(group, sink) for group in figures["groups"] for sink in group["sinks"]]
    return sorted(
        pairs,
        key=lambda pair: (
            pair[1]["connected"] and not pair[1]["last_error"] and not pair[1]["parked"],
            -pair[1]["lag_events"],
            pair[0]["name"],
            pair[1]["name"],
        ),
    )


def _sink_state(_: Pace, __: GroupStatus, sink: SinkStatus) -> Text:
    if not sink["connected"]:
        return _badge("not connected", _BAD)
    return _badge("refuses", _BAD) if sink["last_error"] else _badge("connected", _GOOD)


def _confirmed(pace: Pace, group: GroupStatus, sink: SinkStatus) -> str:
    return _speed(pace.confirmed(group["name"], sink["name"]))


_SINK_COLUMNS: Final = (
    Column("GROUP", lambda _, group, sink: group["name"], 50, number=False),
    Column("SINK", lambda _, group, sink: sink["name"], number=False),
    Column("TYPE", lambda _, group, sink: sink["type"], 95, number=False),
    Column("STATE", _sink_state, number=False),
    Column("ACKED", lambda _, group, sink: f"{sink['acked_sequence']:,}", 95),
    Column("CONFIRMED/s", _confirmed, 72),
    Column("BEHIND", lambda _, group, sink: f"{sink['lag_events']:,}"),
    Column("PARKED", lambda _, group, sink: f"{sink['parked']:,}", 66),
)
