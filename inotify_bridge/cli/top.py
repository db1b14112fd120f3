"""``inotify-bridge top``: the figures of a running agent, live."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.live import Live

from inotify_bridge.cli.board import board
from inotify_bridge.cli.connection import Target
from inotify_bridge.cli.keys import Keys
from inotify_bridge.cli.options import target_options
from inotify_bridge.cli.pace import Look, Pace, look
from inotify_bridge.cli.status import fetch_status, lines, table
from inotify_bridge.errors import BridgeError
from inotify_bridge.log import escaped

_RATE_HEAD = ("GROUP", "SINK", "RECORDED/s", "CONFIRMED/s", "BEHIND")


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
    Show the figures of a running agent, and how fast they change, until q or Ctrl-C.

    On a terminal in place, what is wrong first; else one after the other. An agent that does not answer any
    more is asked again.

    \b
    Example:
      inotify-bridge top --interval 1
    """
    console = Console()
    looks = Looks(target)
    looks.take()  # an agent that has never answered is a wrong address rather
    try:
        if console.is_terminal and not console.is_dumb_terminal:
            _live(console, looks, interval, count)
        else:
            _print(looks, interval, count)
    except KeyboardInterrupt:
        return


class Looks:
    """The last two looks at an agent."""

    def __init__(self, target: Target) -> None:
        self.silence = ""
        """Why it does not answer any more; empty: it does."""
        self.pace: Pace
        self._target = target
        self._last: Look | None = None

    def take(self) -> None:
        """Look. Raises: BridgeError, it does not answer."""
        now = look(fetch_status(self._target))
        self.pace = Pace(self._last, now)
        self._last, self.silence = now, ""

    def take_again(self) -> None:
        """Look; where it does not answer what was seen last stays."""
        try:
            self.take()
        except BridgeError as error:
            if not self.silence:
                since = f"{datetime.now(UTC):%H:%M:%S} UTC"
                self.silence = f"no answer since {since}, these figures are old; asked again: {error}"


def _live(console: Console, looks: Looks, interval: float, count: int | None) -> None:
    """In place. What was seen last stays on the terminal where it ends by itself."""
    with Keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        for last in _rounds(looks, count):
            live.update(board(looks.pace, looks.silence, console.size), refresh=True)
            if not last and _quit(keys, interval):
                return
    console.print(board(looks.pace, looks.silence, console.size))


def _quit(keys: Keys, seconds: float) -> bool:
    """Wait; whether somebody wants it to end."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if keys.wait(left) in ("q", "Q"):
            return True
    return False


def _print(looks: Looks, interval: float, count: int | None) -> None:
    """One after the other."""
    for last in _rounds(looks, count):
        said = [f"inotify-bridge: {escaped(looks.silence)}"] if looks.silence else []
        click.echo("\n".join(said or [*lines(looks.pace.figures), "", *rates(looks.pace), ""]))
        sys.stdout.flush()
        if not last:
            time.sleep(interval)


def _rounds(looks: Looks, count: int | None) -> Iterator[bool]:
    """Each look; whether it is the last one. The first has been taken."""
    taken = 1
    while taken != count:
        yield False
        looks.take_again()
        taken += 1
    yield True


def rates(pace: Pace) -> Iterator[str]:
    """A table of events a second since the look before; ``-`` where that cannot be told."""
    rows = [
        (
            group["name"],
            sink["name"],
            _speed(pace.recorded(group["name"])),
            _speed(pace.confirmed(group["name"], sink["name"])),
            str(sink["lag_events"]),
        )
        for group in pace.figures["groups"]
        for sink in group["sinks"]
    ]
    yield from table(_RATE_HEAD, rows)


def _speed(events: float | None) -> str:
    return "-" if events is None else f"{events:.0f}"
