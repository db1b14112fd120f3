"""The agent within the test's process, publishing to memory: for what cannot be done from outside."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
import uuid
from types import TracebackType
from typing import Any

from inotify_bridge.agent import Agent
from inotify_bridge.config import Config
from inotify_bridge.group import Group
from inotify_bridge.outbox.journal import Position
from inotify_bridge.sinks.memory import MemoryBroker
from tests.agent.arrivals import Arrival, Arrivals
from tests.agent.trees import Trees
from tests.waiting import eventually

GROUP = "g"
SECONDS = 60.0
"""A wait that ends when what is waited for has happened: far longer than that takes."""


class Embedded:
    """
    One group on the root of `trees`, ready when the context is entered.

    Args:
        broker: name of the one that is published to; without it one of its own.
        config: more of the configuration.
    """

    def __init__(self, trees: Trees, broker: str = "", **config: Any) -> None:
        name = broker or uuid.uuid4().hex
        self.broker = MemoryBroker.named(name)
        group = {"name": GROUP, "paths": [os.fspath(trees.root)], "sinks": ["memory"]}
        sinks = [{"name": "memory", "type": "memory", "broker": name}]
        self.whole: dict[str, Any] = {
            "watch_groups": [group],
            "sinks": sinks,
            "http": {"listen": "127.0.0.1:0"},
            **config,
        }
        self.agent = Agent(Config.model_validate(self.whole))

    def __enter__(self) -> Embedded:
        self.agent.start()
        eventually(lambda: self.get("/readyz")[0] == 200, what="/readyz")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.agent.stop(SECONDS if error is None else 0.0)

    @property
    def group(self) -> Group:
        """The group."""
        return self.agent.groups[GROUP]

    def get(self, path: str) -> tuple[int, str]:
        """Status code and body of a page."""
        assert self.agent.web is not None
        try:
            with urllib.request.urlopen(f"{self.agent.web.url}{path}", timeout=SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """A metric of the group, without its prefix."""
        value = self.agent.registry.get_sample_value
        return value(f"inotify_bridge_{name}", {"watch_group": GROUP, **labels}) or 0.0

    def arrivals(self) -> Arrivals:
        """What was published until now."""
        return Arrivals(Arrival(0, one.body, json.loads(one.body)) for one in self.broker.messages)

    def settled(self) -> Arrivals:
        """What is published when all that has happened is."""
        end = self.recorded()
        relay = self.group.relays["memory"]
        eventually(lambda: relay.status.position >= end, within=SECONDS, what=f"{end} is confirmed")
        return self.arrivals()

    def recorded(self) -> Position:
        """Where the stream ends when all that has happened is recorded, also what a resync finds of it."""
        self.group.barrier(SECONDS)  # whatever a resync or a scan is for has been read
        eventually(lambda: self.group.recorder.reconciler.settled, within=SECONDS, what="nothing is compared")
        return self.group.barrier(SECONDS)
