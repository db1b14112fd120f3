"""An independent consumer of a real broker: a thread that outlives every outage of it."""

from __future__ import annotations

import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import pika
from confluent_kafka import Consumer, TopicPartition
from pika.adapters.utils.connection_workflow import AMQPConnectorException

_PREFETCH: Final = 2000
_ACKNOWLEDGE: Final = 200
_GLANCE: Final = 0.2
_AGAIN: Final = 0.3
_KEPT: Final = 3
_OUTAGES: Final = (OSError, pika.exceptions.AMQPError, AMQPConnectorException)


class Reader(ABC):
    """
    Gives every message to `take`, in the broker's order, and writes it down.

    Args:
        take: called on the reader's thread with each body.
        directory: for what came, in files of which the last few are kept; see `next_file`.
    """

    def __init__(self, take: Callable[[bytes], None], directory: Path) -> None:
        self.outages = 0
        self._take = take
        self._directory = directory
        self._files: list[Path] = []
        self._ending = threading.Event()
        self._changing = threading.Lock()
        self._file = self._opened()
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def start(self) -> None:
        """Begin, on a thread of its own."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it reads, or waits for the broker."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End it."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(30)
        self._file.close()

    def next_file(self) -> None:
        """What comes from now on goes to a new file; old ones go."""
        with self._changing:
            self._file.close()
            self._file = self._opened()
            for old in self._files[:-_KEPT]:
                old.unlink(missing_ok=True)

    def _opened(self) -> IO[bytes]:
        self._files.append(self._directory / f"stream-{len(self._files):04}.jsonl")
        return self._files[-1].open("ab", buffering=0)

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                for body in self._messages():
                    self._note(body)
                    if self._ending.is_set():
                        return
            except _OUTAGES:
                self.outages += 1
                self._ending.wait(_AGAIN)

    def _note(self, body: bytes) -> None:
        with self._changing:
            self._file.write(b"%d %s\n" % (time.time_ns(), body))
        self._take(body)

    @abstractmethod
    def _messages(self) -> Iterator[bytes]:
        """What comes until the end or an outage, which it raises."""


class RabbitmqReader(Reader):
    """
    Of one queue. What it has not acknowledged when the connection ends comes again, in order.
    """

    def __init__(self, url: str, queue: str, take: Callable[[bytes], None], directory: Path) -> None:
        super().__init__(take, directory)
        self._parameters = pika.URLParameters(url)
        self._parameters.socket_timeout = self._parameters.blocked_connection_timeout = 10
        self._parameters.heartbeat = 60
        self._queue = queue

    def _messages(self) -> Iterator[bytes]:
        connection = pika.BlockingConnection(self._parameters)
        try:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=_PREFETCH)
            yield from self._consumed(channel)
        finally:
            with contextlib.suppress(*_OUTAGES):
                connection.close()

    def _consumed(self, channel: Any) -> Iterator[bytes]:
        tag, unacknowledged = 0, 0
        for method, _, body in channel.consume(self._queue, inactivity_timeout=_GLANCE):
            if method is not None:
                yield body
                tag, unacknowledged = method.delivery_tag, unacknowledged + 1
            if unacknowledged and (method is None or unacknowledged >= _ACKNOWLEDGE):
                channel.basic_ack(tag, multiple=True)
                unacknowledged = 0
            if self._ending.is_set():
                return


class KafkaReader(Reader):
    """Of the only partition of one topic, from its beginning."""

    def __init__(self, address: str, topic: str, take: Callable[[bytes], None], directory: Path) -> None:
        super().__init__(take, directory)
        self._address = address
        self._topic = topic

    def _messages(self) -> Iterator[bytes]:
        settings = {"bootstrap.servers": self._address, "group.id": self._topic, "enable.auto.commit": False}
        quick = {"fetch.wait.max.ms": 20, "reconnect.backoff.max.ms": 500, "log_level": 0}
        consumer = Consumer({**settings, **quick})
        consumer.assign([TopicPartition(self._topic, 0, 0)])
        try:
            while not self._ending.is_set():
                message = consumer.poll(_GLANCE)
                if message is not None and message.error() is not None:
                    self.outages += 1
                value = None if message is None or message.error() is not None else message.value()
                if value is not None:
                    yield value
        finally:
            consumer.close()
