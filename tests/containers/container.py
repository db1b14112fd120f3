"""One container of the image: run as it is meant to be run, asked, signalled, removed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.containers.engine import HARDENED, Engine
from tests.waiting import eventually

STATE = "/var/lib/inotify-bridge"


class Container:
    """
    Args:
        options: of ``docker run``, beside those of `HARDENED`.
        command: in place of the image's own.
    """

    def __init__(
        self, engine: Engine, image: str, options: Sequence[str], command: Sequence[str] = ()
    ) -> None:
        self._engine = engine
        self.id = engine.docker("run", "--detach", *HARDENED, *options, image, *command)

    @property
    def state(self) -> dict[str, Any]:
        """As ``docker inspect`` has it: Status, Pid, ExitCode, Health."""
        found: dict[str, Any] = self._engine.inspect(self.id)["State"]
        return found

    @property
    def health(self) -> str:
        """starting, healthy or unhealthy."""
        return str(self.state["Health"]["Status"])

    @property
    def log(self) -> str:
        """What it wrote to standard output."""
        return self._engine.docker("logs", self.id)

    def becomes(self, health: str) -> None:
        """Wait for a health."""
        eventually(lambda: self.health == health, within=90, what=f"{health}: {self.state}", poll=0.2)

    def process(self) -> dict[str, str]:
        """/proc/PID/status of its first process, as this machine sees it."""
        lines = Path(f"/proc/{self.state['Pid']}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def exec(self, *arguments: str) -> str:
        """Run a command of the agent in it."""
        return self._engine.docker("exec", self.id, "inotify-bridge", *arguments)

    def events(self) -> list[dict[str, Any]]:
        """The events that a stdout sink has printed."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]

    def signal(self, name: str) -> None:
        """Send a signal to its first process."""
        self._engine.docker("kill", "--signal", name, self.id)

    def stop(self, grace: int = 60) -> int:
        """SIGTERM; its exit code, 137 where it had to be killed after `grace` seconds."""
        self._engine.docker("stop", "--time", str(grace), self.id, within=grace + 60)
        return int(self.state["ExitCode"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.docker("rm", "--force", "--volumes", self.id)


def configured(directory: Path, config: Mapping[str, Any]) -> list[str]:
    """Options that mount a configuration where the image's command looks for it."""
    directory.mkdir(exist_ok=True)
    file = directory / "config.yaml"
    file.write_text(json.dumps(config))  # JSON is YAML
    os.chmod(directory, 0o755)
    return ["--volume", f"{directory}:/etc/inotify-bridge:ro"]
