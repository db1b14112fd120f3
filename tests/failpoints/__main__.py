"""The long form: ``python -m tests.failpoints --point all --seeds 5 --broker rabbitmq``."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import click

from tests.agent.trees import Trees
from tests.brokers import KafkaBroker, RabbitmqBroker
from tests.failpoints.campaign import Campaign, Result
from tests.failpoints.points import BY_NAME, POINTS, Point
from tests.failpoints.witness import BrokerDestination, FileDestination

AnyBroker: TypeAlias = RabbitmqBroker | KafkaBroker

_MEMORY = Path("/dev/shm")


class Row(NamedTuple):
    """What is told of one point: all its campaigns together."""

    point: str
    wanted: int
    results: list[Result]

    @property
    def kills(self) -> int:
        """How many really happened at this point."""
        return sum(result.kills[self.point] for result in self.results)

    @property
    def wrong(self) -> list[str]:
        """Everything that is not as promised; a kill that did not happen too."""
        found = [line for result in self.results for line in result.wrong]
        return found if self.kills >= self.wanted else [*found, f"{self.kills} kills of {self.wanted}"]

    def __str__(self) -> str:
        repeats = sum(result.repeats for result in self.results)
        messages = sum(result.messages for result in self.results)
        epochs = sum(result.epochs for result in self.results)
        return f"{self.point:32} {self.kills:5} {messages:9} {repeats:8} {epochs:7} {len(self.wrong):12}"


@click.command()
@click.option("--point", "names", multiple=True, default=["all"], help="a name, or all; may be given again")
@click.option("--seeds", default=3, help="campaigns a point, each with another storm")
@click.option("--first-seed", default=1)
@click.option("--kills", default=3, help="times the agent is killed in a campaign, each at another pass")
@click.option("--rate", default=500.0, help="operations a second")
@click.option("--broker", type=click.Choice(["rabbitmq", "kafka", "jsonl"]), default="jsonl")
@click.option("--keep", type=click.Path(path_type=Path), help="a directory for the logs of what went wrong")
def main(
    names: Sequence[str], seeds: int, first_seed: int, kills: int, rate: float, broker: str, keep: Path | None
) -> None:
    """Kill the agent at the points; the exit code is 1 where something is not as promised."""
    points = POINTS if "all" in names else tuple(BY_NAME[name] for name in names)
    failed = False
    click.echo(f"{'point':32} {'kills':>5} {'messages':>9} {'repeats':>8} {'epochs':>7} {'differences':>12}")
    with _running(broker) as server:
        for point in points:
            row = Row(point.name, seeds * kills, [])
            for seed in range(first_seed, first_seed + seeds):
                row.results.append(_campaign(server, point, seed, kills, rate, keep))
            click.echo(f"{row}")
            for line in row.wrong:
                failed = True
                click.echo(f"    {line}")
    raise SystemExit(failed)


@contextlib.contextmanager
def _running(name: str) -> Iterator[AnyBroker | None]:
    if name == "jsonl":
        yield None
        return
    with RabbitmqBroker() if name == "rabbitmq" else KafkaBroker() as broker:
        click.echo(f"{broker.product} {broker.version}")
        yield broker


def _campaign(
    broker: AnyBroker | None,
    point: Point,
    seed: int,
    kills: int,
    rate: float,
    keep: Path | None,
) -> Result:
    above = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    with (
        tempfile.TemporaryDirectory(prefix="inotify-bridge-failpoints-") as scratch,
        tempfile.TemporaryDirectory(prefix="inotify-bridge-failpoints-", dir=above) as watched,
    ):
        trees = Trees.made(Path(watched))
        destination = BrokerDestination(broker, Path(scratch)) if broker else FileDestination(Path(scratch))
        result = Campaign(trees, Path(scratch), destination, seed, rate).run([point] * kills)
        if keep is not None and result.wrong:
            shutil.copytree(scratch, keep / f"{point.name.replace(' ', '-')}-{seed}-{time.time_ns()}")
        return result


if __name__ == "__main__":
    # SIGTERM ends it as Ctrl-C does: brokers and agents are still ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
