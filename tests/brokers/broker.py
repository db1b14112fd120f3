"""What every broker can do: start, stop, crash, freeze, and clean up after itself."""

from __future__ import annotations

import abc
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.brokers.errors import BrokerError
from tests.brokers.ports import free_port
from tests.brokers.server import Server
from tests.waiting import eventually

START_SECONDS = 200.0


def cache_directory() -> Path:
    """Where what was downloaded is kept between runs, never inside the checkout: ``INOTIFY_BRIDGE_CACHE``."""
    chosen = os.environ.get("INOTIFY_BRIDGE_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "inotify-bridge"


class Broker(abc.ABC):
    """
    A broker of its own: own data, own ports, 127.0.0.1 only.

    Data and ports outlive `stop` and `kill`; `close` ends the broker and removes its temporary directory.
    As a context manager it starts and closes itself.

    Args:
        directory: where configuration, data and log go; None: a temporary directory, removed by `close`.
            A directory in which a broker was started before gives back that broker, running or not.
        ports: wanted ports by their purpose; None takes a free one.
    """

    product: ClassVar[str]
    version = ""

    def __init__(self, directory: Path | None, ports: Mapping[str, int | None]) -> None:
        self._temporary = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="inotify-bridge-broker-"))
        self.directory.mkdir(parents=True, exist_ok=True)
        self._ports = self._keep_ports(ports)
        self._frozen = False
        self._server = Server(self.product, self.directory / "pid", self.directory / "broker.log")

    def start(self, within: float = START_SECONDS) -> None:
        """
        Start the broker and return when it serves clients. Nothing happens where it runs already.

        Raises:
            NotInstalled: with what to install.
            BrokerError: it ended, or did not serve after `within` seconds.
        """
        if self.alive:
            return
        self._launch()
        try:
            eventually(self._serves, within=within, what=f"{self.product} serves clients", poll=0.1)
        except AssertionError as exc:
            raise BrokerError(f"{exc}; the end of its log:\n{self._server.log_tail()}") from exc

    def stop(self, within: float = 60.0) -> None:
        """Stop in order, as an operator would; killed after `within` seconds. Idempotent."""
        self._server.end(within)
        self._frozen = False

    def kill(self) -> None:
        """SIGKILL: a crash. Returns when the process is gone. Idempotent."""
        self._server.kill()
        self._frozen = False

    def freeze(self) -> None:
        """SIGSTOP: the broker stays connected and answers nothing, from the return of this call on."""
        self._frozen = True
        self._server.freeze()

    def thaw(self) -> None:
        """SIGCONT: the end of `freeze`. Nothing happens where it is not frozen."""
        if self._frozen:
            self._server.signal(signal.SIGCONT)
            self._frozen = False

    def close(self) -> None:
        """Stop, and remove the data where the directory is a temporary one. Idempotent."""
        self.stop()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    @staticmethod
    @abc.abstractmethod
    def missing() -> str:
        """What is not installed, and how to get it; empty where everything is there."""

    @property
    def alive(self) -> bool:
        """True while the broker's process is there, frozen or not."""
        return self._server.alive

    @property
    def pid(self) -> int:
        """The process id of the broker itself; raises BrokerError where it does not run."""
        return self._server.pid

    @property
    def port(self) -> int:
        """Where clients connect."""
        return self._ports["client"]

    @property
    def address(self) -> str:
        """``127.0.0.1:port``, where clients connect."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the broker printed, all starts in one file."""
        return self._server.log

    @abc.abstractmethod
    def _launch(self) -> None:
        """Write the configuration and launch the server."""

    @abc.abstractmethod
    def _ready(self) -> bool:
        """Whether a client would be served now. May raise OSError: not yet."""

    def _serves(self) -> bool:
        if not self.alive:
            raise BrokerError(f"{self.product} ended at its start:\n{self._server.log_tail()}")
        try:
            return self._ready()
        except OSError:
            return False

    def _keep_ports(self, wanted: Mapping[str, int | None]) -> dict[str, int]:
        """The same ports over all starts in one directory: clients come back to them."""
        kept = self.directory / "ports.json"
        known: dict[str, int] = json.loads(kept.read_text()) if kept.exists() else {}
        ports = {purpose: port or known.get(purpose) or free_port() for purpose, port in wanted.items()}
        kept.write_text(json.dumps(ports))
        return ports

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
