"""A real MariaDB server, from Debian's package."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path

from tests.brokers.broker import Broker
from tests.brokers.errors import BrokerError, NotInstalled


class MariadbServer(Broker):
    """
    One server with its own data and port, on 127.0.0.1 only, with a database ``bridge``.

    Args:
        directory: see `Broker`.
        port: for clients; None takes a free one.
        user, password: may do everything.
    """

    product = "MariaDB"

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int | None = None,
        user: str = "keeper",
        password: str = "guest",
    ) -> None:
        super().__init__(directory, {"client": port})
        self.user, self.password = user, password

    @staticmethod
    def missing() -> str:
        """What is not installed, and how to get it; empty where everything is there."""
        if not Path("/usr/sbin/mariadbd").exists() or not shutil.which("mariadb-install-db"):
            return "MariaDB is not installed: apt-get install mariadb-server"
        return ""

    @property
    def url(self) -> str:
        """The database ``bridge``, with user and password."""
        return f"mysql://{self.user}:{self.password}@{self.address}/bridge"

    def _launch(self) -> None:
        if missing := self.missing():
            raise NotInstalled(missing)
        data = self.directory / "data"
        if not data.exists():
            self._make(data)
        words = [f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.directory}/socket"]
        start = f"--init-file={self.directory}/start.sql"
        self._server.launch(["/usr/sbin/mariadbd", *self._own(data), *words, start])

    def _make(self, data: Path) -> None:
        (self.directory / "start.sql").write_text(
            "CREATE DATABASE IF NOT EXISTS bridge CHARACTER SET utf8mb4;\n"
            f"GRANT ALL ON *.* TO '{self.user}'@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
        )
        done = subprocess.run(
            [
                "mariadb-install-db",
                *self._own(data),
                "--auth-root-authentication-method=socket",
                "--skip-test-db",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BrokerError(f"mariadb-install-db: {done.stderr.strip() or done.stdout.strip()}")

    def _own(self, data: Path) -> list[str]:
        """Nothing of the machine's configuration; the user who starts it, also root: it is for tests only."""
        memory = ["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--skip-name-resolve"]
        return ["--no-defaults", f"--datadir={data}", "--user=root", *memory]

    def _ready(self) -> bool:
        """Its greeting names the version."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
            found = re.search(rb"(\d+\.\d+\.\d+)-MariaDB", client.recv(200))
        self.version = found[1].decode() if found else ""
        return found is not None
