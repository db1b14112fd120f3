"""The agent as its operators run it: ``python -m inotify_bridge run -c FILE``, a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from tests.waiting import eventually

START_SECONDS = 90.0
ANSWER_SECONDS = 60.0
END_SECONDS = 90.0

DRAINING = {"shutdown_timeout": "80s"}
"""More of a configuration, where much may wait to be delivered at the end: nearly as long as `stop` waits."""

_ADDRESS = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")


class AgentProcess:
    """
    One agent. As a context manager it is killed at the end where it still runs.

    Args:
        directory: for its configuration and its log; a new one for every agent.
        config: of the agent; the HTTP server gets any free port.
        patch: what `tests.patched` replaces in it, as ``MODULE:FUNCTION``; may be changed between two lives.
        environment: added to this process's.
        prefix: of the command: words that run the rest in place of themselves (``nsenter …``, ``setpriv …``).
    """

    def __init__(
        self,
        directory: Path,
        config: Mapping[str, Any],
        patch: str = "",
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.patch = patch
        self.prefix = list(prefix)
        self.environment = dict(environment or {})
        self.file = directory / "config.yaml"
        self._log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._starts_at = self._listens_at = 0
        self.configure(config)

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write the configuration file; a running agent reads it at SIGHUP."""
        whole = {"http": {"listen": "127.0.0.1:0"}, **config}
        self.file.write_text(json.dumps(whole))  # JSON is YAML

    def start(self, ready: bool = True) -> Self:
        """Start it; returns when ``/startupz`` says so, or at once where `ready` is False."""
        self._starts_at, self._listens_at = len(self.log), 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", *self._program(), "run", "-c", os.fspath(self.file)],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if ready:
            eventually(self._started, within=START_SECONDS, what="/startupz", poll=0.05)
        return self

    # -- what it says

    @property
    def pid(self) -> int:
        """Of the process, also after its end."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def listens(self) -> bool:
        """Whether it runs and has said where it answers."""
        return self.alive and self._port() > 0

    @property
    def log(self) -> str:
        """What it wrote until now, all its lives in one."""
        return self._log.read_text() if self._log.exists() else ""

    def get(self, path: str) -> tuple[int, str]:
        """Status code and body of a page."""
        return self._ask("GET", path, {})

    def post(self, path: str, token: str) -> tuple[int, str]:
        """Status code and body of the answer to an operator's signal."""
        return self._ask("POST", path, {"Authorization": f"Bearer {token}"})

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
        port = eventually(self._port, within=START_SECONDS, what="the address in the log")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        """``/api/v1/status``."""
        code, body = self.get("/api/v1/status")
        assert code == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def group(self, name: str = "g") -> dict[str, Any]:
        """What the status says of one group."""
        return _named(name, lambda: self.status()["groups"])

    def sink(self, name: str, group: str = "g") -> dict[str, Any]:
        """What the status says of one sink of a group."""
        return _named(name, lambda: self.group(group)["sinks"])

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name (without its prefix) with at least these labels."""
        _, text = self.get("/metrics")
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"inotify_bridge_{name}" and labels.items() <= sample.labels.items()
        )

    def delivered(self, sink: str, group: str = "g") -> bool:
        """Whether the sink has confirmed everything that is recorded."""
        return bool(self.sink(sink, group)["lag_events"] == 0)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stopped by a signal meanwhile: what happens then reaches it at once."""
        self.signal(signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), f"ended instead of stopping: {self.log}"
        yield
        self.signal(signal.SIGCONT)

    # -- its end

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def ended(self, within: float = END_SECONDS) -> int:
        """Wait for its end; the exit code."""
        assert self._process is not None
        return self._process.wait(within)

    def stop(self, within: float = END_SECONDS) -> None:
        """SIGTERM: it drains and ends with 0, without a traceback in its log."""
        self.signal(signal.SIGTERM)
        code = self.ended(within)
        assert code == 0, f"exit code {code}: {self.log}"
        assert "Traceback" not in self.log, self.log

    def kill(self) -> None:
        """SIGKILL. Idempotent."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _program(self) -> list[str]:
        return ["tests.patched", self.patch] if self.patch else ["inotify_bridge"]

    def _port(self) -> int:
        if not self.alive:
            raise AssertionError(f"the agent has ended: {self.log}")
        if not self._listens_at and (found := _ADDRESS.search(self.log, self._starts_at)):
            self._listens_at = int(found[1])
        return self._listens_at

    def _started(self) -> bool:
        return self.get("/startupz")[0] == 200


def _named(name: str, listed: Callable[[], list[dict[str, Any]]]) -> dict[str, Any]:
    """The entry of this name; waits for it: groups and sinks are shown when they are started."""
    found: list[dict[str, Any]] = eventually(
        lambda: [one for one in listed() if one["name"] == name], what=f"{name} is started"
    )
    return found[0]
