"""An agent within the test's process, with a sink in memory: it can be waited for by a barrier."""

from __future__ import annotations

import json
import os
import uuid
from types import TracebackType

from inotify_bridge.agent import Agent
from inotify_bridge.config import Config
from inotify_bridge.group import Group
from inotify_bridge.sinks.memory import MemoryBroker
from tests.kernel.stream import Stream
from tests.kernel.watching import Ground
from tests.waiting import eventually

_BARRIER_SECONDS = 30.0


class Embedded:
    """
    Watches the ground with one group named ``g``.

    Args:
        group: keys of the group's configuration.
    """

    def __init__(self, ground: Ground, **group: object) -> None:
        name = uuid.uuid4().hex
        self._broker = MemoryBroker.named(name)
        wanted = {"name": "g", "paths": [os.fspath(ground.watched)], "sinks": ["memory"], **group}
        config = Config.model_validate(
            {"watch_groups": [wanted], "sinks": [{"name": "memory", "type": "memory", "broker": name}]}
        )
        self._agent = Agent(config, http=False)

    def __enter__(self) -> Embedded:
        self._agent.start()
        try:
            eventually(lambda: self.seen().resyncs(), what="the first resync")
        except BaseException:
            self._agent.stop(0.0)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._agent.stop()

    @property
    def group(self) -> Group:
        """The group."""
        return self._agent.groups["g"]

    def seen(self) -> Stream:
        """Everything that was published until now."""
        return Stream(json.loads(message.body) for message in self._broker.messages)

    def settle(self) -> Stream:
        """Wait until all that has happened is published."""
        end = self.group.barrier(_BARRIER_SECONDS)
        assert self._broker.wait(
            lambda messages: bool(messages) and messages[-1].sequence >= end.sequence, _BARRIER_SECONDS
        ), "not everything was published"
        return self.seen()

    def resync(self, path: bytes | None = None) -> Stream:
        """Have everything, or a directory, compared; returns when that is done."""
        before = self.seen().resyncs()["requested"]
        self.group.resync(path)
        eventually(lambda: self.seen().resyncs()["requested"] > before, what="the resync")
        return self.settle()
