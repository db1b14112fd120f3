"""A real RabbitMQ node, from Debian's package."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

from tests.brokers.broker import Broker
from tests.brokers.errors import BrokerError, NotInstalled
from tests.brokers.server import Server
from tests.brokers.tls import Certificate

# The scripts on PATH insist on root and switch to the user rabbitmq; these run as whoever calls them.
_PROGRAMS = Path("/usr/lib/rabbitmq/bin")
_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


class RabbitmqBroker(Broker):
    """
    One node with its own name, data, Erlang cookie and port mapper.

    Args:
        directory: see `Broker`.
        port: for clients without TLS; None takes a free one.
        user, password: the only user at first; add others with ``ctl("add_user", …)``.
        certificate: opens a second listener, with TLS, at `tls_port`.
        settings: more lines for ``rabbitmq.conf``.
    """

    product = "RabbitMQ"

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int | None = None,
        user: str = "guest",
        password: str = "guest",
        certificate: Certificate | None = None,
        settings: dict[str, str] | None = None,
    ) -> None:
        super().__init__(directory, {"client": port, "tls": None, "distribution": None, "mapper": None})
        self.user = user
        self.password = password
        self._certificate = certificate
        self._settings = settings or {}
        self._mapper = Server("epmd", self.directory / "epmd.pid", self.directory / "epmd.log")

    @staticmethod
    def missing() -> str:
        """What is not installed, and how to get it; empty where everything is there."""
        if not (_PROGRAMS / "rabbitmq-server").exists() or not shutil.which("epmd"):
            return "RabbitMQ is not installed: apt-get install rabbitmq-server"
        return ""

    @property
    def url(self) -> str:
        """An AMQP URL of this node with user and password, without TLS."""
        return f"amqp://{self.user}:{self.password}@{self.address}/%2F"

    @property
    def tls_port(self) -> int:
        """The port of the TLS listener; served only with a certificate."""
        return self._ports["tls"]

    @property
    def tls_url(self) -> str:
        """Like `url`, with TLS, by the host name ``localhost``."""
        return f"amqps://{self.user}:{self.password}@localhost:{self.tls_port}/%2F"

    def ctl(self, *arguments: str, within: float = 180.0) -> str:
        """
        Run ``rabbitmqctl`` against this node (costs about a second of CPU).

        Returns:
            What it printed, JSON with ``ctl("list_queues", "name", "messages", "--formatter=json")``.
        Raises:
            BrokerError: it failed; with its words.
        """
        done = subprocess.run(
            [str(_PROGRAMS / "rabbitmqctl"), "--quiet", *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        if done.returncode:
            raise BrokerError(
                f"rabbitmqctl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout

    def close(self) -> None:
        """See `Broker.close`; ends the port mapper too."""
        self.stop()
        self._mapper.kill()
        super().close()

    def _launch(self) -> None:
        if missing := self.missing():
            raise NotInstalled(missing)
        self._configure()
        if not self._mapper.alive:
            mapper = ["epmd", "-port", str(self._ports["mapper"]), "-address", "127.0.0.1"]
            self._mapper.launch(mapper)
        # With RABBITMQ_ALLOW_INPUT the script becomes the Erlang machine instead of waiting for it: the pid
        # is the broker's, and signals hit the right process.
        environment = {**self._environment(), "RABBITMQ_ALLOW_INPUT": "1"}
        self._server.launch([str(_PROGRAMS / "rabbitmq-server"), "-noinput"], environment)

    def _configure(self) -> None:
        for name in ("home", "data", "log", "conf.d"):
            (self.directory / name).mkdir(exist_ok=True)
        (self.directory / "env.conf").touch()
        (self.directory / "plugins").write_text("[].\n")
        settings = {
            "listeners.tcp.1": self.address,
            "default_user": self.user,
            "default_pass": self.password,
            **self._tls_settings(),
            **self._settings,
        }
        lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
        (self.directory / "rabbitmq.conf").write_text(lines)

    def _tls_settings(self) -> dict[str, str]:
        if self._certificate is None:
            return {}
        return {
            "listeners.ssl.1": f"127.0.0.1:{self.tls_port}",
            "ssl_options.cacertfile": str(self._certificate.authority),
            "ssl_options.certfile": str(self._certificate.certificate),
            "ssl_options.keyfile": str(self._certificate.key),
            "ssl_options.verify": "verify_none",
        }

    def _environment(self) -> dict[str, str]:
        """What tells the server and ``rabbitmqctl`` apart from any other node of the machine."""
        own = self.directory
        return {
            "HOME": str(own / "home"),  # where Erlang keeps its cookie
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._ports["mapper"]),
            "RABBITMQ_CONF_ENV_FILE": str(own / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(own / "rabbitmq"),
            "RABBITMQ_CONFIG_FILES": str(own / "conf.d"),
            "RABBITMQ_DIST_PORT": str(self._ports["distribution"]),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(own / "plugins"),
            "RABBITMQ_LOG_BASE": str(own / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_MNESIA_BASE": str(own / "data"),
            "RABBITMQ_NODENAME": f"bridge{self.port}@localhost",
            "RABBITMQ_PID_FILE": str(own / "rabbitmq.pid"),
            # Idle schedulers sleep instead of spinning: the machine is shared with what is tested.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} "
            "+sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def _ready(self) -> bool:
        """True when a client gets Connection.Start, which tells its version, and listens everywhere."""
        if self._certificate is not None:  # it listens there last
            socket.create_connection(("127.0.0.1", self.tls_port), timeout=5).close()
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
            client.sendall(_PROTOCOL_HEADER)
            greeting = client.recv(65536)
        if not greeting.startswith(b"\x01\x00\x00"):
            return False
        # server-properties is a table: …, length and "version", "S", length (4 bytes), value
        _, _, value = greeting.partition(b"\x07versionS")
        self.version = value[4 : 4 + int.from_bytes(value[:4], "big")].decode()
        return True
