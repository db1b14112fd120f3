"""docker-compose.yml, brought up as it is by the real docker-compose, on ports and a folder of the test."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.brokers.ports import free_port
from tests.containers.engine import ROOT, Engine, EngineError, program
from tests.containers.images import provide

PROFILES = ("rabbitmq", "kafka", "monitoring")
UP_SECONDS = 240.0
PORTS = {
    "bridge": "BRIDGE_PORT",
    "rabbitmq": "RABBITMQ_PORT",
    "management": "RABBITMQ_HTTP_PORT",
    "kafka": "KAFKA_PORT",
    "prometheus": "PROMETHEUS_PORT",
    "grafana": "GRAFANA_PORT",
}


def rendered(*profiles: str) -> dict[str, Any]:
    """The file as docker-compose understands it; no engine is needed. Raises EngineError: it is wrong."""
    compose = program("docker-compose")
    assert compose is not None
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    command = [compose, "--project-directory", os.fspath(ROOT), *chosen, "config", "--no-interpolate"]
    found: dict[str, Any] = yaml.safe_load(_run(command))
    return found


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    if done.returncode:
        raise EngineError(done.stderr)
    return done.stdout


class Composition:
    """
    Some profiles of the file. As a context manager it takes everything down, volumes included.

    Args:
        watched: in place of ./data.
    """

    def __init__(self, engine: Engine, watched: Path, *profiles: str) -> None:
        self._engine = engine
        self._profiles = [word for profile in profiles for word in ("--profile", profile)]
        self.ports = {name: free_port() for name in PORTS}
        self._environment = {PORTS[name]: str(port) for name, port in self.ports.items()}
        self._environment["WATCH_DIR"] = os.fspath(watched)

    def compose(self, *arguments: str, within: float = 120.0) -> str:
        """Run docker-compose on the file."""
        compose = program("docker-compose")
        assert compose is not None
        command = [compose, "--project-directory", os.fspath(ROOT), *self._profiles, *arguments]
        return self._engine.run(command, within, self._environment)

    def up(self, *services: str) -> None:
        """Start services and return when all are healthy."""
        self.compose("up", "--detach", "--no-build", "--wait", *services, within=UP_SECONDS)

    def bridge(self, service: str, *arguments: str) -> str:
        """Run a command of the agent in its container, as an operator does."""
        return self.compose("exec", "--no-TTY", service, "inotify-bridge", *arguments)

    def epoch(self, service: str) -> str:
        """Of the only group."""
        return str(json.loads(self.bridge(service, "status", "--json"))["groups"][0]["epoch"])

    def get(self, port: str, path: str, **request: Any) -> str:
        """What a published port answers."""
        address = f"http://127.0.0.1:{self.ports[port]}{path}"
        with urllib.request.urlopen(urllib.request.Request(address, **request), timeout=30) as answer:
            return str(answer.read().decode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.compose("down", "--volumes", "--timeout", "30")


def images(engine: Engine, services: Mapping[str, Any]) -> list[str]:
    """Have the images of all services but the project's own; says which they are."""
    return [provide(engine, service["image"]) for service in services.values() if "build" not in service]
