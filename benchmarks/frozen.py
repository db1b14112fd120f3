"""
A broker that is frozen for minutes under load: what the agent holds meanwhile, and what comes afterwards.

    python -m benchmarks frozen --broker rabbitmq|kafka [--seconds 600] [--max-bytes 4GiB|256MiB]

The broker is stopped by a signal, so that it stays connected and answers nothing. Where the journal has room
for everything, every event arrives after the thaw; where it has not, the kernel's queue overflows, and a
resync tells what is different. In both cases a consumer in another process holds what is on the disk in the
end. The tree is in memory, the state directory on the disk of the temporary directory.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import click

from benchmarks import files, limits
from benchmarks.endtoend import at_broker
from benchmarks.measured import Usage
from benchmarks.report import machine, table
from inotify_bridge.units import parse_bytes
from tests.agent.places import Place
from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.fold import differences, disk
from tests.soak.oracle import Oracle
from tests.waiting import eventually

RSS_BYTES = 300e6
"""What the agent may take, however long the broker is away."""

SLACK_BYTES = 128 * 1024**2
"""Of the state directory beyond `max_bytes`: the index, and what the database has not checkpointed."""

SECONDS = 3600.0
_FILE_EVENT = b'"type":"io.inotify-bridge.file.'
_TOKEN = "frozen"
_DIRECTORIES = 100
_STAYS = 50
"""One file of so many is not deleted."""

_KEPT = 1000
"""The others are when so many more were written."""


class Campaign(NamedTuple):
    """
    What is to be done.

    Args:
        seconds: that the broker is frozen.
        rate: events a second that are made meanwhile.
        max_bytes: of the journal.
        queue_bytes: of kernel records that the agent holds before it leaves them to the kernel.
    """

    seconds: float
    rate: float
    max_bytes: str
    queue_bytes: str = "64MiB"


class Sampler:
    """
    Looks every second at what an agent takes, and tells it every half minute, for a `with` statement.

    Attributes:
        rss: most bytes resident, as the kernel has counted them.
        state: most bytes of the state directory on its disk.
    """

    def __init__(self, pid: int, directory: Path) -> None:
        self.rss = self.state = 0
        self._pid = pid
        self._directory = directory
        self._begun = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for turn in range(sys.maxsize):
            usage, state = Usage.of(self._pid), _bytes_of(self._directory)
            self.rss, self.state = max(self.rss, usage.peak), max(self.state, state)
            if turn % 30 == 0:
                passed = f"{time.monotonic() - self._begun:6.0f} s"
                click.echo(f"{passed}  RSS {usage.rss / 1e6:.0f} MB  state {state / 1e6:,.0f} MB", err=True)
            if self._over.wait(1.0):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()


class Outcome(NamedTuple):
    """
    What came of a campaign.

    Args:
        made: events that the files were good for.
        arrived: of files, each once.
        overflows: of the kernel's queue.
        seconds: from the thaw until all was confirmed.
    """

    made: int
    arrived: int
    overflows: int
    seconds: float
    oracle: Oracle
    differences: list[str]
    sampler: Sampler

    def wrong(self, max_bytes: int) -> Iterator[str]:
        """What was not as promised, in words."""
        yield from self.oracle.wrong[:5]
        yield from self.differences[:5]
        if holes := self.oracle.holes():
            yield f"{holes[0]} came, and something before it never did"
        if not self.overflows and self.arrived != self.made:
            yield f"{self.made:,} events were made, {self.arrived:,} arrived"
        if self.overflows and self.oracle.resyncs["overflow"] != self.oracle.overflows:
            yield "a resync was not completed"
        if self.overflows and not self.oracle.overflows:
            yield "no resync after an overflow"
        if self.sampler.rss > RSS_BYTES:
            yield "the agent took more memory than it may"
        if self.sampler.state > max_bytes + SLACK_BYTES:
            yield "the state directory grew beyond its bound"


def run(campaign: Campaign, broker: str, client: str = "kafka-python") -> bool:
    """One campaign with its table; whether all was as promised."""
    with files.memory_directory() as directory, _disk_directory() as scratch:
        trees = Trees.made(directory)
        for number in range(_DIRECTORIES):
            (trees.root / f"d{number:02d}").mkdir()
        with at_broker(broker, client, scratch) as place:
            outcome = _carried_out(campaign, place, trees, scratch)
        name = f"{broker} {client if broker == 'kafka' else ''}".rstrip()
        return _report(name, campaign, outcome, _file_system(directory), _file_system(scratch))


def _carried_out(campaign: Campaign, place: Place, trees: Trees, scratch: Path) -> Outcome:
    state = scratch / "state"
    with AgentProcess(scratch, _config(campaign, place, trees, state)) as agent:
        with limits.usual_queue():  # an instance keeps the limit that it was made with
            agent.start()
        eventually(lambda: agent.group()["consistent"] and agent.delivered("sink"), what="the first snapshot")
        with Sampler(agent.pid, state) as sampler:
            before = agent.sink("sink")["acked_sequence"]
            place.broker.freeze()
            made = _made(trees.root, campaign)
            if agent.sink("sink")["acked_sequence"] > before or agent.delivered("sink"):
                sys.exit("the broker was not frozen")
            place.broker.thaw()
            thawed = time.monotonic()
            eventually(
                lambda: agent.sink("sink")["acked_sequence"] > before,
                within=SECONDS,
                what="confirmations",
                poll=0.2,
            )
            with place.consuming() as consuming:
                eventually(lambda: _quiet(agent), within=SECONDS, what="all is delivered", poll=0.5)
                seconds = time.monotonic() - thawed
                overflows = int(agent.metric("kernel_queue_overflows_total"))
                agent.stop(SECONDS)
                consuming.ended(SECONDS)
        oracle, arrived = _judged(consuming.file)
        found = differences(oracle.entries(), disk(os.fsencode(trees.root)))
        return Outcome(made, arrived, overflows, seconds, oracle, found, sampler)


def _config(campaign: Campaign, place: Place, trees: Trees, state: Path) -> dict[str, Any]:
    return {
        "watch_groups": [{"name": "g", "paths": [os.fspath(trees.root)], "sinks": ["sink"]}],
        "sinks": [place.sink()],
        "state": {"dir": os.fspath(state), "max_bytes": campaign.max_bytes},
        "capture": {"queue_max_bytes": campaign.queue_bytes},
        "http": {"listen": "127.0.0.1:0", "admin_token": _TOKEN},
    }


def _quiet(agent: AgentProcess) -> bool:
    """Whether all that has happened is recorded and confirmed."""
    group = agent.group()
    if group["state"] != "running" or not group["consistent"] or not agent.delivered("sink"):
        return False
    return agent.post("/-/barrier", _TOKEN)[0] == 200 and agent.delivered("sink")


def _made(root: Path, campaign: Campaign) -> int:
    """Files at a steady rate by another process, to its end; the events that they are good for."""
    arguments = [os.fspath(root), str(campaign.seconds), str(campaign.rate)]
    command = [sys.executable, "-m", "benchmarks.frozen", *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _make(root: str, seconds: float, rate: float) -> int:
    """Make files, write them, delete most of them; how many events that is."""
    os.chdir(root)
    made, number, leaving = 0, 0, deque[str]()
    started = time.monotonic()
    while made < seconds * rate:
        if (ahead := made / rate - (time.monotonic() - started)) > 0:
            time.sleep(ahead)
        name = f"d{number % _DIRECTORIES:02d}/file-{number:010d}.data"
        file = os.open(name, os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(file, b"x" * (number % 100))
        os.close(file)
        made, number = made + 2, number + 1
        if number % _STAYS:
            leaving.append(name)
        if len(leaving) > _KEPT:
            os.unlink(leaving.popleft())
            made += 1
    return made


def _judged(file: Path) -> tuple[Oracle, int]:
    """What a consumer has written down, message after message; how many events of files, each once."""
    oracle, arrived = Oracle(), 0
    with file.open("rb") as lines:
        for line in lines:
            body, at = line.partition(b" ")[2].rstrip(b"\n"), oracle.at
            oracle.take(body)
            arrived += oracle.at != at and _FILE_EVENT in body
    return oracle, arrived


def _bytes_of(directory: Path) -> int:
    """On the disk; a file that goes meanwhile has none."""
    total = 0
    for entry in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += entry.stat().st_blocks * 512
    return total


@contextlib.contextmanager
def _disk_directory() -> Iterator[Path]:
    """An empty directory on a real disk."""
    with tempfile.TemporaryDirectory(prefix="inotify-bridge-bench-", dir="/var/tmp") as directory:
        yield Path(directory)


def _file_system(path: Path) -> str:
    command = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", os.fspath(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[
        -1
    ]  # the topmost mount


def _report(name: str, campaign: Campaign, outcome: Outcome, tree: str, state: str) -> bool:
    """Print the table; whether all was as promised."""
    oracle, took = outcome.oracle, outcome.sampler
    header = (
        "to",
        "max_bytes",
        "made",
        "arrived",
        "recorded",
        "RSS peak MB",
        "state peak MB",
        "overflows",
        "resyncs",
        "delivered s",
        "repeats",
        "differences",
    )
    row = (
        name,
        campaign.max_bytes,
        outcome.made,
        outcome.arrived,
        oracle.at[1],
        took.rss / 1e6,
        took.state / 1e6,
        outcome.overflows,
        oracle.resyncs["overflow"],
        outcome.seconds,
        oracle.repeats,
        len(outcome.differences),
    )
    title = (
        f"frozen for {campaign.seconds:g} s at {campaign.rate:g} events/s, tree on {tree}, state on {state}"
    )
    table(title, header, [row])
    wrong = list(outcome.wrong(parse_bytes(campaign.max_bytes)))
    for line in wrong:
        click.echo(f"  {line}", err=True)
    return not wrong


@click.command("frozen")
@click.option("--broker", type=click.Choice(["rabbitmq", "kafka"]), required=True)
@click.option("--client", type=click.Choice(["kafka-python", "confluent"]), default="kafka-python")
@click.option("--seconds", default=600.0, show_default=True)
@click.option("--rate", default=5000.0, show_default=True, help="events a second")
@click.option("--max-bytes", default="4GiB", show_default=True, help="of the journal")
@click.option("--queue-bytes", default="64MiB", show_default=True, help="capture.queue_max_bytes")
def main(broker: str, client: str, seconds: float, rate: float, max_bytes: str, queue_bytes: str) -> None:
    """A broker that is frozen under load: what is held meanwhile, and what comes afterwards."""
    machine()
    if not run(Campaign(seconds, rate, max_bytes, queue_bytes), broker, client):
        sys.exit("the stream was not as promised")


if __name__ == "__main__":
    directory, wanted_seconds, wanted_rate = sys.argv[1:]
    sys.stdout.write(str(_make(directory, float(wanted_seconds), float(wanted_rate))))
