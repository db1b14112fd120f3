"""
The Kafka client on kafka-python's protocol layer: no thread, one request at a time for each broker.

What makes it safe against late sends. A session that has ended may have left a request in the broker's own
receive buffer (a frozen broker reads it when it thaws), where no client can take it back. So every session
of one sink writes with the same producer id and the next higher epoch: once a partition has seen the new
session, the broker refuses whatever is left of the old one (INVALID_PRODUCER_EPOCH). Late records therefore
come before all of the new session's, never between them.

While a request is on its way the next one is encoded, so that the broker and this process work at once.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from kafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from kafka.errors import for_code
from kafka.protocol.producer import ProduceRequest

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks.base import ACCEPTED, Outcome, Verdict
from inotify_bridge.sinks.kafka import KafkaOptions, split_address
from inotify_bridge.sinks.kafka_connection import Connection
from inotify_bridge.sinks.kafka_errors import RECORD_REFUSED, broker_error, record_refused, too_large
from inotify_bridge.sinks.kafka_python_tail import PythonTail
from inotify_bridge.sinks.kafka_records import BATCH_OVERHEAD, Codec, Record, Stamp, encode_batch, sizes
from inotify_bridge.sinks.kafka_session import Session
from inotify_bridge.sinks.kafka_tail import ANSWER_SECONDS
from inotify_bridge.sinks.kafka_topic import Address, TopicQuery

_PARCEL_BYTES: Final = 256 * 1024
"""Large enough that a request's own cost (about 0.3 ms) does not count, small enough to encode ahead."""

_SMALLEST_PARCEL_BYTES: Final = 10_000
_LAST_EPOCH: Final = 32767
_SEQUENCES: Final = 1 << 31
_IDLE_SECONDS: Final = 30.0  # brokers close what was idle for connections.max.idle.ms, mostly 10 minutes
_PRODUCER_UNKNOWN: Final = frozenset({45, 46, 47, 59})  # out of order, duplicate, fenced, forgotten

_CODECS: Final = {
    "none": None,
    "gzip": Codec(1, gzip_encode),
    "snappy": Codec(2, snappy_encode),
    "lz4": Codec(3, lz4_encode),
    "zstd": Codec(4, zstd_encode),
}


@dataclass(slots=True)
class _Parcel:
    """A run of records for one partition: one batch in one request. `places` are their places in the send."""

    partition: int
    places: list[int]
    sequence: int = 0
    batch: bytes = b""


_Flight = list[_Parcel]
"""Parcels that travel at the same time, at most one a partition."""


