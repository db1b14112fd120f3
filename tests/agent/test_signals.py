"""SIGHUP, and SIGTERM when the broker does not let the agent drain."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.agent.conftest import Launch
from tests.agent.places import KafkaPlace, RabbitmqPlace
from tests.agent.process import DRAINING, AgentProcess
from tests.agent.trees import Trees
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(400)

LONG = "30m"
"""A time-out that no wait of a test comes near."""


def groups(agent: AgentProcess) -> set[str]:
    """The names of the groups that run."""
    return {group["name"] for group in agent.status()["groups"]}


@pytest.mark.kafka
def test_reload(kafka_place: KafkaPlace, trees: Trees, launch: Launch) -> None:
    """SIGHUP starts a new group and stops a removed one; a group that did not change goes on in its epoch."""
    kept, added = trees.root / "kept", trees.root / "added"
    for directory in (kept, added):
        directory.mkdir()
    sinks = [kafka_place.sink()]
    of = {
        name: {"name": name, "paths": [os.fspath(path)], "sinks": ["sink"]}
        for name, path in (("kept", kept), ("added", added), ("removed", trees.outside))
    }
    agent = launch(sinks, watch_groups=[of["kept"], of["removed"]], **DRAINING).start()
    assert groups(agent) == {"kept", "removed"}
    epoch = agent.group("kept")["epoch"]
    agent.configure({"watch_groups": [of["kept"], of["added"]], "sinks": sinks, **DRAINING})
    agent.signal(signal.SIGHUP)
    eventually(lambda: groups(agent) == {"kept", "added"}, what="the new groups")
    eventually(lambda: agent.status()["config"]["last_reload"], what="the status tells of the reload")
    assert agent.status()["config"]["last_reload"]["ok"]
    assert agent.group("kept")["epoch"] == epoch
    eventually(lambda: agent.get("/readyz")[0] == 200, what="/readyz")
    for directory in (kept, added, trees.outside):
        (directory / "late").write_text("x")
    agent.stop()
    arrivals = kafka_place.consumed(stops=3)
    for group, directory in (("kept", kept), ("added", added)):
        arrivals.of(group).assert_true(directory)
    assert arrivals.of("removed").kinds()[-1] == "stream.stopped"
    assert arrivals.of("removed").paths("file.written") == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sinks": []}, "sinks"),
        ({"watch_groups": [{"name": "g", "paths": ["/tmp"], "sinks": ["nobody"]}]}, "nobody"),
        ({"http": {"listen": "127.0.0.1:1"}}, "http"),
    ],
    ids=["empty", "unknown", "needs a restart"],
)
@pytest.mark.kafka
def test_refused_reload(
    change: dict[str, Any], words: str, kafka_place: KafkaPlace, trees: Trees, launch: Launch
) -> None:
    """A configuration that is wrong, or needs a restart, is refused in words; the old one stays in force."""
    agent = launch([kafka_place.sink()]).start()
    epoch = agent.group()["epoch"]
    group = {"name": "g", "paths": [os.fspath(trees.root)], "sinks": ["sink"]}
    agent.configure({"watch_groups": [group], "sinks": [kafka_place.sink()], **change})
    agent.signal(signal.SIGHUP)
    eventually(lambda: agent.status()["config"]["last_reload"], what="the status tells of the reload")
    told = agent.status()["config"]["last_reload"]
    assert not told["ok"]
    assert words in told["error"]
    assert any(words in problem for problem in agent.status()["problems"])
    assert agent.metric("config_last_reload_successful") == 0
    assert agent.metric("config_reloads_total", result="failure") == 1
    trees.write("late")
    assert agent.group()["epoch"] == epoch
    agent.stop()
    kafka_place.consumed().assert_true(trees.root)


@pytest.fixture
def nowhere() -> Iterator[dict[str, Any]]:
    """A sink that is away: nobody listens at its port, which is kept from all others."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        url = f"amqp://guest:guest@127.0.0.1:{kept.getsockname()[1]}"
        yield {"name": "sink", "type": "rabbitmq", "url": url}


def test_second_signal_interrupts_the_drain(nowhere: dict[str, Any], trees: Trees, launch: Launch) -> None:
    """SIGTERM waits for a broker that is away; a second one ends that, with 1 for what is lost."""
    agent = launch([nowhere], shutdown_timeout=LONG).start()
    trees.files("some", 100)
    eventually(lambda: agent.sink("sink")["last_error"], what="the sink is away")
    agent.signal(signal.SIGTERM)
    eventually(lambda: agent.group()["state"] == "stopping", what="the drain has begun")
    eventually(lambda: "stream.stopped" in agent.log, what="everything is recorded")
    assert agent.alive
    agent.signal(signal.SIGTERM)
    assert agent.ended() == 1
    assert "left undelivered" in agent.log
    assert "Traceback" not in agent.log


def test_shutdown_timeout(nowhere: dict[str, Any], trees: Trees, launch: Launch) -> None:
    """With a broker that is away the drain ends after ``shutdown_timeout``, with 1 for what is lost."""
    short, long = (launch([nowhere], shutdown_timeout=limit).start() for limit in ("1s", LONG))
    trees.files("some", 100)
    for agent in (long, short):
        eventually(lambda agent=agent: agent.sink("sink")["last_error"], what="the sink is away")  # type: ignore[misc]
        agent.signal(signal.SIGTERM)
    assert short.ended() == 1
    assert long.alive, "it did not wait for its own"
    assert "left undelivered" in short.log


@pytest.mark.rabbitmq
@pytest.mark.parametrize("second", [True, False], ids=["second signal", "shutdown_timeout"])
def test_frozen_broker_does_not_hold_the_end(
    second: bool, rabbitmq_place: RabbitmqPlace, trees: Trees, launch: Launch
) -> None:
    """The same with a broker that stays connected and answers nothing."""
    # Neither does the sink give the broker up by itself.
    sink = rabbitmq_place.sink(confirm_timeout=LONG, heartbeat=LONG)
    agent = launch([sink], shutdown_timeout=LONG if second else "1s").start()
    eventually(lambda: agent.sink("sink")["connected"], what="the sink is connected")
    rabbitmq_place.broker.freeze()
    trees.files("some", 100)
    eventually(lambda: agent.metric("sink_inflight_events", sink="sink"), what="messages on their way")
    agent.signal(signal.SIGTERM)
    eventually(lambda: "stream.stopped" in agent.log, what="everything is recorded")
    if second:
        assert agent.alive
        agent.signal(signal.SIGTERM)
    assert agent.ended() == 1
    assert "Traceback" not in agent.log
