"""
A burst of events at full speed into one directory: what is lost, and what it costs.

    python -m benchmarks burst [--files 333334]

Every file is made, written, closed and deleted by a small C program on tmpfs: three events. The kernel's
queue is as the machine has it. CPU is that of the watching process from the begin of the burst to its end.
"""

from __future__ import annotations

import contextlib
import functools
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import click
from confluent_kafka import Consumer, KafkaException, TopicPartition

from benchmarks import files, limits, peers
from benchmarks.measured import Measured, Usage
from benchmarks.report import machine, table
from tests.agent.process import AgentProcess
from tests.brokers import KafkaBroker
from tests.waiting import eventually

KINDS = ("created", "written", "deleted")
TOPIC = "inotify-bridge-burst"
HEADER = ("watcher", "events", "lost", "overflows", "burst s", "to the end s", "µs CPU/event", "peak MB")
SECONDS = 900.0
_KIND = re.compile(rb'"type":"[^"]*\.file\.([a-z_]+)\.v1"')
_NUMBER = re.compile(rb'"sequence":"[0-9a-f]+-([0-9]+)"')

Row = tuple[object, ...]


def row(name: str, count: int, got: int, overflows: int | None, times: Sequence[float], used: Usage) -> Row:
    """One line of the table; `times` are seconds: of the burst, and from its begin to the watcher's end."""
    events = 3 * count
    cost = used.cpu / max(got, 1) * 1e6
    return name, got, events - got, overflows, *times, cost, used.peak / 1e6


def watch(directory: Path, scratch: Path, count: int) -> Row:
    """``inotify-bridge watch --format json > file``."""
    out, log = scratch / "watch.jsonl", scratch / "watch.log"
    command = [sys.executable, "-m", "inotify_bridge", "watch", "--format", "json", str(directory)]
    with out.open("wb") as to, log.open("wb") as err, Measured(command, to, err) as process:
        process.wait_for(out, b".stream.resync_completed.", "watch is ready")
        before, started = process.usage(), time.monotonic()
        seconds = files.burst(directory, count)
        used = process.end().since(before)
        total = time.monotonic() - started
    return _counted(out).row("inotify-bridge watch > file", count, (seconds, total), used)


def to_kafka(broker: KafkaBroker, directory: Path, scratch: Path, count: int) -> Row:
    """``inotify-bridge run`` to Apache Kafka, confluent's client."""
    broker.create_topic(TOPIC)
    sink = {"name": "lake", "type": "kafka", "topic": TOPIC, "client": "confluent"}
    group = {"name": "g", "paths": [str(directory)], "sinks": ["lake"]}
    config = {"watch_groups": [group], "sinks": [{**sink, "bootstrap_servers": [broker.address]}]}
    with AgentProcess(scratch, config).start() as agent:
        eventually(lambda: agent.sink("lake")["connected"], what="connected")
        before, started = Usage.of(agent.pid), time.monotonic()
        seconds = files.burst(directory, count)
        agent.signal(signal.SIGTERM)
        used = _usage_at_the_end(agent).since(before)
        total = time.monotonic() - started
    found = _consumed(broker.plain_address)
    return found.row("inotify-bridge run to Kafka", count, (seconds, total), used)


def bare_pyinotify(directory: Path, scratch: Path, count: int) -> Row | None:
    """pyinotify with a callback that counts."""
    command = peers.pyinotify("count", str(directory))
    if command is None:
        return None
    out = scratch / "pyinotify"
    with out.open("wb") as to, Measured(command, to) as process:
        process.wait_for(out, b"ready", "pyinotify is ready")
        before, started = process.usage(), time.monotonic()
        seconds = files.burst(directory, count)
        used = process.end().since(before)
        total = time.monotonic() - started
    got, overflows = map(int, out.read_text().split()[-2:])
    return row("pyinotify, bare callback", count, got, overflows, (seconds, total), used)


