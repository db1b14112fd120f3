"""
Large trees: how long until everything is watched, what memory it takes, how long a resync lasts.

    python -m benchmarks setup [--directories 100000] [--files 1000000]

The trees are on tmpfs. A resync compares files that have not changed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks import files, limits, peers
from benchmarks.measured import Measured, Usage
from benchmarks.report import machine, table

FILES_IN_A_DIRECTORY = 1000
SPARE_WATCHES = 5000

Row = tuple[object, ...]


def ready(name: str, command: Sequence[str] | None, scratch: Path, word: bytes) -> Row | None:
    """Start a watcher and wait until it says that it watches everything; a line of the table."""
    if command is None:
        return None
    said = scratch / "said"
    started = time.monotonic()
    with said.open("wb") as to, Measured(command, to, to) as process:
        process.wait_for(said, word, f"{name} is ready")
        seconds, used = time.monotonic() - started, process.usage()
        process.end()
    return name, seconds, used.cpu, used.rss / 1e6


def watch(directory: Path) -> list[str]:
    """``inotify-bridge watch``."""
    return [sys.executable, "-m", "inotify_bridge", "watch", "--format", "json", str(directory)]


def directories(count: int) -> None:
    """The table of a tree of directories."""
    with files.memory_directory() as directory, files.memory_directory() as scratch:
        empty = scratch / "empty"
        empty.mkdir()
        files.tree(directory, count)
        wait = peers.inotifywait("-e", "create,close_write,delete,move,attrib", str(directory))
        rows = [
            ready("inotify-bridge, empty", watch(empty), scratch, b"resync_completed"),
            ready("inotify-bridge", watch(directory), scratch, b"resync_completed"),
            ready("inotifywait -m -r", wait, scratch, b"Watches established"),
            ready("pyinotify", peers.pyinotify("count", str(directory)), scratch, b"ready"),
        ]
    header = ("watcher", "seconds", "CPU s", "RSS MB")
    table(f"start on {count:,} directories", header, [row for row in rows if row])


def many_files(count: int) -> None:
    """The table of a tree of files."""
    with files.memory_directory() as directory, files.memory_directory() as scratch:
        files.tree(directory, count // FILES_IN_A_DIRECTORY, FILES_IN_A_DIRECTORY)
        command = [sys.executable, "-m", "benchmarks.setup", str(directory)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        first, second = json.loads(done.stdout)
        rows = [
            ready("start of watch", watch(directory), scratch, b"resync_completed"),
            ("embedded: first resync", *first),
            ("embedded: unchanged", *second),
            _find(directory),
        ]
    title = f"resync of {count:,} files in {count // FILES_IN_A_DIRECTORY:,} directories"
    table(title, ("what", "seconds", "CPU s", "RSS MB"), [row for row in rows if row])


def _find(directory: Path) -> Row:
    """The peer: find(1), which also has to lstat everything."""
    started = time.monotonic()
    with Measured(["find", str(directory), "-size", "+1G"]) as process:
        used = process.end(signal.SIGCONT)  # a signal that does nothing: it ends by itself
    return "find -size", time.monotonic() - started, used.cpu, used.peak / 1e6


def _embedded(directory: str) -> None:
    """In a process of its own: seconds, CPU seconds and megabytes of the first and of a second resync."""
    import os

    from inotify_bridge.agent import Agent
    from inotify_bridge.config import Config
    from tests.waiting import eventually

    group = {"name": "g", "paths": [directory], "sinks": ["memory"], "snapshot": "never"}
    whole = {"watch_groups": [group], "sinks": [{"name": "memory", "type": "memory"}]}
    agent = Agent(Config.model_validate(whole), http=False)
    figures: list[tuple[float, float, float]] = []

    def resynced(since: object, cpu: float) -> None:
        recorder = agent.groups["g"].recorder
        eventually(lambda: recorder.last_resync not in (None, since), within=600, what="the resync")
        assert recorder.last_resync is not None
        used = Usage.of(os.getpid())
        figures.append((recorder.last_resync[3], used.cpu - cpu, used.rss / 1e6))

    before = Usage.of(os.getpid()).cpu
    agent.start()
    resynced(None, before)
    last, before = agent.groups["g"].recorder.last_resync, Usage.of(os.getpid()).cpu
    agent.groups["g"].resync(None)
    resynced(last, before)
    agent.stop()
    sys.stdout.write(json.dumps(figures))


def run(wanted_directories: int, wanted_files: int) -> None:
    """Both tables; fewer directories where the machine allows fewer watches."""
    allowed = limits.watches() - SPARE_WATCHES
    if allowed < wanted_directories:
        click.echo(f"fs.inotify.max_user_watches allows {allowed:,} directories only", err=True)
    directories(min(wanted_directories, allowed))
    many_files(wanted_files)


@click.command("setup")
@click.option("--directories", "wanted_directories", default=100_000, show_default=True)
@click.option("--files", "wanted_files", default=1_000_000, show_default=True)
def main(wanted_directories: int, wanted_files: int) -> None:
    """How long until a large tree is watched, what memory it takes, how long a resync lasts."""
    machine()
    run(wanted_directories, wanted_files)


if __name__ == "__main__":
    _embedded(sys.argv[1])