class PythonClient(Session):
    """A session in blocking calls, see `inotify_bridge.sinks.kafka_connection`."""

    def __init__(self, options: KafkaOptions, topic: str, client_id: str) -> None:
        super().__init__(options, topic, client_id)
        self._codec = _CODECS[options.compression]
        self._connections: list[Connection] = []
        self._leaders: dict[int, Connection] = {}
        self._cluster = ""
        self._query = TopicQuery(options, topic, self._closed)
        self._producer = -1
        self._epoch = -1
        self._sequences: dict[int, int] = defaultdict(int)
        self._parcel_bytes = _PARCEL_BYTES
        self._used_at = 0.0

    def close(self) -> None:
        """Interrupt whoever waits for an answer, and close the connections."""
        self._closed.set()
        for connection in tuple(self._connections):
            connection.interrupt()
        super().close()

    def _is_open(self) -> bool:
        return bool(self._leaders)

    def _send(self, records: Sequence[Record]) -> Sequence[Outcome]:
        outcomes: list[Outcome | None] = [None] * len(records)
        try:
            # Nothing is in flight now: connections that are closed need cost no failure.
            if time.monotonic() - self._used_at >= _IDLE_SECONDS:
                self._check()
            self._deliver(records, outcomes)
        except SinkUnavailable as failure:
            self._drop()
            if self._closed.is_set() or ACCEPTED not in outcomes:
                raise
            again = Outcome(Verdict.RETRY, failure.reason, failure.message)
            return [outcome or again for outcome in outcomes]
        self._used_at = time.monotonic()
        return [outcome for outcome in outcomes if outcome is not None]

    def _check(self) -> None:
        """A new session in place of one with a connection that the broker has closed."""
        connections = set(self._leaders.values())
        if any(connection.is_stale() for connection in connections):
            before = len(self._leaders)
            if self._begin() < before:
                raise SinkUnavailable(f"Kafka topic '{self._topic}' has fewer partitions than before")

    @contextlib.contextmanager
    def _tail(self, partition: int) -> Iterator[PythonTail]:
        """Not by the session's connection: a late answer would be taken for that to a later request."""
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            host, port = split_address(self._leaders[partition].address)
            connection = self._connect(host, port, ANSWER_SECONDS)
            yield PythonTail(connection, self._topic, partition, deadline)
        finally:
            self._close_unused()

    # -- a session -----------------------------------------------------------------------------------------

    def _begin(self) -> int:
        """Connect to the leaders of all partitions."""
        self._drop()
        try:
            first = self._bootstrap()
            layout = self._query.layout(first, lambda address: self._connect_advertised(first, address))
            by_address = self._connect_leaders(first, layout.leaders.values())
            leaders = {partition: by_address[address] for partition, address in layout.leaders.items()}
            self._begin_epoch(first, layout.cluster)
            if layout.is_new:
                for partition, leader in leaders.items():
                    self._query.await_leader(leader, partition)
        except SinkUnavailable:
            self._drop()
            raise
        self._leaders = leaders
        self._close_unused()
        self._sequences.clear()
        self._used_at = time.monotonic()
        return len(leaders)

    def _bootstrap(self) -> Connection:
        """A connection to the first configured server that answers."""
        failure: SinkUnavailable | None = None
        for server in self._options.bootstrap_servers:
            try:
                return self._connect(*split_address(server))
            except SinkUnavailable as error:
                # A refused password says more than another server that is down.
                if failure is None or not isinstance(failure, SinkMisconfigured):
                    failure = error
        assert failure is not None
        raise failure

    def _connect(self, host: str, port: int, at_most: float = math.inf) -> Connection:
        connection = Connection(host, port, self._options, self._client_id)
        self._connections.append(connection)
        if self._closed.is_set():
            raise SinkUnavailable("the connection to Kafka was closed on our side")
        connection.open(min(self._options.connect_timeout, at_most))
        return connection

    def _connect_leaders(self, first: Connection, wanted: Iterable[Address]) -> dict[Address, Connection]:
        connections: dict[Address, Connection] = {}
        for address in wanted:
            if address not in connections:
                reuse = str(address) == first.address
                connections[address] = first if reuse else self._connect_advertised(first, address)
        return connections

    def _connect_advertised(self, first: Connection, address: Address) -> Connection:
        try:
            return self._connect(*address)
        except SinkUnavailable as error:
            told = f"{error.message}; this address was named by {first.address}"
            hint = error.hint or "check the broker's advertised.listeners"
            raise type(error)(told, hint, error.reason) from error.__cause__

    def _begin_epoch(self, connection: Connection, cluster: str) -> None:
        """Become the writer whose records come after those of all our earlier sessions."""
        # Ids belong to one cluster: another one at the same address may have given ours to somebody else.
        if cluster == self._cluster and self._producer >= 0 and self._epoch < _LAST_EPOCH:
            self._epoch += 1
            return
        self._producer, self._epoch = self._query.producer_id(connection)
        self._cluster = cluster

    def _close_unused(self) -> None:
        used = set(self._leaders.values())
        for connection in [one for one in self._connections if one not in used]:
            connection.abort()
            self._connections.remove(connection)

    def _drop(self, unconfirmed: bool = False) -> None:
        """What the session has not confirmed is unknown from here on."""
        self._leaders = {}
        for connection in self._connections:
            connection.abort()
        self._connections.clear()

    # -- sending -------------------------------------------------------------------------------------------

    def _deliver(self, records: Sequence[Record], outcomes: list[Outcome | None]) -> None:
        for connection in set(self._leaders.values()):
            connection.renew_identity()
        flights = deque(self._flights(records, outcomes))
        ahead: _Flight | None = None
        was_split = False
        while flights:
            flight = flights.popleft()
            if ahead is None:
                self._encode(flight, records)
            deadline = time.monotonic() + self._options.delivery_timeout
            waiting = self._transmit(flight, deadline)
            ahead = flights[0] if flights else None
            if ahead is not None:
                self._encode(ahead, records)
            refused = self._settle(flight, self._answers(waiting, deadline), outcomes)
            if refused:
                self._rewind([*(ahead or ()), *refused])
                ahead = None
                halves = self._halves(refused)
                flights.extendleft(halves)
                was_split |= bool(halves)
        if was_split and all(outcome is ACCEPTED for outcome in outcomes):
            # No record is too large, so the parcels were: the topic takes less than is usual.
            self._parcel_bytes = max(self._parcel_bytes // 2, _SMALLEST_PARCEL_BYTES)

    def _flights(self, records: Sequence[Record], outcomes: list[Outcome | None]) -> Iterator[_Flight]:
        """The parcels of all partitions side by side; what is too large for our own limit is left out."""
        parcels: dict[int, list[_Parcel]] = defaultdict(list)
        room: dict[int, int] = {}
        limit = self._options.max_message_bytes
        for place, size in enumerate(sizes(records)):
            if size + BATCH_OVERHEAD > limit:
                outcomes[place] = too_large(size, limit)
                continue
            partition = records[place].partition
            left = room.get(partition, 0) - size
            if left < 0:
                parcels[partition].append(_Parcel(partition, []))
                left = min(self._parcel_bytes, limit) - BATCH_OVERHEAD - size
            room[partition] = left
            parcels[partition][-1].places.append(place)
        for step in range(max(map(len, parcels.values()), default=0)):
            yield [line[step] for line in parcels.values() if step < len(line)]

    def _encode(self, flight: _Flight, records: Sequence[Record]) -> None:
        for parcel in flight:
            parcel.sequence = self._sequences[parcel.partition]
            self._sequences[parcel.partition] = (parcel.sequence + len(parcel.places)) % _SEQUENCES
            stamp = Stamp(self._producer, self._epoch, parcel.sequence)
            parcel.batch = encode_batch([records[place] for place in parcel.places], stamp, self._codec)

    def _transmit(self, flight: _Flight, deadline: float) -> list[Connection]:
        by_leader: dict[Connection, _Flight] = defaultdict(list)
        for parcel in flight:
            by_leader[self._leaders[parcel.partition]].append(parcel)
        for connection, parcels in by_leader.items():
            connection.send(self._produce_request(parcels), deadline)
        return list(by_leader)

    def _produce_request(self, parcels: _Flight) -> Any:
        data = ProduceRequest.TopicProduceData
        partitions = [data.PartitionProduceData(index=one.partition, records=one.batch) for one in parcels]
        return ProduceRequest(
            transactional_id=None,
            acks=-1,
            timeout_ms=int(self._options.delivery_timeout * 1000),
            topic_data=[data(name=self._topic, partition_data=partitions)],
            min_version=7,
            max_version=9,
        )

    def _answers(self, waiting: list[Connection], deadline: float) -> dict[int, Any]:
        """The broker's answer for each partition of the flight."""
        answers = [connection.receive(deadline) for connection in waiting]
        topics = chain.from_iterable(answer.responses for answer in answers)
        return {one.index: one for topic in topics for one in topic.partition_responses}

    def _settle(
        self, flight: _Flight, answers: dict[int, Any], outcomes: list[Outcome | None]
    ) -> list[_Parcel]:
        """
        Note the outcomes of a flight.

        Returns:
            Parcels that the broker refused because of a record in them.
        Raises:
            SinkUnavailable: it refused for another reason, which ends the session.
        """
        refused, failure = [], None
        for parcel in flight:
            answer = answers[parcel.partition]
            if not answer.error_code:
                _note(parcel, ACCEPTED, outcomes)
            elif answer.error_code not in RECORD_REFUSED:
                failure = answer
            else:
                refused.append(parcel)
                if len(parcel.places) == 1:
                    detail = answer.error_message or for_code(answer.error_code).__name__
                    _note(parcel, record_refused(answer.error_code, detail), outcomes)
        if failure is not None:
            raise self._session_over(failure.error_code, failure.error_message or "")
        return refused

    def _rewind(self, parcels: Sequence[_Parcel]) -> None:
        """Take back the numbers of parcels that were not stored, so that the broker sees no hole."""
        # The last in the list was encoded first: its number is the one to go on with.
        for parcel in parcels:
            self._sequences[parcel.partition] = parcel.sequence

    def _halves(self, refused: Sequence[_Parcel]) -> tuple[_Flight, ...]:
        """Refused parcels in two flights, last first: a record in there is too large, or all are together."""
        several = [parcel for parcel in refused if len(parcel.places) > 1]
        if not several:
            return ()
        first, second = [], []
        for parcel in several:
            half = len(parcel.places) // 2
            first.append(_Parcel(parcel.partition, parcel.places[:half]))
            second.append(_Parcel(parcel.partition, parcel.places[half:]))
        return second, first

    def _session_over(self, code: int, detail: str) -> SinkUnavailable:
        if code in _PRODUCER_UNKNOWN:
            self._producer = -1
        return self._error(code, detail)

    def _error(self, code: int, detail: str = "") -> SinkUnavailable:
        return broker_error(code, for_code(code).__name__, self._topic, detail)


def _note(parcel: _Parcel, outcome: Outcome, outcomes: list[Outcome | None]) -> None:
    parcel.batch = b""
    for place in parcel.places:
        outcomes[place] = outcome
