"""``inotify-bridge top``: the figures of a running agent, live."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import click

from inotify_bridge.cli.connection import Target
from inotify_bridge.cli.options import target_options
from inotify_bridge.cli.status import fetch_status, lines, table
from inotify_bridge.web.view import AgentStatus

_CLEAR: Final = "\x1b[H\x1b[2J"
_HEAD: Final = ("GROUP", "SINK", "RECORDED/s", "CONFIRMED/s", "BEHIND")


class Look(NamedTuple):
    """
    What was seen at a moment.

    Args:
        at: monotonic seconds.
        places: the sequences recorded and confirmed, with their epoch, by (group, sink).
    """

    at: float
    places: Mapping[tuple[str, str], tuple[str, int, int]]


@click.command("top")
@target_options
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--count", type=click.IntRange(min=1), help="End after so many looks.")
def command(target: Target, interval: float, count: int | None) -> None:
    """
    Show the figures of a running agent, and how fast they change, until Ctrl-C.

    On a terminal in place, else one after the other.

    \b
    Example:
      inotify-bridge top --interval 1
    """
    before: Look | None = None
    looks = 0
    try:
        while True:
            figures = fetch_status(target)
            now = _look(figures)
            _show([*lines(figures), "", *rates(before, now, figures)])
            before, looks = now, looks + 1
            if looks == count:
                return
            time.sleep(interval)
    except KeyboardInterrupt:
        return


def _show(shown: list[str]) -> None:
    clear = _CLEAR if sys.stdout.isatty() else ""
    click.echo(clear + "\n".join(shown) + ("" if clear else "\n"))


def _look(figures: AgentStatus) -> Look:
    return Look(
        time.monotonic(),
        {
            (group["name"], sink["name"]): (group["epoch"], group["sequence"], sink["acked_sequence"])
            for group in figures["groups"]
            for sink in group["sinks"]
        },
    )


def rates(before: Look | None, now: Look, figures: AgentStatus) -> Iterator[str]:
    """A table of events a second since the look before; ``-`` where there was none, or another epoch."""
    rows = []
    for group in figures["groups"]:
        for sink in group["sinks"]:
            pair = group["name"], sink["name"]
            old, new = before.places.get(pair) if before else None, now.places[pair]
            speeds = ("-", "-")
            if before is not None and old is not None and old[0] == new[0]:
                seconds = now.at - before.at
                # A sink that is still in the epoch before has confirmed a higher number than it will soon.
                done = max(0, new[2] - old[2])
                speeds = (f"{(new[1] - old[1]) / seconds:.0f}", f"{done / seconds:.0f}")
            rows.append((*pair, *speeds, str(sink["lag_events"])))
    yield from table(_HEAD, rows)
