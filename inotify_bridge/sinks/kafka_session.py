"""What the two Kafka clients have in common: one session at a time, used by one thread, ended by any."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final

from inotify_bridge.errors import SinkUnavailable
from inotify_bridge.sinks.base import Newest, Outcome
from inotify_bridge.sinks.kafka import KafkaOptions
from inotify_bridge.sinks.kafka_records import Record
from inotify_bridge.sinks.kafka_tail import Tail, newest

_log = logging.getLogger("inotify_bridge.sinks.kafka")

# Not got within the time: the other thread hangs in the name service, and drops everything after it.
_CLOSE_SECONDS: Final = 30.0


class Session(ABC):
    """
    See `inotify_bridge.sinks.kafka.Client`. A sub-class fills in what follows the public methods.

    Args:
        options: of the sink.
        topic: its name, filled in.
        client_id: what the broker shows as our name.
    """

    def __init__(self, options: KafkaOptions, topic: str, client_id: str) -> None:
        self._options = options
        self._topic = topic
        self._client_id = client_id
        self._in_use = threading.Lock()
        self._closed = threading.Event()

    def open(self) -> int:
        """End what there was, and begin a new session. Raises: SinkUnavailable, also where `close` comes."""
        self._closed.clear()  # before the lock, which a `close` may be waiting for by then
        with self._in_use:
            if self._closed.is_set():
                raise SinkUnavailable("the connection to Kafka is being closed")
            return self._begin()

    def send(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """Send and wait; the session ends at the first failure."""
        with self._in_use:
            self._need_session()
            return self._send(records)

    def check(self) -> None:
        """Brokers also close what is idle: only one that cannot be reached again has gone."""
        with self._in_use:
            self._need_session()
            self._check()

    def newest(self, partition: int, source: str) -> Newest | None:
        """Over a connection of its own: whatever goes wrong there, the session stands."""
        with self._in_use:
            self._need_session()
            try:
                with self._tail(partition) as tail:
                    return newest(tail, source)
            except Exception as error:
                # Whoever may write to a topic need not be allowed to read it; and anything may stand there.
                why = error if isinstance(error, SinkUnavailable) else type(error).__name__
                _log.debug("cannot tell what Kafka topic '%s' holds: %s", self._topic, why)
                return None

    def close(self) -> None:
        """Interrupt whoever waits and looks at `_closed`, and end the session."""
        self._closed.set()
        if self._in_use.acquire(timeout=_CLOSE_SECONDS):
            try:
                self._drop()
            finally:
                self._in_use.release()

    def _need_session(self) -> None:
        if not self._is_open():
            raise SinkUnavailable("Kafka is not connected")

    @abstractmethod
    def _is_open(self) -> bool:
        """Whether there is a session."""

    @abstractmethod
    def _begin(self) -> int:
        """The rest of `open`, with the lock held; how many partitions the topic has."""

    @abstractmethod
    def _send(self, records: Sequence[Record]) -> Sequence[Outcome]:
        """The rest of `send`, with the lock held and a session open."""

    @abstractmethod
    def _check(self) -> None:
        """The rest of `check`, with the lock held and a session open."""

    @abstractmethod
    def _tail(self, partition: int) -> AbstractContextManager[Tail]:
        """One partition to read from, with the lock held and a session open; ends by any exception."""

    @abstractmethod
    def _drop(self, unconfirmed: bool = False) -> None:
        """
        End the session, if there is one, with the lock held.

        Args:
            unconfirmed: records of it have no answer.
        """
