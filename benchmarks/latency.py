"""
From the close of a file to its receipt by a consumer, at a steady rate, and the CPU that it takes.

    python -m benchmarks latency [--rate 1000] [--seconds 20]

Files are written on tmpfs and deleted a second later: three events each. The state directory is on the disk
of the temporary directory. The consumer is the same process for all.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import pika

from benchmarks import files, limits, peers
from benchmarks.measured import Measured, Usage
from benchmarks.report import machine, table
from tests.agent.places import KafkaPlace, Place, RabbitmqPlace
from tests.agent.process import AgentProcess
from tests.brokers import KafkaBroker, RabbitmqBroker
from tests.waiting import eventually

HEADER = ("sender", "files", "lost", "p50 ms", "p99 ms", "max ms", "CPU % of a core")
LOST_SECONDS = 15.0
PUSHED = 200
_WRITTEN = re.compile(rb"(\d+) .*(?:file\.written\.v1|CLOSE_WRITE)")
_NAME = re.compile(rb'[/"](f\d{7})\b')

Cpu = Callable[[], float]


class Load(NamedTuple):
    """Files a second, for so many seconds."""

    rate: float
    seconds: float

    @property
    def files(self) -> int:
        """Files in all."""
        return int(self.rate * self.seconds)


@contextlib.contextmanager
def agent(directory: Path, scratch: Path, place: Place) -> Iterator[Cpu]:
    """inotify-bridge with everything on."""
    with tempfile.TemporaryDirectory(prefix="inotify-bridge-bench-") as state:
        group = {"name": "g", "paths": [str(directory)], "sinks": ["sink"]}
        config: dict[str, Any] = {"watch_groups": [group], "sinks": [place.sink()], "state": {"dir": state}}
        with AgentProcess(scratch, config).start() as process:
            eventually(lambda: process.sink("sink")["connected"], what="connected")
            yield lambda: Usage.of(process.pid).cpu
            process.stop()


@contextlib.contextmanager
def pyinotify_pika(directory: Path, scratch: Path, place: RabbitmqPlace) -> Iterator[Cpu | None]:
    """pyinotify and pika, without confirms: what tutorials have."""
    command = peers.pyinotify("pika", str(directory), place.broker.url, place.name)
    if command is None:
        yield None
        return
    out = scratch / "pyinotify"
    with out.open("wb") as to, Measured(command, to) as process:
        process.wait_for(out, b"ready", "pyinotify is ready")
        yield lambda: process.usage().cpu
        process.end()


@contextlib.contextmanager
def inotifywait_kcat(directory: Path, scratch: Path, place: KafkaPlace) -> Iterator[Cpu | None]:
    """``inotifywait -m -r | kcat -P``: what scripts have."""
    command = peers.inotifywait("-e", "create,close_write,delete", "--format", "%e %w%f", str(directory))
    kcat = peers.kcat("-P", "-b", place.broker.address, "-t", place.name, "-X", "linger.ms=0")
    if command is None or kcat is None:
        yield None
        return
    log = scratch / "inotifywait.log"
    with (
        subprocess.Popen(kcat, stdin=subprocess.PIPE) as sender,
        log.open("wb") as err,
        Measured(["stdbuf", "-oL", *command], sender.stdin, err) as process,
    ):
        process.wait_for(log, b"Watches established", "inotifywait is ready")
        yield lambda: process.usage().cpu + Usage.of(sender.pid).cpu
        process.end()


def measure(name: str, place: Place, sending: Callable[..., Any], load: Load) -> tuple[object, ...] | None:
    """One sender: a line of the table."""
    with (
        files.memory_directory() as directory,
        files.memory_directory() as scratch,
        sending(directory, scratch, place) as cpu,
        place.consuming() as consuming,
    ):
        if cpu is None:
            return None
        _push(directory, "before")
        eventually(lambda: b"before" in _tail(consuming.file), within=60, what="the first file", poll=0.1)
        before = cpu()
        closed = files.paced(directory, load.files, load.rate)
        used = cpu() - before
        _push(directory, "after")
        _wait_for(max(closed).encode(), consuming.file)
        received = _received(consuming.file)
    milliseconds = sorted((received[one] - at) / 1e6 for one, at in closed.items() if one in received)
    centiles = statistics.quantiles(milliseconds, n=100)
    lost = load.files - len(milliseconds)
    share = used / load.seconds * 100
    return name, load.files, lost, centiles[49], centiles[98], milliseconds[-1], share


def _push(directory: Path, prefix: str) -> None:
    """
    Files that do not count. The first wait for connections, and for code that is loaded when it is needed;
    those at the end push out what a sender keeps until a block is full, as kcat does with its input.
    """
    for number in range(PUSHED):
        (directory / f"{prefix}{number}").write_text("x")


def _wait_for(last: bytes, out: Path) -> None:
    """Until the last file has come; where it never does something is lost, and the table says so."""
    with contextlib.suppress(AssertionError):
        eventually(lambda: last in out.read_bytes(), within=LOST_SECONDS, what="the last file", poll=0.5)


def _tail(out: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError), out.open("rb") as file:
        file.seek(max(0, out.stat().st_size - (1 << 16)))
        return file.read()
    return b""


def _received(out: Path) -> dict[str, int]:
    """When each file's ``written`` came first, Unix nanoseconds."""
    found: dict[str, int] = {}
    with out.open("rb") as lines:
        for line in lines:
            written, name = _WRITTEN.match(line), _NAME.search(line)
            if written and name:
                found.setdefault(name[1].decode(), int(written[1]))
    return found


