"""``inotify-bridge status``: the figures of a running agent, once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final, cast

import click

from inotify_bridge.cli.connection import Target, ask
from inotify_bridge.cli.options import target_options
from inotify_bridge.errors import UnavailableError
from inotify_bridge.log import escaped
from inotify_bridge.web.view import AgentStatus, GroupStatus, SinkStatus
from inotify_bridge.web.words import duration, size


@click.command("status")
@target_options
@click.option("--json", "as_json", is_flag=True, help="Print the whole status as JSON (docs/status.md).")
def command(target: Target, as_json: bool) -> None:
    """
    Print the figures of a running agent: its groups, their sinks and what is wrong.

    \b
    Example:
      inotify-bridge status --url http://127.0.0.1:10477
    """
    figures = fetch_status(target)
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    for line in lines(figures):
        click.echo(line)


def fetch_status(target: Target) -> AgentStatus:
    """Ask an agent for its status. Raises: see `connection.ask`."""
    content = ask(target, "GET", "/api/v1/status")
    if "groups" not in content:
        raise UnavailableError(
            f"what answers at {target.url} is no inotify-bridge", "--url takes the address of http.listen"
        )
    return cast(AgentStatus, content)


def lines(figures: AgentStatus) -> Iterator[str]:
    """The compact table, line by line."""
    source = f", {figures['config']['path']}" if figures["config"]["path"] else ""
    yield escaped(f"inotify-bridge {figures['version']}, up {duration(figures['uptime_seconds'])}{source}")
    groups = figures["groups"]
    if groups:
        yield ""
        yield from table(_GROUP_HEAD, [_group_row(group) for group in groups])
        yield ""
        yield from table(_SINK_HEAD, [_sink_row(group, sink) for group in groups for sink in group["sinks"]])
    problems = [*figures["problems"], *(f"{g['name']}: {p}" for g in groups for p in g["problems"])]
    yield ""
    yield "No problems." if not problems else "Problems:"
    for problem in problems:
        yield f"  {escaped(problem)}"


_GROUP_HEAD: Final = (
    "GROUP",
    "STATE",
    "CONSISTENT",
    "SEQUENCE",
    "WATCHES",
    "POLLED",
    "WAITING",
    "OLDEST",
    "RESYNC",
)
_SINK_HEAD: Final = ("GROUP", "SINK", "TYPE", "CONNECTED", "ACKED", "BEHIND", "PARKED", "LAST ERROR")


def _group_row(group: GroupStatus) -> tuple[str, ...]:
    outbox, resync = group["outbox"], group["resync"]
    last = resync["last"]
    done = f"{last['reason']}, {duration(last['duration_seconds'])}" if last else "none yet"
    return (
        group["name"],
        group["state"],
        "yes" if group["consistent"] else "no",
        str(group["sequence"]),
        str(group["watches"]),
        str(group["uncovered_count"]),
        f"{outbox['events']} ({size(outbox['bytes'])} of {size(outbox['limit_bytes'])})",
        duration(outbox["oldest_age_seconds"]) if outbox["events"] else "-",
        "running" if resync["running"] else done,
    )


def _sink_row(group: GroupStatus, sink: SinkStatus) -> tuple[str, ...]:
    return (
        group["name"],
        sink["name"],
        sink["type"],
        "yes" if sink["connected"] else "no",
        str(sink["acked_sequence"]),
        str(sink["lag_events"]),
        str(sink["parked"]),
        sink["last_error"] or "-",
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Aligned columns, line by line; nothing in them can move the cursor."""
    cells = [head, *([escaped(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
