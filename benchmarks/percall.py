"""
CPU of one event, from the kernel's bytes to the durable journal, step by step.

    python -m benchmarks percall [--rounds 40]

Every round fills the kernel's queue with 5,000 files, made, written, closed and deleted: then the reading and
all after it is timed, in one thread. The peer does the same with a callback that only counts.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import click

from benchmarks import files, peers
from benchmarks.report import machine, table
from inotify_bridge.capture.filesystem import KernelFileSystem
from inotify_bridge.capture.inotify import Inotify
from inotify_bridge.capture.model import Batch
from inotify_bridge.capture.reconciler import Options, Reconciler, Root
from inotify_bridge.events.envelope import Encoder
from inotify_bridge.outbox.store import Store
from inotify_bridge.sinks.base import Message

FILES = 5_000
"""Three records each: what a kernel queue of 16,384 takes."""

BATCH_BYTES = 1 << 18
"""As the recorder takes it."""

Step = Literal["change", "encode", "journal"]


class Figure(NamedTuple):
    """Of one measurement: events, and CPU microseconds for each of them: the median round."""

    events: int
    micros: float


class Pipeline:
    """
    One group's way from bytes to journal, without threads.

    Args:
        database: None keeps it where no commit waits for a disk.
        until: the last step that is done.
    """

    def __init__(self, directory: Path, database: Path | None, until: Step) -> None:
        self._until = until
        self._inotify = Inotify()
        self._store = Store.open(database, max_bytes=1 << 40)
        self._store.mint_epoch("benchmark")
        roots = [Root(os.fsencode(directory))]
        self._reconciler = Reconciler(KernelFileSystem(self._inotify), self._store, roots, Options())
        self._encoder = Encoder("inotify://host/group", "group", self._store.epoch)
        self._reconciler.start()
        self._after(self._reconciler.close_batch(backlog=False))

    def round(self) -> int:
        """Take everything that the kernel has; how many events it made."""
        events = 0
        while data := self._inotify.read():
            for start in range(0, len(data), BATCH_BYTES):
                # Names of one length: a record is never cut.
                piece = data[start : start + BATCH_BYTES]
                self._reconciler.feed(piece, time.monotonic(), time.time_ns())
                more = True
                while more:
                    batch = self._reconciler.close_batch(backlog=True)
                    self._after(batch)
                    events += len(batch.items)
                    more = self._reconciler.behind
        return events

    def settle(self) -> None:
        """What is only done when nothing more waits, and what an agent prunes when it is delivered."""
        self._reconciler.tick()
        self._after(self._reconciler.close_batch(backlog=False))

    def close(self) -> None:
        """End it."""
        self._store.close()
        self._inotify.close()

    def _after(self, batch: Batch) -> None:
        if self._until == "change":
            return
        records: list[bytes] = []
        sequence = self._store.last_sequence
        for item in batch.items:
            sequence += 1
            kind, key, body = self._encoder.encode(item, sequence)
            records.append(Message(sequence, item.time / 1e9, kind, key, body).pack())
        if self._until == "journal":
            self._store.commit(records, batch.writes)


def measure(rounds: int, until: Step, database: Path | None = None, keep: bool = False) -> Figure:
    """So many rounds; with `keep` the files stay: two events each, and a row in the index."""
    with files.memory_directory() as directory:
        pipeline = Pipeline(directory, database, until)
        events, costs = 0, []
        for number in range(rounds):
            _fill(directory, number, keep)
            started = time.process_time()
            got = pipeline.round()
            costs.append((time.process_time() - started) / got * 1e6)
            events += got
            pipeline.settle()
        pipeline.close()
    return Figure(events, statistics.median(costs))


def bare_pyinotify(rounds: int) -> Figure | None:
    """The same events to pyinotify's callback."""
    with files.memory_directory() as directory:
        command = peers.pyinotify("percall", str(directory), str(rounds), str(FILES))
        if command is None:
            return None
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    events, _, seconds = done.stdout.split()[-3:]
    return Figure(int(events), float(seconds) / int(events) * 1e6)


def _fill(directory: Path, number: int, keep: bool) -> None:
    for one in range(FILES):
        path = directory / f"f{number:03d}{one:04d}"
        file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(file, b"x")
        os.close(file)
        if not keep:
            os.unlink(path)


@contextmanager
def _on_disk() -> Iterator[Path]:
    """A database on the disk of the temporary directory."""
    with tempfile.TemporaryDirectory(prefix="inotify-bridge-bench-") as directory:
        yield Path(directory) / "group.db"


def run(rounds: int) -> None:
    """All steps and the peer."""
    with _on_disk() as gone, _on_disk() as kept:
        contenders: dict[str, Callable[[], Figure | None]] = {
            "bytes to changes": lambda: measure(rounds, "change"),
            "+ envelope": lambda: measure(rounds, "encode"),
            "+ journal in memory": lambda: measure(rounds, "journal"),
            "+ journal on disk, fsynced": lambda: measure(rounds, "journal", gone),
            "the same, files that stay": lambda: measure(rounds, "journal", kept, keep=True),
            "pyinotify, bare callback": lambda: bare_pyinotify(rounds),
        }
        found = {name: contender() for name, contender in contenders.items()}
    rows = [(name, figure.events, figure.micros) for name, figure in found.items() if figure]
    table("CPU of one event, one thread", ("step", "events", "µs CPU/event"), rows)


@click.command("percall")
@click.option("--rounds", default=40, show_default=True)
def main(rounds: int) -> None:
    """CPU of one event, from the kernel's bytes to the durable journal."""
    machine()
    run(rounds)
