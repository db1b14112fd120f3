"""The power goes while the agent runs: the store is never behind what the broker has."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.agent.arrivals import Arrivals
from tests.agent.conftest import scratch, trees
from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.brokers import RabbitmqBroker
from tests.failpoints import points
from tests.failpoints.verdict import broken
from tests.failpoints.witness import BrokerDestination, Destination, FileDestination, Left, Position, Witness
from tests.powerloss.power import Disk, disk
from tests.waiting import eventually

__all__ = ["disk", "scratch", "trees"]

pytestmark = [pytest.mark.namespaces, pytest.mark.timeout(600)]

CUTS = 20
FAILURES = 3
RATE = 250
SOME = 40


class Cut(NamedTuple):
    """
    One cut.

    Args:
        published: the highest position that a consumer had, before the cut.
        left: what is in the store of the cut.
        published_by_then: the highest position that a consumer had, after the cut.
    """

    published: Position
    left: Left
    published_by_then: Position

    @property
    def lost(self) -> int:
        """How many messages that were published are not in the store."""
        epoch, last = self.left.end
        return max(0, self.published[1] - (last if epoch == self.published[0] else 0))


class Running:
    """An agent whose state directory is on the disk, publishing to a place that is not, under load."""

    def __init__(
        self, agent: AgentProcess, disk: Disk, witness: Witness, storm: subprocess.Popen[bytes]
    ) -> None:
        self.witness = witness
        self._agent = agent
        self._disk = disk
        self._storm = storm
        self._recorded: Position = ("", 0)

    def more(self) -> None:
        """Wait until some more has been published than was, or was recorded at the last cut."""
        epoch, number = max(self.witness.look(), self._recorded)
        eventually(
            lambda: self.witness.look() >= (epoch, number + SOME), within=120, what="more is published"
        )

    def cut(self) -> Cut:
        """Cut the power of a copy; the agent goes on. The order of the three looks is the test."""
        published = self.witness.look()
        image = self._disk.cut()
        by_then = self.witness.look()
        with self._disk.opened(image) as at:
            left = Left.read(at / "state")
        assert left is not None, "no store is left"
        self._recorded = left.end
        return Cut(published, left, by_then)

    def fail(self) -> None:
        """Cut the power of the agent and its disk, and start both again; `more` shows that it is back."""
        self._agent.kill()
        self._disk.fail()
        self._agent.start(ready=False)

    def finish(self) -> Arrivals:
        """End the storm and the agent; everything that came."""
        self._storm.terminate()
        self._storm.wait()
        self._agent.stop()
        left = Left.read(self._disk.mounts.at(self._disk.path) / "state")
        assert left is not None
        eventually(lambda: self.witness.look() == left.end, within=60, what="all of it has come")
        return Arrivals(self.witness.all)


@contextlib.contextmanager
def running(
    disk: Disk, trees: Trees, scratch: Path, destination: Destination, mutant: str = ""
) -> Iterator[Running]:
    """The agent, ready, in a storm; both are ended with the context."""
    config = {
        "watch_groups": [{"name": "g", "paths": [os.fspath(trees.root)], "sinks": ["sink"]}],
        "sinks": [destination.sink("sink")],
        "state": {"dir": os.fspath(disk.path / "state")},
        "shutdown_timeout": "60s",
    }
    agent = AgentProcess(scratch, config, prefix=disk.mounts.prefix)
    if mutant:
        agent.patch, agent.environment = "tests.failpoints.points:prepare", {points.MUTANT: mutant}
    with destination.witnessed() as witness, agent:
        agent.start()
        with trees.storming("storm", rate=RATE) as storm:
            yield Running(agent, disk, witness, storm)


@pytest.fixture(params=["jsonl", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def destination(request: pytest.FixtureRequest, scratch: Path) -> Destination:
    """A file in another file system, and a real broker."""
    if request.param == "jsonl":
        return FileDestination(scratch)
    broker: RabbitmqBroker = request.getfixturevalue("rabbitmq")
    broker.start()
    return BrokerDestination(broker, scratch)


def test_nothing_published_is_lost(disk: Disk, trees: Trees, scratch: Path, destination: Destination) -> None:
    """In no cut is the store behind what was published before it, or its watermark ahead of what was."""
    cuts: list[Cut] = []
    with running(disk, trees, scratch, destination) as run:
        for _ in range(CUTS):
            run.more()
            cuts.append(run.cut())
    assert [cut for cut in cuts if cut.lost] == []
    if isinstance(destination, FileDestination):  # of a broker's messages the last are still under way to us
        assert [cut for cut in cuts if cut.left.watermarks["sink"] > cut.published_by_then] == []
    assert len({cut.left.end for cut in cuts}) == CUTS, "nothing was written between two cuts"


def test_goes_on_after_a_failure(disk: Disk, trees: Trees, scratch: Path, destination: Destination) -> None:
    """After power failures the stream goes on in its epoch: no hole, no number twice, replay is the disk."""
    with running(disk, trees, scratch, destination) as run:
        for _ in range(FAILURES):
            run.more()
            run.fail()
        run.more()
        arrivals = run.finish()
    assert broken(arrivals, trees.root) == []
    assert len({one.position[0] for one in arrivals.all}) == 1
    assert arrivals.kinds().count("stream.started") == FAILURES + 1


def test_a_store_that_does_not_fsync_is_caught(disk: Disk, trees: Trees, scratch: Path) -> None:
    """With ``synchronous = NORMAL`` the same cuts show published messages that the store has lost."""
    lost: list[int] = []
    with running(disk, trees, scratch, FileDestination(scratch), mutant="synchronous NORMAL") as run:
        for _ in range(CUTS):
            run.more()
            lost.append(run.cut().lost)
    assert any(lost), lost
