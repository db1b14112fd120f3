"""A real PostgreSQL server, from Debian's package."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.brokers.broker import Broker
from tests.brokers.errors import BrokerError, NotInstalled
from tests.brokers.server import Server
from tests.brokers.tls import Certificate
from tests.waiting import eventually

_PROGRAMS = Path("/usr/lib/postgresql")
_ACCOUNT = "postgres"


class PostgresqlServer(Broker):
    """
    One cluster with its own data and port, on 127.0.0.1 only, without Unix sockets.

    It refuses to run as root: then it runs as the user whom Debian's package makes.

    Args:
        directory: see `Broker`.
        port: for clients; None takes a free one.
        user, password: the superuser; asks for the password by SCRAM.
        certificate: lets clients use TLS.
        settings: more lines for ``postgresql.conf``.
    """

    product = "PostgreSQL"

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int | None = None,
        user: str = "keeper",
        password: str = "guest",
        certificate: Certificate | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory, {"client": port})
        self.user, self.password = user, password
        self._certificate = certificate
        self._settings = settings or {}
        self._account = _ACCOUNT if os.geteuid() == 0 else None
        self._server = Server(
            self.product,
            self.directory / "pid",
            self.directory / "broker.log",
            user=self._account,
            stop_signal=signal.SIGINT,  # SIGTERM waits for the clients to leave
        )
        self._held: list[int] = []

    @staticmethod
    def missing() -> str:
        """What is not installed, and how to get it; empty where everything is there."""
        if _programs() is None:
            return "PostgreSQL is not installed: apt-get install postgresql"
        return ""

    @property
    def url(self) -> str:
        """The database ``postgres``, with user and password."""
        return f"postgresql://{self.user}:{self.password}@{self.address}/postgres"

    def kill(self) -> None:
        """SIGKILL to all of it, a crash: what the server started would live on, and keep it from starting."""
        if self.alive:
            super().freeze()  # from here on it starts nothing more
        processes = self._processes()
        super().kill()
        for pid in processes:
            _signal(pid, signal.SIGKILL)
        eventually(lambda: not any(map(_runs, processes)), within=30, what="all of PostgreSQL is gone")

    def freeze(self) -> None:
        """Every process of it: each connection has one of its own."""
        super().freeze()
        self._held = self._processes()
        for pid in self._held:
            _signal(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """See `Broker.thaw`."""
        for pid in self._held:
            _signal(pid, signal.SIGCONT)
        self._held = []
        super().thaw()

    def stop(self, within: float = 60.0) -> None:
        """See `Broker.stop`: ends what its clients have under way."""
        self.thaw()
        super().stop(within)

    def _launch(self) -> None:
        programs = _programs()
        if programs is None:
            raise NotInstalled(self.missing())
        data = self.directory / "data"
        if not data.exists():
            self._make(programs, data)
        self.version = (data / "PG_VERSION").read_text().strip()
        (data / "postmaster.pid").unlink(missing_ok=True)  # of a killed one; its number may be used again
        self._server.launch([str(programs / "postgres"), "-D", str(data)])

    def _make(self, programs: Path, data: Path) -> None:
        secret = self.directory / "password"
        secret.write_text(self.password)
        if self._account is not None:
            shutil.chown(self.directory, self._account)
            shutil.chown(secret, self._account)
        who = ["-U", self.user, "--pwfile", str(secret), "-A", "scram-sha-256"]
        words = ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            [str(programs / "initdb"), "-D", str(data), *who, *words],
            capture_output=True,
            text=True,
            user=self._account,
            check=False,
        )
        if done.returncode:
            raise BrokerError(f"initdb: {done.stderr.strip() or done.stdout.strip()}")
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "40",
            **self._tls_settings(data),
            **self._settings,
        }
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def _tls_settings(self, data: Path) -> dict[str, str]:
        if self._certificate is None:
            return {}
        for source, name in (
            (self._certificate.certificate, "server.crt"),
            (self._certificate.key, "server.key"),
        ):
            shutil.copyfile(source, data / name)
            (data / name).chmod(0o600)
            if self._account is not None:
                shutil.chown(data / name, self._account)
        return {"ssl": "on"}

    def _ready(self) -> bool:
        """Whether a log-in is answered with a question for the password: not while it is still recovering."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
            words = f"user\0{self.user}\0database\0postgres\0\0".encode()
            client.sendall(struct.pack(">ii", 8 + len(words), 196608) + words)
            return client.recv(1) == b"R"

    def _processes(self) -> list[int]:
        """The processes that the server has started."""
        if not self.alive:
            return []
        try:
            return [
                int(one) for one in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            ]
        except FileNotFoundError:
            return []


def _programs() -> Path | None:
    """Where the newest version that is installed has its programs."""
    found = [path.parent for path in _PROGRAMS.glob("*/bin/postgres")]
    if not found or (os.geteuid() == 0 and not _has_account()):
        return None
    return max(found, key=lambda path: int(re.sub(r"\D", "", path.parent.name) or 0))


def _has_account() -> bool:
    try:
        pwd.getpwnam(_ACCOUNT)
    except KeyError:
        return False
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