def _rabbitmq(load: Load, scratch: Path) -> list[tuple[object, ...] | None]:
    with RabbitmqBroker() as broker:
        rows = [measure("inotify-bridge to RabbitMQ", RabbitmqPlace(broker, scratch), agent, load)]
        place = RabbitmqPlace(broker, scratch)
        connection = pika.BlockingConnection(pika.URLParameters(broker.url))
        connection.channel().queue_declare(place.name, durable=True, arguments={"x-queue-type": "quorum"})
        connection.close()
        rows.append(measure("pyinotify, pika, no confirms", place, pyinotify_pika, load))
    return rows


def _kafka(load: Load, scratch: Path) -> list[tuple[object, ...] | None]:
    with KafkaBroker() as broker:
        rows = [
            measure(f"inotify-bridge to Kafka, {client}", KafkaPlace(broker, scratch, client), agent, load)
            for client in ("kafka-python", "confluent")
        ]
        place = KafkaPlace(broker, scratch)
        rows.append(measure("inotifywait | kcat", place, inotifywait_kcat, load))
    return rows


def run(load: Load, brokers: Sequence[str] = ("rabbitmq", "kafka")) -> None:
    """All senders, one after the other."""
    rows: list[tuple[object, ...] | None] = []
    with limits.usual_queue(), files.memory_directory() as scratch:
        if "rabbitmq" in brokers:
            rows += _rabbitmq(load, scratch)
        if "kafka" in brokers:
            rows += _kafka(load, scratch)
    title = f"close to receipt, {load.rate:g} files/s for {load.seconds:g} s, three events each"
    table(title, HEADER, [one for one in rows if one])


@click.command("latency")
@click.option("--rate", default=1000.0, show_default=True, help="files a second")
@click.option("--seconds", default=20.0, show_default=True)
@click.option("--broker", type=click.Choice(["rabbitmq", "kafka"]), help="default: both")
def main(rate: float, seconds: float, broker: str | None) -> None:
    """From the close of a file to its receipt by a consumer, and the CPU that it takes."""
    machine()
    if seconds * rate < 100:
        sys.exit("too few files for percentiles")
    run(Load(rate, seconds), (broker,) if broker else ("rabbitmq", "kafka"))
