"""A recorder without a tree: a real store on its own thread, with real relays behind it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from inotify_bridge.capture.index import Writes
from inotify_bridge.outbox.journal import Position
from inotify_bridge.outbox.relay import PARKED_KIND, Limits, Relay
from inotify_bridge.outbox.relay_ports import Guards
from inotify_bridge.outbox.store import Store
from inotify_bridge.sinks.base import Message, Outcome, Sink
from tests.sinks.messages import SOURCE
from tests.waiting import eventually

T = TypeVar("T")

GROUP = "uploads"

QUICK = Limits(first_pause=0.005, longest_pause=0.05)
"""Pauses that keep a test short; nothing else differs from the defaults."""


class Watcher:
    """A `RelayObserver` that keeps everything it is told."""

    def __init__(self) -> None:
        self.ups: list[bool] = []
        self.connections = 0
        self.sent_messages = 0
        self.sent_bytes = 0
        self.acked_sequences: list[int] = []
        self.retries = 0
        self.errors: list[str] = []
        self.parked_messages = 0
        self.aside_messages = 0
        self.flights: list[int] = []

    def connected(self, up: bool) -> None:
        self.ups.append(up)

    def connects(self) -> None:
        self.connections += 1

    def sent(self, count: int, size: int) -> None:
        self.sent_messages += count
        self.sent_bytes += size

    def acked(self, messages: Sequence[Message], seconds: float) -> None:
        assert seconds >= 0
        self.acked_sequences.extend(message.sequence for message in messages)

    def retried(self, count: int) -> None:
        self.retries += count

    def error(self, reason: str) -> None:
        self.errors.append(reason)

    def parked(self, count: int) -> None:
        self.parked_messages += count

    def set_aside(self, count: int) -> None:
        self.aside_messages += count

    def inflight(self, count: int) -> None:
        self.flights.append(count)


class Recording:
    """
    One group's store and the recorder's thread. A context manager; relays made by it are ended with it.

    Args:
        path: of the database, or None for a private one.
        sinks: names registered with the store.
    """

    def __init__(self, path: Path | None = None, sinks: Sequence[str] = ("orders",)) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recorder")
        self._relays: list[Relay] = []
        self.failures: list[Exception] = []
        self.store = Store.open(path)
        self.store.set_sinks(sinks)
        if not self.store.epoch:
            self.store.mint_epoch(SOURCE)

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Abort the relays, end the thread, close the store."""
        for relay in self._relays:
            relay.abort()
        alive = [relay for relay in self._relays if not relay.join(30.0)]
        assert not alive, "a relay does not end"
        self._thread.shutdown()
        self.store.close()

    def do(self, work: Callable[[Store], T]) -> T:
        """Run something on the recorder's thread, and wait for it."""
        return self._thread.submit(work, self.store).result(60.0)

    def commit(self, batch: Sequence[Message], writes: Writes | None = None) -> None:
        """Commit messages and wake the relays."""
        self.do(lambda store: store.commit([message.pack() for message in batch], writes or {}))
        for relay in self._relays:
            relay.wake()

    def relay(
        self,
        sink: Sink,
        name: str = "orders",
        watcher: Watcher | None = None,
        limits: Limits = QUICK,
        guards: Guards = Guards(),  # noqa: B008  it is immutable
    ) -> Relay:
        """A relay of this store, started."""
        relay = Relay(
            name=name,
            group=GROUP,
            sink=sink,
            open_reader=self.store.reader,
            position=self.store.watermark(name),
            recorder=self,
            observer=watcher or Watcher(),
            failed=self.failures.append,
            limits=limits,
            guards=guards,
        )
        self._relays.append(relay)
        relay.start()
        return relay

    def confirmed(self, sequence: int, name: str = "orders", within: float = 60.0) -> None:
        """Wait until the watermark of a sink stands at a sequence of the present epoch."""
        goal = Position(self.store.epoch, sequence)
        eventually(
            lambda: self.failures or self.store.watermark(name) >= goal,
            within=within,
            what=f"watermark at {sequence}",
        )
        assert not self.failures, self.failures

    # What a relay asks for

    def acknowledge(self, sink: str, position: Position) -> None:
        self._thread.submit(self.store.acknowledge, sink, position)

    def park(self, sink: str, position: Position, message: Message, outcome: Outcome) -> None:
        record, place = message.pack(), replacement(message, position).pack()
        parked: Future[bool] = self._thread.submit(
            self.store.park, sink, position, record, place, outcome.reason, outcome.detail
        )
        parked.result(60.0)


def replacement(message: Message, position: Position) -> Message:
    """What takes the place of a parked message."""
    number = f"{position.epoch}-{position.sequence:012d}"
    body = json.dumps(
        {"id": number, "sequence": number, "data": {"type": message.kind}}, separators=(",", ":")
    )
    return Message(message.sequence, message.time, PARKED_KIND, message.key, body.encode())


def soon(seconds: float = 30.0) -> float:
    """A deadline for `Relay.stop`."""
    return time.monotonic() + seconds


def relay_threads() -> list[str]:
    """The names of relay threads that run, of those that a `Recording` makes."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(f"relay-{GROUP}-")]
