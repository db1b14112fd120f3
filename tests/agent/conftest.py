"""Trees, brokers and agents for the tests of the whole."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.agent.logs import HTTP, Logs
from tests.agent.places import KafkaPlace, Place, RabbitmqPlace
from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.brokers import KafkaBroker, RabbitmqBroker

Launch: TypeAlias = Callable[..., AgentProcess]


@pytest.fixture
def trees(tmp_path: Path) -> Iterator[Trees]:
    """A directory to watch and one beside it, in memory where there is room for that."""
    above = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path
    directory = Path(tempfile.mkdtemp(prefix="inotify-bridge-", dir=above))
    yield Trees.made(directory)
    subprocess.run(["rm", "-rf", "--", os.fspath(directory)], check=True)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """For what agents and consumers write; outside every watched directory."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    return directory


@pytest.fixture
def launch(trees: Trees, scratch: Path) -> Iterator[Launch]:
    """
    Makes an agent: ``launch(sinks=[…], group={…}, **config)``; killed at the end where it still runs.

    One group ``g`` watches the root of `trees` for all sinks, unless `watch_groups` says otherwise.
    """
    agents: list[AgentProcess] = []

    def make(sinks: list[dict[str, Any]], group: dict[str, Any] | None = None, **config: Any) -> AgentProcess:
        names = [sink["name"] for sink in sinks]
        wanted = {"name": "g", "paths": [os.fspath(trees.root)], "sinks": names, **(group or {})}
        directory = scratch / f"agent{len(agents)}"
        directory.mkdir()
        agents.append(AgentProcess(directory, {"watch_groups": [wanted], "sinks": sinks, **config}))
        return agents[-1]

    yield make
    for agent in agents:
        agent.kill()


@pytest.fixture
def rabbitmq_place(rabbitmq: RabbitmqBroker, scratch: Path) -> Iterator[RabbitmqPlace]:
    """A queue on the RabbitMQ that all tests share."""
    rabbitmq.start()
    place = RabbitmqPlace(rabbitmq, scratch)
    yield place
    rabbitmq.thaw()
    rabbitmq.start()
    place.close()


@pytest.fixture
def kafka_place(kafka: KafkaBroker, scratch: Path) -> KafkaPlace:
    """A topic on the Apache Kafka that all tests share."""
    kafka.start()
    return KafkaPlace(kafka, scratch)


@pytest.fixture(
    params=[
        pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
        pytest.param("kafka-python", marks=pytest.mark.kafka),
        pytest.param("confluent", marks=pytest.mark.kafka),
    ]
)
def place(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Place]:
    """Every broker and every client in turn."""
    if request.param == "rabbitmq":
        yield request.getfixturevalue("rabbitmq_place")
        return
    yield KafkaPlace(request.getfixturevalue("kafka"), scratch, client=request.param)


@pytest.fixture
def follow(launch: Launch, trees: Trees, scratch: Path) -> Callable[..., Logs]:
    """Makes an agent that follows the logs of the tree: ``follow(pattern=…)``; not started."""

    def make(**lines: Any) -> Logs:
        out = scratch / "events.jsonl"
        group = {"lines": {"start_at": "beginning", **lines}}
        sink = {"name": "sink", "type": "jsonl", "path": os.fspath(out)}
        agent = launch([sink], group, state={"dir": os.fspath(scratch / "state")}, http=HTTP)
        return Logs(agent, trees.root, out)

    return make
