"""
What it costs to do nothing, and to start.

    python -m benchmarks idle [--seconds 60]
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks import files, peers, setup
from benchmarks.measured import Usage
from benchmarks.report import machine, table
from tests.agent.process import AgentProcess

STARTS = 5
SETTLED_SECONDS = 3.0

Row = tuple[object, ...]


def at_rest(seconds: float) -> None:
    """The agent with one group on an empty directory, its HTTP server and a file to write to."""
    with files.memory_directory() as directory, files.memory_directory() as scratch:
        group = {"name": "g", "paths": [str(directory)], "sinks": ["file"]}
        sink = {"name": "file", "type": "jsonl", "path": str(scratch / "events.jsonl")}
        with AgentProcess(scratch, {"watch_groups": [group], "sinks": [sink]}).start() as agent:
            time.sleep(SETTLED_SECONDS)
            before = Usage.of(agent.pid)
            time.sleep(seconds)
            after = Usage.of(agent.pid)
            agent.stop()
    share = after.since(before).cpu / seconds * 100
    table(
        f"idle for {seconds:g} s",
        ("what", "RSS MB", "CPU % of a core"),
        [("inotify-bridge run", after.rss / 1e6, share)],
    )


def starts() -> None:
    """The best of some starts of each."""
    with files.memory_directory() as directory, files.memory_directory() as scratch:
        wait = peers.inotifywait(str(directory))
        rows = [
            _ended("python -c pass", [sys.executable, "-c", "pass"]),
            _ended("inotify-bridge --help", [sys.executable, "-m", "inotify_bridge", "--help"]),
            _best("inotify-bridge watch, ready", setup.watch(directory), scratch, b"resync_completed"),
            _best("inotifywait, ready", wait, scratch, b"Watches established"),
            _best("pyinotify, ready", peers.pyinotify("count", str(directory)), scratch, b"ready"),
        ]
    table("start, the best of some", ("what", "seconds", "CPU s", "RSS MB"), [row for row in rows if row])


def _best(name: str, command: Sequence[str] | None, scratch: Path, word: bytes) -> Row | None:
    """The quickest of some starts until a word is said."""
    rows = [row for _ in range(STARTS) if (row := setup.ready(name, command, scratch, word))]
    return min(rows, key=lambda row: float(str(row[1])), default=None)


def _ended(name: str, command: Sequence[str]) -> Row:
    """The quickest of some runs to their end."""
    seconds = []
    for _ in range(STARTS):
        started = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.monotonic() - started)
    return name, min(seconds), None, None


def run(seconds: float) -> None:
    """Both tables."""
    at_rest(seconds)
    starts()


@click.command("idle")
@click.option("--seconds", default=60.0, show_default=True)
def main(seconds: float) -> None:
    """What it costs to do nothing, and to start."""
    machine()
    run(seconds)
