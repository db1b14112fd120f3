"""An agent that follows logs, and what it tells of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tests.agent.process import AgentProcess
from tests.waiting import eventually

_TOKEN: Final = "of-the-followed-logs"

HTTP: Final = {"listen": "127.0.0.1:0", "admin_token": _TOKEN}
"""Of the configuration of such an agent: it has to take barriers."""


class Logs:
    """
    An agent that follows ``*.log``, and what it tells of them.

    Args:
        agent: with `HTTP` and one group ``g`` for one sink ``sink``.
        out: the file that it writes to.
    """

    def __init__(self, agent: AgentProcess, directory: Path, out: Path) -> None:
        self.agent = agent
        self.directory = directory
        self._out = out

    def append(self, name: str, *lines: str, end: str = "\n") -> None:
        """Write lines, as a program does that opens the file, writes and closes it."""
        with (self.directory / name).open("a") as stream:
            stream.write("".join(f"{line}{end}" for line in lines))

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The ``log.KIND`` events until now, each once, in their order."""
        found: dict[str, dict[str, Any]] = {}
        if not self._out.exists():
            return []
        for line in self._out.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                event = json.loads(line)
                found.setdefault(event["id"], event)
        return [event for event in found.values() if event["type"].endswith(f".log.{kind}.v1")]

    def messages(self) -> list[str]:
        """What the entries say."""
        return [event["data"]["message"] for event in self.events("entry")]

    def arrive(self, *messages: str) -> None:
        """Wait until exactly these entries are there."""
        eventually(lambda: len(self.messages()) >= len(messages), what=f"{messages} arrive")
        assert self.messages() == list(messages)

    def lost(self) -> list[tuple[str, int]]:
        """Reason and bytes of every loss."""
        return [(e["data"]["reason"], e["data"]["lost_bytes"]) for e in self.events("truncated")]

    def comes_after(self, message: str) -> None:
        """Everything that has happened is read and delivered, and so is a line that is written now."""
        self.append("fence.log", message)
        eventually(lambda: message in self.messages(), what=f"{message} arrives")
        # A log that had to be looked at once more comes after one that was written later.
        eventually(lambda: is_over(self.agent, "sink"), within=60, what="nothing more is read or delivered")


def is_over(agent: AgentProcess, sink: str) -> bool:
    """Wait for a while until all that has happened is read from the logs and delivered; whether it is."""
    return agent.post(f"/-/barrier?group=g&wait_sink={sink}&timeout=10s", _TOKEN)[0] == 200


def start(logs: Logs) -> None:
    """Start the agent, and wait until the files that were there are read."""
    logs.agent.start()
    eventually(lambda: logs.agent.metric("consistent") == 1, what="the first comparison")
    logs.comes_after("begins")
