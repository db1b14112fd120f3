"""
The Kafka client on confluent-kafka (librdkafka): its own threads send, this module counts the confirmations.

librdkafka gives each producer a new id, so the broker cannot tell an old session from a new one. Therefore
a session that failed is purged and its producer destroyed with all its threads before `close` returns, and
a new one is not begun while the kernel still holds unsent bytes of the old connections. What the old session
had already put into the broker's own receive buffer is read by the broker before the new session's records,
which first need several answers from the same broker.

As a producer librdkafka asks for metadata in a way that lets a broker with auto.create.topics.enable make a
topic that is deleted while the session lasts. At `open` nothing is made unless configured.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection

# Exported for users, but not so for mypy.
from confluent_kafka.admin import AclOperation, AdminClient, NewTopic  # type: ignore[attr-defined]

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks.base import ACCEPTED, Outcome, Verdict
from inotify_bridge.sinks.kafka import KafkaOptions, split_address
from inotify_bridge.sinks.kafka_confluent_tail import ConfluentTail
from inotify_bridge.sinks.kafka_errors import (
    LEADER_NOT_AVAILABLE,
    RECORD_REFUSED,
    TOPIC_ALREADY_EXISTS,
    TOPIC_AUTHORIZATION_FAILED,
    UNKNOWN_TOPIC,
    broker_error,
    record_refused,
    too_large,
)
from inotify_bridge.sinks.kafka_records import BATCH_OVERHEAD, Headers, Record, sizes
from inotify_bridge.sinks.kafka_session import Session

_BATCH_BYTES: Final = 1_000_000
_SMALLEST_BATCH_BYTES: Final = 10_000
_BATCH_MESSAGES: Final = 100_000
_LOOK_SECONDS: Final = 0.1  # how soon `close` and errors of the connection are noticed
_GIVE_UP_SECONDS: Final = 5.0
_REACH_SECONDS: Final = 2.0

# Nothing that librdkafka logs is missing in its errors, and it would write to stderr by itself.
_SILENT: Final = logging.getLogger("inotify_bridge.sinks.kafka_confluent.librdkafka")
_SILENT.disabled = True

# Events that mean: nobody will confirm anything soon.
_LOST: Final = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError._FATAL,
    }
)
_MISCONFIGURED: Final = {
    KafkaError._AUTHENTICATION: ("auth", "check sasl.username, sasl.password and sasl.mechanism"),
    KafkaError._SSL: ("connection", "check tls.ca_file, the host name, and whether this port speaks TLS"),
}
_UNAVAILABLE: Final = {
    KafkaError._RESOLVE: ("connection", "check bootstrap_servers and the name service"),
    KafkaError._TIMED_OUT: ("timeout", "check host, port and firewall"),
    KafkaError._MSG_TIMED_OUT: ("timeout", ""),
    KafkaError._TRANSPORT: ("connection", "is the broker running, and does this port want tls or sasl?"),
    KafkaError._ALL_BROKERS_DOWN: ("connection", "does this port want tls or sasl?"),
}
_VAGUE: Final = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT})
_STATE: Final = re.compile(r" \(after \d+ms in state \w+\)$")

# FIN_WAIT1, LAST_ACK, CLOSING in the kernel's tables.
_CLOSED_BUT_SENDING: Final = frozenset({"04", "09", "0B"})

_Note = Callable[[int, KafkaError | None, object], None]


class ConfluentClient(Session):
    """A session with one producer of librdkafka."""

    def __init__(self, options: KafkaOptions, topic: str, client_id: str) -> None:
        super().__init__(options, topic, client_id)
        self._producer: Producer | None = None
        self._errors: list[KafkaError] = []
        self._ports = {split_address(server)[1] for server in options.bootstrap_servers}
        self._left_behind = False
        self._batch_bytes = _BATCH_BYTES

    def _is_open(self) -> bool:
        return self._producer is not None

    def _begin(self) -> int:
        """Check broker and topic, then make the producer."""
        self._drop()
        if self._left_behind and _kernel_holds_unsent(self._ports):
            raise SinkUnavailable("the kernel still holds what an earlier session sent to Kafka")
        self._left_behind = False
        partitions = self._check_topic()
        self._producer = self._make_producer()
        # Connect now, not at the first message: getting a producer id alone can take half a second.
        with contextlib.suppress(KafkaException):
            self._producer.list_topics(self._topic, self._options.connect_timeout)
        return partitions

    def _send(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Hand all records to librdkafka and wait."""
        delivery = _Delivery(len(records))
        try:
            self._deliver(records, delivery)
            if delivery.refused:
                self._deliver_one_by_one(records, delivery)
        except SinkUnavailable as failure:
            self._drop(unconfirmed=True)
            if self._closed.is_set() or ACCEPTED not in delivery.outcomes[:1]:
                raise
            return delivery.up_to_first_gap(Outcome(Verdict.RETRY, failure.reason, failure.message))
        return delivery.settled()

    def _check(self) -> None:
        """Look at what librdkafka has told, and ask for metadata where it lost a connection."""
        producer = self._producer
        assert producer is not None
        producer.poll(0)
        told = [error for error in self._errors if error.code() in _LOST]
        if not told:
            return
        try:
            producer.list_topics(self._topic, _REACH_SECONDS)
            self._errors.clear()
        except KafkaException as error:
            lost = self._unavailable(self._telling(error.args[0]))
            self._drop()
            raise lost from None

    @contextlib.contextmanager
    def _tail(self, partition: int) -> Iterator[ConfluentTail]:
        """A consumer that joins no group."""
        settings = {**self._connection_settings(), "group.id": self._client_id}
        tail = ConfluentTail(settings, self._topic, partition, self._closed, _SILENT)
        with contextlib.closing(tail):
            yield tail

    # -- a session -----------------------------------------------------------------------------------------

    def _make_producer(self, most_messages: int = _BATCH_MESSAGES) -> Producer:
        settings = {
            **self._connection_settings(),
            "acks": "all",
            "enable.idempotence": True,
            "compression.type": self._options.compression,
            "message.max.bytes": self._options.max_message_bytes + BATCH_OVERHEAD,
            "batch.size": self._batch_bytes,
            "batch.num.messages": most_messages,
            # A batch is produced message by message and then flushed, which ends the waiting. Without any
            # the first few would go out in a request each.
            "linger.ms": 100,
            # Nagle's algorithm and delayed acknowledgements hold a small request up for 40 ms and more.
            "socket.nagle.disable": True,
            # The relay bounds a batch; there is never more than one here.
            "queue.buffering.max.messages": 0,
            "message.timeout.ms": int(self._options.delivery_timeout * 1000),
        }
        try:
            return Producer(settings, logger=_SILENT)
        except KafkaException as error:
            raise self._unusable(error) from None

    def _connection_settings(self) -> dict[str, Any]:
        options = self._options
        settings: dict[str, Any] = {
            "bootstrap.servers": ",".join(options.bootstrap_servers),
            "client.id": self._client_id,
            "error_cb": self._errors.append,
            "log.connection.close": False,
            "socket.keepalive.enable": True,
            "socket.connection.setup.timeout.ms": max(1000, int(options.connect_timeout * 1000)),
        }
        if options.tls is not None:
            files = {
                "ssl.ca.location": options.tls.ca_file,
                "ssl.certificate.location": options.tls.cert_file,
                "ssl.key.location": options.tls.key_file or options.tls.cert_file,
            }
            settings |= {name: str(file) for name, file in files.items() if file}
            settings["enable.ssl.certificate.verification"] = not options.tls.insecure
            settings["ssl.endpoint.identification.algorithm"] = "none" if options.tls.insecure else "https"
        if options.sasl is not None:
            settings["sasl.mechanism"] = options.sasl.mechanism
            settings["sasl.username"] = options.sasl.username
            settings["sasl.password"] = options.sasl.secret()
        security = ("SASL_" if options.sasl else "") + ("SSL" if options.tls else "PLAINTEXT")
        return {**settings, "security.protocol": security}

    def _drop(self, unconfirmed: bool = False) -> None:
        """librdkafka must forget unconfirmed records before it may go."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        self._left_behind |= unconfirmed
        producer.purge(in_queue=True, in_flight=True, blocking=True)
        producer.flush(_GIVE_UP_SECONDS)
        producer.close()

    # -- the topic -----------------------------------------------------------------------------------------

    def _check_topic(self) -> int:
        self._errors.clear()
        topic, code = self._found_topic()
        if code or topic is None:
            raise broker_error(code or UNKNOWN_TOPIC, "", self._topic)
        rights = topic.authorized_operations
        if rights and AclOperation.WRITE not in rights:
            raise broker_error(TOPIC_AUTHORIZATION_FAILED, "", self._topic)
        leaders = [partition.leader for partition in topic.partitions]
        if not all(leaders):
            raise broker_error(LEADER_NOT_AVAILABLE, "", self._topic)
        self._ports |= {leader.port for leader in leaders}
        return len(leaders)

    def _found_topic(self) -> tuple[Any, int]:
        """The topic's description, or the broker's error code; made before where the options say so."""
        try:
            client = AdminClient(self._connection_settings(), logger=_SILENT)
        except KafkaException as error:
            raise self._unusable(error) from None
        # Ended here, with all its threads: an exception keeps it alive, until whatever thread collects that.
        with client as admin:
            topic, code = self._describe(admin)
            if code == UNKNOWN_TOPIC and self._options.create_topic:
                self._create_topic(admin)
                topic, code = self._await_topic(admin)
        return topic, code

    def _describe(self, admin: AdminClient) -> tuple[Any, int]:
        """The topic's description, or the broker's error code. Unlike other requests, this makes no topic."""
        futures = admin.describe_topics(
            TopicCollection([self._topic]),
            include_authorized_operations=True,
            request_timeout=self._options.connect_timeout,
        )
        return self._answer(admin, futures[self._topic])

    def _await_topic(self, admin: AdminClient) -> tuple[Any, int]:
        deadline = time.monotonic() + self._options.connect_timeout
        while True:
            topic, code = self._describe(admin)
            settled = topic is not None and all(one.leader for one in topic.partitions)
            unsettled = code in (0, UNKNOWN_TOPIC, LEADER_NOT_AVAILABLE)
            if settled or not unsettled or time.monotonic() > deadline:
                return topic, code
            self._closed.wait(_LOOK_SECONDS)

    def _create_topic(self, admin: AdminClient) -> None:
        wanted = self._options.create_topic
        assert wanted
        topic = NewTopic(self._topic, wanted.partitions, wanted.replication_factor)
        timeout = self._options.connect_timeout
        futures = admin.create_topics([topic], operation_timeout=timeout, request_timeout=timeout)
        _, code = self._answer(admin, futures[self._topic])
        if code not in (0, TOPIC_ALREADY_EXISTS):
            raise broker_error(code, KafkaError(code).name(), self._topic)

    def _answer(self, admin: AdminClient, future: Future[Any]) -> tuple[Any, int]:
        """
        What the broker answered, or its error code.

        Raises:
            SinkUnavailable: no broker answers.
        """
        while not future.done():
            admin.poll(_LOOK_SECONDS)
            self._raise_if_lost()
        try:
            return future.result(), 0
        except KafkaException as error:
            if error.args[0].code() > 0:
                return None, error.args[0].code()
            raise self._unavailable(self._telling(error.args[0])) from None

    # -- sending -------------------------------------------------------------------------------------------

    def _deliver(self, records: Sequence[Record], delivery: _Delivery, alone: bool = False) -> None:
        """
        Send what `delivery` does not know yet, and wait.

        Args:
            alone: the producer puts one record into a batch, so that a refusal means this record.
        Raises:
            SinkUnavailable: the session is over.
        """
        producer = self._producer
        assert producer is not None
        producer.poll(0)
        # What was reported while nothing was sent, such as a connection closed for being idle, is no news.
        self._errors.clear()
        self._produce(producer, records, delivery, delivery.note_alone if alone else delivery.note)
        while delivery.waiting and delivery.failure is None:
            producer.flush(_LOOK_SECONDS)
            self._raise_if_lost()
        if delivery.failure is not None:
            raise self._unavailable(delivery.failure)

    def _produce(
        self, producer: Producer, records: Sequence[Record], delivery: _Delivery, note: _Note
    ) -> None:
        limit = self._options.max_message_bytes
        last_headers: Headers | None = None
        headers: list[tuple[str, str | bytes | None]] = []
        for place, (record, size) in enumerate(zip(records, sizes(records), strict=True)):
            if delivery.outcomes[place] is not None:
                continue
            if size + BATCH_OVERHEAD > limit:
                delivery.outcomes[place] = too_large(size, limit)
                continue
            if record.headers is not last_headers:
                last_headers, headers = record.headers, list(record.headers)
            delivery.waiting += 1
            producer.produce(
                self._topic,
                record.value,
                record.key,
                record.partition,
                partial(note, place),
                timestamp=record.timestamp,
                headers=headers,
            )

    def _deliver_one_by_one(self, records: Sequence[Record], delivery: _Delivery) -> None:
        """
        Send again from the first refused record on, each as a batch of its own.

        A broker refuses a batch as a whole and librdkafka does not split it. Everything of the first attempt
        has been answered, so nothing of it can come late.
        """
        delivery.forget_from_first_gap()
        self._drop()
        self._producer = self._make_producer(most_messages=1)
        self._deliver(records, delivery, alone=True)
        if all(outcome is ACCEPTED for outcome in delivery.outcomes):
            # No record is too large, so the batches were: the topic takes less than librdkafka sends.
            self._batch_bytes = max(self._batch_bytes // 2, _SMALLEST_BATCH_BYTES)
        self._drop()
        self._producer = self._make_producer()

    def _raise_if_lost(self) -> None:
        if self._closed.is_set():
            raise SinkUnavailable("the connection to Kafka was closed on our side")
        for error in self._errors:
            if error.code() in _LOST:
                raise self._unavailable(self._telling(error))

    def _telling(self, error: KafkaError) -> KafkaError:
        """The event that says most: a refusal, or the last that says more than that nobody answers."""
        refusals = [one for one in self._errors if one.code() in _MISCONFIGURED or _is_distrust(one)]
        told = refusals or [one for one in self._errors if one.code() not in _VAGUE]
        return told[-1] if told and error.code() in _VAGUE else error

    def _unavailable(self, error: KafkaError) -> SinkUnavailable:
        code = KafkaError._SSL if _is_distrust(error) else error.code()
        if code > 0:
            return broker_error(code, error.name(), self._topic)
        what = f"Kafka at {self._options.servers}: {_STATE.sub('', error.str())}"
        if code in _MISCONFIGURED:
            reason, hint = _MISCONFIGURED[code]
            return SinkMisconfigured(what, hint, reason)
        if code == KafkaError._ALL_BROKERS_DOWN:
            what = f"Kafka at {self._options.servers} closes the connection"
        reason, hint = _UNAVAILABLE.get(code, ("connection", ""))
        return SinkUnavailable(what, hint, reason)

    def _unusable(self, error: KafkaException) -> SinkMisconfigured:
        """librdkafka takes files and settings apart when a client is made."""
        what = f"Kafka at {self._options.servers}: {error.args[0].str()}"
        return SinkMisconfigured(what, "check the files in tls, and sasl", "other")


def _is_distrust(error: KafkaError) -> bool:
    """librdkafka reports a certificate that is not trusted now as SSL, now as a transport failure."""
    return error.code() in (KafkaError._SSL, KafkaError._TRANSPORT) and "certificate" in error.str()


class _Delivery:
    """What became of the records of one send. Used by the sending thread alone: callbacks run in its poll."""

    def __init__(self, count: int) -> None:
        self.outcomes: list[Outcome | None] = [None] * count
        self.waiting = 0
        self.refused = False
        self.failure: KafkaError | None = None

    def note(self, place: int, error: KafkaError | None, message: object) -> None:
        """The delivery report of one record."""
        self.waiting -= 1
        if error is None:
            self.outcomes[place] = ACCEPTED
        elif error.code() in RECORD_REFUSED or error.code() == KafkaError._INVALID_DIFFERENT_RECORD:
            self.refused = True
        elif self.failure is None:
            self.failure = error

    def note_alone(self, place: int, error: KafkaError | None, message: object) -> None:
        """The same for a record that was alone in its batch."""
        if error is not None and error.code() in RECORD_REFUSED:
            self.waiting -= 1
            self.outcomes[place] = record_refused(error.code(), error.str())
        else:
            self.note(place, error, message)

    def forget_from_first_gap(self) -> None:
        """Keep what is known up to the first record without an outcome."""
        first = self.outcomes.index(None)
        self.outcomes[first:] = [None] * (len(self.outcomes) - first)
        self.refused = False

    def up_to_first_gap(self, rest: Outcome) -> list[Outcome]:
        """The outcomes, with `rest` from the first record on that has none."""
        known = self.outcomes
        first = known.index(None) if None in known else len(known)
        return [*self._known(known[:first]), *[rest] * (len(known) - first)]

    def settled(self) -> list[Outcome]:
        """The outcomes, when all are known."""
        return self._known(self.outcomes)

    @staticmethod
    def _known(outcomes: list[Outcome | None]) -> list[Outcome]:
        assert None not in outcomes
        return cast("list[Outcome]", outcomes)


def _kernel_holds_unsent(ports: set[int]) -> bool:
    """
    True while a closed connection to one of the ports has bytes that the other side has not acknowledged.

    The kernel goes on sending them for minutes after the socket was closed, for example when a cut network
    heals, and they would come behind what a new connection sends.
    """
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), Path(table).open() as lines:
            next(lines)
            for line in lines:
                _, _, remote, state, *_ = line.split()
                if state in _CLOSED_BUT_SENDING and int(remote.rpartition(":")[2], 16) in ports:
                    return True
    return False