def plain_inotifywait(directory: Path, scratch: Path, count: int) -> Row | None:
    """``inotifywait -m -r > file``."""
    command = peers.inotifywait("-e", "create,close_write,delete", str(directory))
    if command is None:
        return None
    out, log = scratch / "inotifywait", scratch / "inotifywait.log"
    with out.open("wb") as to, log.open("wb") as err, Measured(command, to, err) as process:
        process.wait_for(log, b"Watches established", "inotifywait is ready")
        before, started = process.usage(), time.monotonic()
        seconds = files.burst(directory, count)
        eventually(_quiet(out), within=SECONDS, what="inotifywait has written everything", poll=0.5)
        used = process.end().since(before)
        total = time.monotonic() - started
    # It says nothing about an overflow but in its own words on stderr, and in some releases not even that.
    overflows = log.read_bytes().count(b"overflow") + out.read_bytes().count(b"Q_OVERFLOW")
    got = sum(1 for line in out.open("rb") if b"Q_OVERFLOW" not in line)
    return row("inotifywait -m -r > file", count, got, overflows, (seconds, total), used)


class Count:
    """File events by kind, and resyncs after an overflow."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.overflows = 0

    def add(self, body: bytes) -> None:
        """Look at one message."""
        found = _KIND.search(body)
        if found:
            self.kinds[found[1].decode()] += 1
        self.overflows += b'"reason":"overflow"' in body and b"resync_started" in body

    def row(self, name: str, count: int, times: Sequence[float], used: Usage) -> Row:
        """The line of the table; says on stderr which kind is not complete."""
        if any(self.kinds[kind] != count for kind in KINDS):
            click.echo(f"{name}: {count:,} of each expected, {dict(self.kinds)}", err=True)
        got = sum(self.kinds[kind] for kind in KINDS)
        return row(name, count, got, self.overflows, times, used)


def _counted(out: Path) -> Count:
    """What stands in JSON lines."""
    count = Count()
    with out.open("rb") as lines:
        for line in lines:
            count.add(line)
    return count


def _usage_at_the_end(agent: AgentProcess) -> Usage:
    """What it used, looked at until it is gone."""
    used = Usage.of(agent.pid)
    while agent.alive:
        used = used.later(agent.pid)
        time.sleep(0.02)
    if code := agent.ended():
        sys.exit(f"the agent ended with {code}: {agent.log}")
    return used


def _consumed(address: str) -> Count:
    """What stands in the topic, each number once."""
    settings = {"bootstrap.servers": address, "group.id": TOPIC, "enable.auto.commit": False}
    consumer = Consumer({**settings, "log_level": 0})
    _, end = consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=30)
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    count, seen, at = Count(), 0, 0
    while at < end:
        for message in consumer.consume(10_000, timeout=1.0):
            if message.error() is not None:
                raise KafkaException(message.error())
            body, at = message.value() or b"", (message.offset() or 0) + 1
            found = _NUMBER.search(body)
            if found is None or int(found[1]) != seen + 1:
                continue  # it came again
            seen += 1
            count.add(body)
    consumer.close()
    return count


def _quiet(file: Path) -> Callable[[], bool]:
    """Whether a file has not grown since the last look."""
    last = [-1]

    def quiet() -> bool:
        before, last[0] = last[0], file.stat().st_size
        return last[0] == before

    return quiet


def run(count: int, kafka: bool) -> None:
    """All watchers, one after the other."""
    rows: list[Row | None] = []
    with contextlib.ExitStack() as stack:
        contenders: list[Callable[[Path, Path, int], Row | None]] = [watch, bare_pyinotify, plain_inotifywait]
        if kafka:
            broker = stack.enter_context(KafkaBroker())
            contenders.append(functools.partial(to_kafka, broker))
        queue = stack.enter_context(limits.usual_queue())
        for contender in contenders:
            with files.memory_directory() as watched, files.memory_directory() as scratch:
                rows.append(contender(watched, scratch, count))
    title = f"burst of {3 * count:,} events at full speed, kernel queue of {queue:,}"
    table(title, HEADER, [one for one in rows if one])


@click.command("burst")
@click.option("--files", "count", default=333_334, show_default=True)
@click.option("--kafka/--no-kafka", default=True, show_default=True)
def main(count: int, kafka: bool) -> None:
    """A burst of events at full speed into one directory."""
    machine()
    run(count, kafka)
