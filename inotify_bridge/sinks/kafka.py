"""
Apache Kafka: one topic for each watch group, every message confirmed by all in-sync replicas.

With ``partition_by: group`` the whole stream goes to one explicit partition, in total order: hashing a key
would move it when partitions are added. With ``path`` or ``directory`` messages spread over all partitions by
a hash of their key, and what concerns the stream itself goes to all of them.

Two clients can carry it, and are imported only when chosen: ``kafka-python`` and ``confluent``. Both write
with acks=all and as idempotent producers; neither is an option.
"""

from __future__ import annotations

import importlib.util
import re
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks.base import ACCEPTED, Message, Newest, Outcome, SinkContext, Verdict
from inotify_bridge.sinks.kafka_records import Headers, Record
from inotify_bridge.sinks.registry import import_driver, is_this_machine, silence_driver, warn_insecure
from inotify_bridge.units import Bytes, Seconds

_STRUCTURED: Final[Headers] = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_COMPRESSION_MODULES: Final = {"snappy": "snappy", "lz4": "lz4", "zstd": "zstandard"}
_COMPRESSION_PACKAGES: Final = {"snappy": "python-snappy", "lz4": "lz4", "zstd": "zstandard"}

# kafka-python logs every lost connection as an error, and whole messages with their keys at DEBUG.
silence_driver("kafka")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TopicCreation(_Model):
    """How to make a topic that does not exist."""

    partitions: int = Field(default=1, ge=1)
    replication_factor: int = Field(default=-1, ge=-1, description="-1: as the broker is configured")

    @field_validator("replication_factor")
    @classmethod
    def _some_replica(cls, value: int) -> int:
        if value == 0:
            raise ValueError("must be at least 1, or -1 for the broker's default")
        return value


class Tls(_Model):
    """TLS to the brokers; an empty section trusts the system's authorities."""

    ca_file: Path | None = None
    cert_file: Path | None = Field(default=None, description="the client's own certificate, PEM")
    key_file: Path | None = Field(default=None, description="its key, PEM; may stand in cert_file")
    insecure: bool = Field(default=False, description="verify neither certificate nor host name")

    @model_validator(mode="after")
    def _key_needs_certificate(self) -> Self:
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file")
        return self


