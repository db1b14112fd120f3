"""
The whole, end to end: a storm on a real directory, a real broker, a consumer in another process.

    python -m benchmarks endtoend --broker rabbitmq|kafka [--client confluent] [--events 200000] [--outage 10]

It fails unless what the consumer got is dense, in order, and folds to the disk. With an outage the broker is
stopped in the middle, and started again after so many seconds.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click

from benchmarks import files, limits
from benchmarks.report import machine, table
from tests.agent.arrivals import Arrivals
from tests.agent.places import KafkaPlace, Place, RabbitmqPlace
from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.brokers import KafkaBroker, RabbitmqBroker
from tests.waiting import eventually

OPERATIONS = 30_000
"""Of one storm; so many follow each other that there are events enough."""

SECONDS = 600.0


class Campaign(NamedTuple):
    """
    What is to be done.

    Args:
        events: in the stream, at least.
        outage: seconds that the broker is away; 0: never.
        max_bytes: of the journal.
    """

    events: int
    outage: float
    max_bytes: str = "1GiB"


@contextlib.contextmanager
def at_broker(broker: str, client: str, scratch: Path) -> Iterator[Place]:
    """A place on a broker of its own."""
    if broker == "rabbitmq":
        with RabbitmqBroker() as rabbitmq:
            yield RabbitmqPlace(rabbitmq, scratch)
    else:
        with KafkaBroker() as kafka:
            yield KafkaPlace(kafka, scratch, client)


def drive(campaign: Campaign, agent: AgentProcess, trees: Trees, interrupt: Callable[[], None]) -> None:
    """Storms until there are events enough; `interrupt` is called once in the middle."""
    number = 0
    while (done := agent.group()["sequence"]) < campaign.events:
        if campaign.outage and done > campaign.events / 3:
            interrupt()
            campaign = campaign._replace(outage=0)
        number += 1
        trees.storm(f"storm{number}", OPERATIONS, seed=number)


def outage(place: Place, seconds: float) -> None:
    """The broker goes away, and comes back."""
    place.stop_broker()
    time.sleep(seconds)
    place.broker.start()


def run(campaign: Campaign, broker: str, client: str = "kafka-python") -> bool:
    """One campaign with its table; whether all was as promised."""
    with files.memory_directory() as directory, limits.usual_queue(), contextlib.ExitStack() as stack:
        trees, scratch = Trees.made(directory), directory / "scratch"
        scratch.mkdir()
        place = stack.enter_context(at_broker(broker, client, scratch))
        group = {"name": "g", "paths": [str(trees.root)], "sinks": ["sink"]}
        config = {
            "watch_groups": [group],
            "sinks": [place.sink()],
            "state": {"max_bytes": campaign.max_bytes},
        }
        agent = stack.enter_context(AgentProcess(scratch, config)).start()
        started = time.monotonic()
        away = threading.Thread(target=outage, args=(place, campaign.outage))
        if campaign.outage:
            drive(campaign, agent, trees, away.start)
            away.join()
            arrivals = finished(agent, place)
        else:
            with place.consuming() as consuming:
                drive(campaign, agent, trees, away.start)
                agent.stop(SECONDS)
                arrivals = consuming.finished(SECONDS)
        seconds = time.monotonic() - started
        return report(f"{broker} {client if broker == 'kafka' else ''}", campaign, arrivals, trees, seconds)


def finished(agent: AgentProcess, place: Place) -> Arrivals:
    """Wait for the end of the outage's effects; everything, read when the agent has ended."""
    eventually(lambda: agent.delivered("sink"), within=SECONDS, what="everything is delivered", poll=0.5)
    errors = agent.metric("sink_errors_total", sink="sink")
    if not errors:
        sys.exit("there was no outage")
    agent.stop(SECONDS)
    return place.consumed()


def report(name: str, campaign: Campaign, arrivals: Arrivals, trees: Trees, seconds: float) -> bool:
    """Print the table; whether all was as promised."""
    wrong = ""
    try:
        arrivals.assert_dense()
        digests = arrivals.digests()
    except AssertionError as error:
        wrong, digests = str(error) or "not as promised", 0
    differences = arrivals.differences(trees.root)
    overflows = sum(one.event["data"].get("reason") == "overflow" for one in arrivals.fresh)
    header = ("to", "outage s", "events", "repeats", "overflows", "digests", "differences", "seconds")
    row = (name, campaign.outage, len(arrivals.fresh), arrivals.repeats, overflows // 2, digests)
    table("storm, end to end", header, [(*row, len(differences), seconds)])
    for line in [wrong, *differences[:5]]:
        if line:
            click.echo(f"  {line}", err=True)
    return not wrong and not differences


@click.command("endtoend")
@click.option("--broker", type=click.Choice(["rabbitmq", "kafka"]), required=True)
@click.option("--client", type=click.Choice(["kafka-python", "confluent"]), default="kafka-python")
@click.option("--events", default=200_000, show_default=True)
@click.option("--outage", "away", default=0.0, show_default=True, help="seconds")
def main(broker: str, client: str, events: int, away: float) -> None:
    """A storm on a real directory, a real broker, a consumer in another process."""
    machine()
    if not run(Campaign(events, away), broker, client):
        sys.exit("the stream was not as promised")
