"""
The façade beside the pyinotify that it stands in for: the same program, run with the one and with the other.

    python -m benchmarks facade [--rounds 10] [--files 266667]

Callbacks: every round fills the kernel's queue with 5,000 files, made, written, closed and deleted, and times
the reading and handling of the 15,000 events; the two take turns. Burst: a C program makes the same of every
file at full speed, and the kernel drops what is not read in time.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

import click

from benchmarks import burst, files, limits, peers
from benchmarks.measured import Measured
from benchmarks.report import machine, table

FILES = 5_000
"""Three events each: what a kernel queue of 16,384 takes."""

ROUNDS_A_TURN = 4

_ROOT = Path(__file__).parents[1]
_SCRIPT = Path(__file__).with_name("pyinotify_peer.py")
_IN_ITS_PLACE = (
    "import sys\nimport inotify_bridge.pyinotify\nsys.modules[__name__] = inotify_bridge.pyinotify\n"
)

Command: TypeAlias = Callable[..., list[str] | None]


class Figure(NamedTuple):
    """CPU microseconds for an event, one figure a turn."""

    events: int
    micros: list[float]

    @property
    def median(self) -> float:
        """Of the turns."""
        return statistics.median(self.micros)


@contextmanager
def facade() -> Iterator[Command]:
    """The command that runs `pyinotify_peer` with the façade as its `pyinotify`."""
    with tempfile.TemporaryDirectory(prefix="inotify-bridge-bench-") as entry:
        Path(entry, "pyinotify.py").write_text(_IN_ITS_PLACE)
        path = f"PYTHONPATH={entry}{os.pathsep}{_ROOT}"
        yield lambda *arguments: ["env", path, sys.executable, os.fspath(_SCRIPT), *arguments]


def turn(command: list[str]) -> tuple[int, float]:
    """Events, and CPU microseconds for one of them."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    events, overflows, seconds = done.stdout.split()[-3:]
    if int(overflows):
        sys.exit("the kernel's queue overflowed where it should not")
    return int(events), float(seconds) / int(events) * 1e6


def callbacks(mode: str, turns: int, contenders: dict[str, Command]) -> dict[str, Figure]:
    """Each contender in turn, in a directory in memory."""
    found = {name: Figure(0, []) for name in contenders}
    for _ in range(turns):
        for name, contender in contenders.items():
            with files.memory_directory() as directory:
                command = contender(mode, str(directory), str(ROUNDS_A_TURN), str(FILES))
                if command is None:
                    continue
                events, micros = turn(command)
            found[name] = Figure(found[name].events + events, [*found[name].micros, micros])
    return {name: figure for name, figure in found.items() if figure.events}


def callback_table(turns: int, contenders: dict[str, Command]) -> None:
    """What one event costs, and how many times faster the façade is."""
    rows: list[tuple[object, ...]] = []
    for mode, what in (("percall", "counts"), ("reads", "reads kind, path, dir")):
        found = callbacks(mode, turns, contenders)
        slowest = max(figure.median for figure in found.values())
        for name, figure in found.items():
            spread = f"{min(figure.micros):.2f}–{max(figure.micros):.2f}"
            rows.append((what, name, figure.events, figure.median, spread, slowest / figure.median))
    header = ("callback", "module", "events", "µs CPU/event", "of turns", "times as fast")
    table("one event to a callback, one thread", header, rows)


def burst_row(name: str, contender: Command, count: int) -> burst.Row | None:
    """A burst to a callback that counts."""
    with files.memory_directory() as directory, files.memory_directory() as scratch:
        command = contender("count", str(directory))
        if command is None:
            return None
        out = scratch / "out"
        with out.open("wb") as to, Measured(command, to) as process:
            process.wait_for(out, b"ready", f"{name} is ready")
            before, started = process.usage(), time.monotonic()
            seconds = files.burst(directory, count)
            used = process.end().since(before)
            total = time.monotonic() - started
        got, overflows = map(int, out.read_text().split()[-2:])
    return burst.row(name, count, got, overflows, (seconds, total), used)


def run(turns: int, count: int) -> None:
    """Both tables."""
    with facade() as ours:
        contenders: dict[str, Command] = {
            "pyinotify 0.9.6": peers.pyinotify,
            "inotify_bridge.pyinotify": ours,
        }
        callback_table(turns, contenders)
        with limits.usual_queue() as queue:
            rows = [burst_row(name, contender, count) for name, contender in contenders.items()]
        title = f"burst of {3 * count:,} events at full speed, kernel queue of {queue:,}"
        table(title, burst.HEADER, [one for one in rows if one])


@click.command("facade")
@click.option("--rounds", "turns", default=10, show_default=True, help="Turns of each module.")
@click.option("--files", "count", default=266_667, show_default=True, help="Files of the burst.")
def main(turns: int, count: int) -> None:
    """The façade beside pyinotify 0.9.6: CPU of one event, events lost in a burst."""
    machine()
    run(turns, count)