class Sasl(_Model):
    """Who we are to the brokers."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
    username: str = Field(min_length=1)
    password: SecretStr | None = None
    password_file: Path | None = Field(default=None, description="read again at every connect")

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if (self.password is None) == (self.password_file is None):
            raise ValueError("needs either password or password_file")
        return self

    def secret(self) -> str:
        """
        The password as it is now.

        Raises:
            SinkMisconfigured: its file cannot be read.
        """
        if self.password is not None:
            return self.password.get_secret_value()
        assert self.password_file is not None
        try:
            return self.password_file.read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "no text"
            raise SinkMisconfigured(
                f"cannot read sasl.password_file {self.password_file}: {why}",
                "give a readable file that holds the password alone",
                reason="auth",
            ) from None


class KafkaOptions(_Model):
    """The configuration of a Kafka sink."""

    bootstrap_servers: tuple[str, ...] = Field(min_length=1, description="host:port of some brokers")
    topic: str = "inotify-bridge.{group}"
    client: Literal["kafka-python", "confluent"] = "kafka-python"
    partition: int = Field(default=0, ge=0, description="for partition_by: group")
    create_topic: Literal[False] | TopicCreation = False
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none"
    max_message_bytes: Bytes = Field(
        default=1_000_000, ge=1000, description="longer messages are parked; not more than the broker takes"
    )
    tls: Tls | None = None
    sasl: Sasl | None = None
    connect_timeout: Seconds = Field(default=10.0, gt=0)
    delivery_timeout: Seconds = Field(
        default=30.0, ge=1, description="without a confirmation for so long, the connection is given up"
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for number, server in enumerate(value, 1):
            try:
                split_address(server)
            except ValueError as error:
                raise ValueError(f"entry {number} {error}") from None
        return value

    @field_validator("client")
    @classmethod
    def _client_is_there(cls, value: str) -> str:
        if value == "confluent" and importlib.util.find_spec("confluent_kafka") is None:
            raise ValueError(
                "needs the Python module 'confluent_kafka', which is not installed"
                " (pip install 'inotify-bridge[confluent]')"
            )
        return value

    @field_validator("topic")
    @classmethod
    def _topic_name(cls, value: str) -> str:
        if not _TOPIC.fullmatch(value.replace("{group}", "g" * 40)) or value in {".", ".."}:
            raise ValueError(
                "is no topic name: use letters, digits, '.', '_' and '-', at most 249; {group} is the group"
            )
        return value

    @model_validator(mode="after")
    def _compression_is_there(self) -> Self:
        module = _COMPRESSION_MODULES.get(self.compression)
        if self.client == "kafka-python" and module and importlib.util.find_spec(module) is None:
            raise ValueError(
                f"compression {self.compression} with client kafka-python needs the Python module '{module}'"
                f" (pip install {_COMPRESSION_PACKAGES[self.compression]})"
            )
        return self

    @property
    def is_insecure(self) -> bool:
        """Whether others on the way could read and change what is sent."""
        if self.tls is not None:
            return self.tls.insecure
        return not all(is_this_machine(split_address(server)[0]) for server in self.bootstrap_servers)

    @property
    def servers(self) -> str:
        """The bootstrap servers as one text, for messages."""
        return ", ".join(self.bootstrap_servers)


def split_address(server: str) -> tuple[str, int]:
    """
    Host and port of ``host``, ``host:port`` or ``[::1]:port``; the default port is 9092.

    Raises:
        ValueError: it is no such address; it is not repeated, for a password may stand in it.
    """
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\s/@]+))(?::([0-9]{1,5}))?", server)
    if not found or int(found[3] or 9092) > 65535:
        raise ValueError("is no host:port: no scheme, and user and password belong in sasl")
    return found[1] or found[2], int(found[3] or 9092)


class Client(Protocol):
    """One client library, as the sink uses it: from one thread, but for `close`."""

    def open(self) -> int:
        """
        Connect, and make sure that the topic can be written.

        Returns:
            How many partitions the topic has.
        Raises:
            SinkUnavailable: with what to do, and no secret.
        """

    def send(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """
        Send the records, in order within each partition, and wait until each is confirmed or refused.

        Returns:
            One outcome a record. After a `RETRY` the session has ended: nothing that was sent in it and is
            not confirmed comes behind what a later session sends.
        Raises:
            SinkUnavailable: the session has ended and nothing was confirmed, or `close` was called.
        """

    def check(self) -> None:
        """
        Look whether the session can still send, and begin a new one where the broker has ended it.

        Raises:
            SinkUnavailable: it cannot, and the session has ended; or `close` was called.
        """

    def newest(self, partition: int, source: str) -> Newest | None:
        """
        The message of a source that stands furthest in the stream, at the end of a partition.

        Returns:
            None where there is none among the last some hundred records, or it cannot be told in 3 s.
        Raises:
            SinkUnavailable: there is no session.
        """

    def close(self) -> None:
        """End the session. Idempotent, bounded in time; from any thread."""


class KafkaSink:
    """
    The sink of type ``kafka``: see `inotify_bridge.sinks.base.Sink` for its methods and threads.

    Raises:
        ConfigError: the chosen client library is not installed.
    """

    Options = KafkaOptions

    def __init__(self, options: KafkaOptions, context: SinkContext) -> None:
        if options.tls is not None and options.tls.insecure:
            warn_insecure(context.name, f"Kafka at {options.servers}")
        self._source = context.source
        self._partition = options.partition
        self._spread = context.partition_by != "group"
        self._binary = context.content_mode == "binary"
        self._topic = options.topic.replace("{group}", context.group)
        self._client = _client(options, self._topic, context.client_id)
        self._partitions = 0

    def connect(self) -> None:
        """Connect and check the topic, without the broker making it by itself."""
        self._partitions = self._client.open()
        if not self._spread and self._partition >= self._partitions:
            self._client.close()
            raise SinkMisconfigured(
                f"Kafka topic '{self._topic}' has no partition {self._partition}:"
                f" it has {self._partitions}, counted from 0",
                "change partition, or add partitions to the topic",
                reason="not_found",
            )

    def publish(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        """Send the batch and wait for all confirmations."""
        if not self._partitions:
            raise SinkUnavailable("Kafka is not connected")
        if not batch:
            return []
        if self._spread:
            return self._publish_spread(batch)
        now = time.time()
        return self._client.send([self._record(message, self._partition, now) for message in batch])

    def check(self) -> None:
        """Raises: SinkUnavailable, the connection was lost and no other could be made."""
        self._client.check()

    def newest(self) -> Newest | None:
        """
        See `inotify_bridge.sinks.base.Remembering`. Asks by ``partition_by: group`` only: spread messages
        have no last one. None also where it cannot be told.
        """
        return None if self._spread else self._client.newest(self._partition, self._source)

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def _publish_spread(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        records: list[Record] = []
        owners: list[int] = []
        now = time.time()
        for place, message in enumerate(batch):
            for partition in self._places(message):
                records.append(self._record(message, partition, now))
                owners.append(place)
        outcomes = [ACCEPTED] * len(batch)
        for owner, outcome in zip(owners, self._client.send(records), strict=True):
            if outcome.verdict is not Verdict.ACCEPTED and outcomes[owner].verdict is not Verdict.RETRY:
                outcomes[owner] = outcome
        return outcomes

    def _places(self, message: Message) -> Sequence[int]:
        if message.kind.startswith("stream."):
            return range(self._partitions)
        return (zlib.crc32(message.key) % self._partitions,)

    def _record(self, message: Message, partition: int, now: float) -> Record:
        _, happened, _, key, body = message
        # Recorded while the clock was ahead, and delivered when it was set back: a broker takes no such time.
        timestamp = int(min(happened, now) * 1000)
        if self._binary:
            return Record(partition, key, message.data(), _binary_headers(message), timestamp)
        return Record(partition, key, body, _STRUCTURED, timestamp)


def _binary_headers(message: Message) -> Headers:
    attributes = message.attributes()
    content_type = attributes.pop("datacontenttype", "application/json")
    headers = [(f"ce_{name}", value.encode()) for name, value in attributes.items()]
    return (*headers, ("content-type", content_type.encode()))


def _client(options: KafkaOptions, topic: str, client_id: str) -> Client:
    if options.client == "confluent":
        import_driver("confluent_kafka", "client: confluent")
        from inotify_bridge.sinks.kafka_confluent import ConfluentClient

        return ConfluentClient(options, topic, client_id)
    import_driver("kafka", "client: kafka-python")
    from inotify_bridge.sinks.kafka_python import PythonClient

    return PythonClient(options, topic, client_id)
