"""
What it costs to follow a log: from the file to the journal, and to where entries are stored.

    python -m benchmarks lines [--lines 500000]

A program appends requests in combined log format, faster than they are read; the clock runs until the last
is confirmed. CPU is that of the agent, of all its threads, and of the recorder alone: it reads, takes apart
and writes the journal; the rest is the sink's. The log is in memory, the state directory and SQLite's file
are on the disk of the temporary directory; the server's CPU is not counted.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benchmarks import files
from benchmarks.measured import Usage
from benchmarks.report import machine, table
from tests.agent.process import AgentProcess
from tests.brokers import PostgresqlServer
from tests.waiting import eventually

HEADER = ("way", "lines", "lines/s", "lines a CPU second", "µs CPU/line", "of that recorder", "peak MB")
SECONDS = 900.0
OWN = (
    r'(?P<remote_addr>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<request>[^"]*)" (?P<status>\d+) '
    r'(?P<bytes>\d+) "(?P<referer>[^"]*)" "(?P<user_agent>[^"]*)"'
)

Row = tuple[object, ...]


def request(number: int) -> str:
    """A line as nginx writes it, 120 bytes or so."""
    return (
        f"203.0.113.{number % 250} - - [21/Nov/2026:08:00:{number // 100 % 60:02d} +0000] "
        f'"GET /articles/{number} HTTP/1.1" 200 {number % 9000} "-" "Mozilla/5.0 (X11; Linux x86_64)"\n'
    )


def follow(name: str, pattern: str | None, sink: dict[str, Any], count: int) -> Row:
    """One agent, from the first line to the last that is confirmed."""
    with (
        files.memory_directory() as directory,
        files.memory_directory() as scratch,
        tempfile.TemporaryDirectory(prefix="inotify-bridge-bench-") as state,
    ):
        lines = {"files": ["access.log"]} | ({} if pattern is None else {"pattern": pattern})
        group = {"name": "g", "paths": [str(directory)], "lines": lines, "sinks": ["sink"]}
        config = {"watch_groups": [group], "sinks": [{"name": "sink", **sink}], "state": {"dir": state}}
        with AgentProcess(scratch, config).start() as process:
            eventually(lambda: process.sink("sink")["connected"], what="connected")
            recorder = process.metric("recorder_cpu_seconds_total")
            before, started = Usage.of(process.pid), time.monotonic()
            with (directory / "access.log").open("a") as log:
                log.writelines(map(request, range(count)))
            eventually(
                lambda: process.metric("log_entries_total") == count and process.delivered("sink"),
                within=SECONDS,
                what="everything is confirmed",
                poll=0.1,
            )
            seconds, used = time.monotonic() - started, Usage.of(process.pid).since(before)
            recorder = process.metric("recorder_cpu_seconds_total") - recorder
            process.stop()
    each, recorded = used.cpu / count * 1e6, recorder / count * 1e6
    return name, count, count / seconds, count / used.cpu, each, recorded, used.peak / 1e6


def bare(count: int) -> Row:
    """A file that is there, read, matched and printed as JSON: without offsets, rotation or a journal."""
    pattern = re.compile(OWN)
    with files.memory_directory() as directory:
        log, out = directory / "access.log", directory / "out"
        with log.open("w") as stream:
            stream.writelines(map(request, range(count)))
        wall, cpu = time.perf_counter(), time.process_time()
        with log.open() as stream, out.open("w") as printed:
            for line in stream:
                found = pattern.match(line)
                assert found is not None
                printed.write(f"{json.dumps(found.groupdict())}\n")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return "a bare loop of re and json", count, count / wall, count / cpu, cpu / count * 1e6, None, None


def run(count: int) -> None:
    """Every pattern into a file, and one into each database."""
    rows = [bare(count)]
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="inotify-bridge-bench-")))
        file = {"type": "jsonl", "path": str(place / "events.jsonl")}
        for name, pattern in (("no pattern", None), ("combined", "combined"), ("one's own pattern", OWN)):
            rows.append(follow(f"{name}, to a file", pattern, file, count))
        urls: dict[str, Callable[[], str]] = {"SQLite": lambda: f"sqlite:///{place / 'rows.db'}"}
        if not PostgresqlServer.missing():
            urls["PostgreSQL"] = lambda: stack.enter_context(PostgresqlServer()).url
        for name, url in urls.items():
            sink = {"type": "sql", "url": url(), "log_table": "requests"}
            rows.append(follow(f"combined, to {name}", "combined", sink, count))
    table("lines of a log, everything on, state on disk", HEADER, rows)


@click.command("lines")
@click.option("--lines", "count", default=500_000, show_default=True)
def main(count: int) -> None:
    """What it costs to follow a log."""
    machine()
    run(count)
