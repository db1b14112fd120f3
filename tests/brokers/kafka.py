"""A real Apache Kafka (KRaft, one node or two), from the jars that the project publishes on Maven Central."""

from __future__ import annotations

import base64
import fcntl
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.brokers.broker import START_SECONDS, Broker, cache_directory
from tests.brokers.errors import BrokerError, NotInstalled
from tests.brokers.kafka_topics import KafkaTopics
from tests.brokers.tls import Certificate

_POM = Path(__file__).with_name("pom.xml")
_LOG_CONFIGURATION = Path(__file__).with_name("log4j2.properties")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256")

# The internal topics of a single node, and no wait for other members of a consumer group.
_SINGLE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # After a crash the controller refuses the broker until its last life has timed out (else 9 s).
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    "log.cleaner.dedupe.buffer.size": "8388608",
    # As a careful operator has it: a topic that nobody made is an error.
    "auto.create.topics.enable": "false",
}


class KafkaBroker(Broker):
    """
    One broker that is its own controller.

    Args:
        directory: see `Broker`.
        port: for clients; None takes a free one.
        security: of the clients' listener: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL. The listener at
            `plain_address` is always open to everybody, for looking at what the broker holds.
        users: name to password, known to both SASL mechanisms, PLAIN and SCRAM-SHA-256.
        certificate: for SSL and SASL_SSL.
        properties: more lines for ``server.properties``.
        advertised: the port that clients are told to come to, where something stands before the broker.
        joins: another broker, which runs: this one is the second of its cluster, and no controller.
    """

    product = "Apache Kafka"

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int | None = None,
        security: str = "PLAINTEXT",
        users: Mapping[str, str] | None = None,
        certificate: Certificate | None = None,
        properties: Mapping[str, str] | None = None,
        advertised: int | None = None,
        joins: KafkaBroker | None = None,
    ) -> None:
        super().__init__(directory, {"client": port, "plain": None, "controller": None})
        self.security = security
        self._users = users or {}
        self._certificate = certificate
        self._properties = properties or {}
        self._joins = joins
        self._advertised = f"127.0.0.1:{advertised or self.port}"

    @staticmethod
    def missing() -> str:
        """What is not installed, and how to get it; empty where everything is there."""
        if not shutil.which("java"):
            return "Apache Kafka needs Java 17: apt-get install default-jre-headless"
        if not _jars().exists() and not shutil.which("mvn"):
            return "Apache Kafka's jars are not there: apt-get install maven"
        return ""

    @staticmethod
    def fetch() -> Path:
        """
        Download the broker's jars from Maven Central (45 MB), once a machine.

        Returns:
            The directory that holds them.
        """
        jars = _jars()
        jars.parent.mkdir(parents=True, exist_ok=True)
        with jars.with_name(f"{jars.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not jars.exists():
                _download(jars)
        return jars

    @property
    def plain_address(self) -> str:
        """``127.0.0.1:port`` of the listener without TLS and password."""
        return f"127.0.0.1:{self._ports['plain']}"

    @property
    def cluster(self) -> str:
        """The id of its cluster; known once it was started."""
        found = re.search(
            r"^cluster\.id=(.+)$", (self.directory / "data" / "meta.properties").read_text(), re.M
        )
        assert found is not None
        return found[1].replace("\\", "")

    @property
    def topics(self) -> KafkaTopics:
        """The topics, through the listener at `plain_address`."""
        return KafkaTopics(self.plain_address)

    def start(self, within: float = START_SECONDS) -> None:
        """See `Broker.start`; a broker with topics serves them only a little after it takes connections."""
        if not self.alive:
            super().start(within)
            self.topics.await_leaders()

    def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None, replicas: int = 1
    ) -> None:
        """Make a topic and return when it can be written."""
        self.topics.create(name, partitions, config, replicas)

    def tool(self, main_class: str, *arguments: str, within: float = 180.0) -> str:
        """
        Run one of Kafka's own Java programs (costs about two seconds of CPU).

        Args:
            main_class: for example ``org.apache.kafka.tools.TopicCommand``.
            arguments: its command line.
        Returns:
            What it printed.
        Raises:
            BrokerError: it failed; with its words.
        """
        command = [*_java("256m"), main_class, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=within, check=False)
        if done.returncode:
            raise BrokerError(f"{main_class}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _launch(self) -> None:
        if missing := self.missing():
            raise NotInstalled(missing)
        jars = self.fetch()
        self.version = _version(jars)
        configuration = self.directory / "server.properties"
        lines = "".join(f"{key}={value}\n" for key, value in self._configuration().items())
        configuration.write_text(lines)
        if not (self.directory / "data" / "meta.properties").exists():
            self._format(configuration)
        self._server.launch([*_java("512m"), "kafka.Kafka", str(configuration)])

    def _format(self, configuration: Path) -> None:
        """Prepare the empty data directory; SCRAM passwords live in the cluster's metadata from here on."""
        cluster = base64.urlsafe_b64encode(b"\x01" + uuid.uuid4().bytes[1:]).rstrip(b"=").decode()
        if self._joins is not None:
            cluster = self._joins.cluster
        scram = [f"SCRAM-SHA-256=[name={name},password={secret}]" for name, secret in self._users.items()]
        adding = [word for user in scram for word in ("--add-scram", user)]
        self.tool("kafka.tools.StorageTool", "format", "-c", str(configuration), "-t", cluster, *adding)

    def _configuration(self) -> dict[str, str]:
        controller = f"127.0.0.1:{self._ports['controller']}"
        return {
            **_SINGLE_NODE,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"CLIENT://{self.address},PLAIN://{self.plain_address},CONTROLLER://{controller}",
            "advertised.listeners": f"CLIENT://{self._advertised},PLAIN://{self.plain_address}",
            "listener.security.protocol.map": f"CLIENT:{self.security},PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAIN",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.directory / "data"),
            **self._password_settings(),
            **self._tls_settings(),
            **self._second(),
            **self._properties,
        }

    def _second(self) -> dict[str, str]:
        if self._joins is None:
            return {}
        return {
            "process.roles": "broker",
            "node.id": "2",
            "controller.quorum.voters": f"1@127.0.0.1:{self._joins._ports['controller']}",
            "listeners": f"CLIENT://{self.address},PLAIN://{self.plain_address}",
        }

    def _password_settings(self) -> dict[str, str]:
        if not self.security.startswith("SASL_"):
            return {}
        module = "org.apache.kafka.common.security"
        users = " ".join(f'user_{name}="{secret}"' for name, secret in self._users.items())
        listener = "listener.name.client"
        return {
            f"{listener}.sasl.enabled.mechanisms": ",".join(MECHANISMS),
            f"{listener}.plain.sasl.jaas.config": f"{module}.plain.PlainLoginModule required {users};",
            f"{listener}.scram-sha-256.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        }

    def _tls_settings(self) -> dict[str, str]:
        if not self.security.endswith("SSL"):
            return {}
        if self._certificate is None:
            raise BrokerError(f"{self.security} needs a certificate")
        chain = self.directory / "keystore.pem"
        chain.write_bytes(self._certificate.key.read_bytes() + self._certificate.certificate.read_bytes())
        return {
            "listener.name.client.ssl.keystore.type": "PEM",
            "listener.name.client.ssl.keystore.location": str(chain),
        }

    def _ready(self) -> bool:
        """Ask for the cluster's metadata, as a client would: served once the broker lists itself."""
        # Metadata, version 4: correlation 1, client "ready", no topics, no creation of topics.
        body = struct.pack(">hhih5si?", 3, 4, 1, 5, b"ready", 0, False)
        with socket.create_connection(("127.0.0.1", self._ports["plain"]), timeout=5) as client:
            client.sendall(struct.pack(">i", len(body)) + body)
            with client.makefile("rb") as answer:
                head = answer.read(16)  # length, correlation, throttle time, number of brokers
        return len(head) == 16 and struct.unpack(">iiii", head)[3] > 0


def _jars() -> Path:
    wanted = re.search(r"<kafka\.version>(.+)</kafka\.version>", _POM.read_text())
    assert wanted is not None
    return cache_directory() / f"kafka-{wanted[1]}"


def _version(jars: Path) -> str:
    """What is really run: the version in the name of the broker's jar."""
    (broker,) = jars.glob("kafka_2.13-*.jar")
    return broker.stem.rpartition("-")[2]


def _download(jars: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=jars.parent))
    command = ["mvn", "-q", "-B", "--strict-checksums", "-f", str(_POM), "dependency:copy-dependencies"]
    done = subprocess.run(
        [*command, "-DincludeScope=runtime", f"-DoutputDirectory={unfinished}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        shutil.rmtree(unfinished)
        raise BrokerError(f"Maven could not fetch Kafka's jars (is there a network?): {done.stdout[-1000:]}")
    unfinished.rename(jars)


def _java(heap: str) -> list[str]:
    options = ["-Xms128m", f"-Xmx{heap}", f"-Dlog4j2.configurationFile={_LOG_CONFIGURATION}"]
    return ["java", *options, "-cp", f"{_jars()}/*"]
