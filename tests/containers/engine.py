"""A Docker engine of the tests' own: started and ended by them, with nothing in it but theirs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.brokers.broker import cache_directory
from tests.brokers.server import Server
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
BUILD_SECONDS = 900.0

HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
"""How the image is meant to be run: nothing to write to but volumes, no capability, none to be had."""


class EngineError(Exception):
    """A command of Docker failed; with its words."""


def program(name: str) -> str | None:
    """The path of a program that comes with the suite's own packages, or stands on PATH."""
    own = os.fspath(Path(sys.executable).parent)
    return shutil.which(name, path=f"{own}{os.pathsep}{os.environ.get('PATH', '')}")


class Engine:
    """
    A ``dockerd`` with its own socket and data, which touches neither the firewall nor the routes.

    Its images outlive it, below the cache directory, so that a second run builds little. Containers reach
    each other by the networks of compose, and this machine where they have its network; nothing beyond.
    """

    def __init__(self) -> None:
        self.directory = cache_directory() / "containers"
        self.directory.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ,
            "DOCKER_HOST": f"unix://{self.directory}/docker.sock",
            "DOCKER_CONFIG": os.fspath(self.directory / "client"),
        }
        self._server = Server("dockerd", self.directory / "pid", self.directory / "dockerd.log")
        self._lock: IO[str] | None = None

    @staticmethod
    def missing() -> str:
        """What is not there, and how to get it; empty where everything is there."""
        if os.geteuid() != 0:
            return "an engine of one's own needs root"
        lacking = [name for name in ("docker", "dockerd", "mmdebstrap", "iptables") if program(name) is None]
        return f"not installed: apt-get install docker.io iptables mmdebstrap ({', '.join(lacking)})" * bool(
            lacking
        )

    def start(self) -> None:
        """Start it, alone on its data, and remove what an earlier run may have left in it."""
        self._lock = (self.directory / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        if not self._server.alive:
            self._server.launch(self._command())
        eventually(self._answers, within=START_SECONDS, what=f"dockerd answers: {self._server.log_tail()}")
        self._clear()

    def stop(self) -> None:
        """End all containers, and then the engine."""
        if self._server.alive:
            self._clear()
        self._server.end(within=60)
        for place in (self.directory / "exec" / "netns").glob("*"):  # dockerd leaves its own mounted
            subprocess.run(["umount", place], check=False, capture_output=True)
        if self._lock is not None:
            self._lock.close()

    def docker(self, *arguments: str, within: float = 120.0) -> str:
        """
        Run the client.

        Returns:
            What it printed, without the last newline.
        Raises:
            EngineError: it failed.
        """
        return self.run(["docker", *arguments], within)

    def run(
        self, command: Sequence[str], within: float = 120.0, environment: Mapping[str, str] | None = None
    ) -> str:
        """The same for any program that speaks to the engine; `environment` is added to its own."""
        done = subprocess.run(
            command,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=within,
            check=False,
        )
        if done.returncode:
            said = (done.stderr + done.stdout).decode(errors="replace")
            raise EngineError(f"{' '.join(command)}: {said[-3000:]}")
        return done.stdout.decode().rstrip("\n")

    def build(self, tag: str, *options: str, context: Path = ROOT) -> None:
        """Build an image. It has this machine's network: it fetches packages."""
        self.docker(
            "build", "--network=host", "--tag", tag, *options, os.fspath(context), within=BUILD_SECONDS
        )

    def inspect(self, name: str) -> dict[str, Any]:
        """Everything about a container or an image."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", name))
        return found[0]

    def has(self, image: str) -> bool:
        """Whether there is an image of this name."""
        try:
            self.docker("image", "inspect", image)
        except EngineError:
            return False
        return True

    @contextlib.contextmanager
    def exported(self, image: str) -> Iterator[IO[bytes]]:
        """The files of an image as a tar stream."""
        container = self.docker("create", image)
        with subprocess.Popen(
            ["docker", "export", container], env=self.environment, stdout=subprocess.PIPE
        ) as export:
            assert export.stdout is not None
            yield export.stdout
        self.docker("rm", container)

    def _command(self) -> list[str]:
        own = self.directory
        return [
            "dockerd",
            *("--data-root", f"{own}/data", "--exec-root", f"{own}/exec", "--pidfile", f"{own}/docker.pid"),
            *("--host", self.environment["DOCKER_HOST"], "--bridge=none"),
            *("--iptables=false", "--ip6tables=false", "--ip-forward=false"),
        ]

    def _answers(self) -> bool:
        if not self._server.alive:
            raise AssertionError(f"dockerd ended:\n{self._server.log_tail()}")
        with contextlib.suppress(EngineError):
            return bool(self.docker("version", "--format", "{{.Server.Version}}"))
        return False

    def _clear(self) -> None:
        if containers := self.docker("ps", "--all", "--quiet").split():
            self.docker("rm", "--force", "--volumes", *containers)
        if volumes := self.docker("volume", "ls", "--quiet").split():
            self.docker("volume", "rm", *volumes)
        self.docker("network", "prune", "--force")
