"""
The books of a group: what is recorded, what every sink has confirmed, and what may go again.

    batch ─► envelope ─► store (one transaction) ─► relays are told

Nothing is published before its commit. A batch that cannot be committed is tried again unchanged, and nothing
else is taken meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from inotify_bridge.capture.change import Item, Notice
from inotify_bridge.capture.model import Batch
from inotify_bridge.capture.port import Volume
from inotify_bridge.errors import StoreError
from inotify_bridge.events.envelope import Encoder
from inotify_bridge.events.event import LogItem
from inotify_bridge.lines.report import NOTHING_FOUND, Found
from inotify_bridge.metrics import GroupMetrics, RelayMetrics
from inotify_bridge.outbox.ages import Ages
from inotify_bridge.outbox.journal import Position
from inotify_bridge.outbox.store import BEYOND_RETRY, Store
from inotify_bridge.sinks.base import Message

ACKNOWLEDGE = 1.0
"""Seconds between looks at what may be pruned, and between commits that only note confirmations."""

_IO_SECONDS = 10.0
"""How long a batch is tried on an I/O error before the database is opened anew: it may not be the disk's."""

_TOLD_AGAIN = 10.0
"""Seconds before a journal that is full again is told of again."""

_ROOTS = "a start after this may not notice another root"
_PRUNED = "the journal cannot be pruned"
_NOTE = "a start after this may not notice an older database"

_log = logging.getLogger("inotify_bridge.group")


class Stream(NamedTuple):
    """
    What the stream of a group is called, and what it says of itself at its start.

    Args:
        started: data of ``stream.started``.
        retain: seconds that acknowledged messages are kept.
        heartbeat: seconds; 0 for none.
    """

    group: str
    source: str
    type_prefix: str
    partition_by: str
    replicable: bool
    started: Mapping[str, object]
    retain: float
    heartbeat: float


class Books:
    """
    The store of a group as its recorder keeps it. Used by the recorder's thread, unless a method says else.

    Args:
        sinks: the figures of each sink's lag.
        complete: completes what the stream says about itself, before it is encoded.
        told: called with it when it is committed.
        give_up: called after a commit that failed: waits a while, and says whether to try no more.
        committed: called after every commit with the epoch and the new messages.
    """

    def __init__(
        self,
        stream: Stream,
        store: Store,
        metrics: GroupMetrics,
        sinks: Mapping[str, RelayMetrics],
        complete: Callable[[Notice], Notice],
        told: Callable[[Notice], None],
        give_up: Callable[[], bool],
        committed: Callable[[str, list[Message]], None],
    ) -> None:
        self.blocked = False
        self.trouble = ""
        self.store = store
        self._stream = stream
        self._metrics = metrics
        self._sinks = sinks
        self._complete = complete
        self._told = told
        self._give_up = give_up
        self._committed = committed
        self._encoder = Encoder(
            stream.source,
            stream.group,
            store.epoch,
            stream.type_prefix,
            stream.partition_by,  # type: ignore[arg-type]
        )
        self._acknowledged: dict[str, Position] = {}
        self._acknowledging = threading.Lock()
        self._ages = Ages()
        for end, at in store.waiting():
            self._ages.add(end, at)
        self._pruned_at = 0.0
        self._unwritten: dict[str, str] = {}
        self._proved = False
        self._told_full_at = self._told_room_at = float("-inf")
        self._volumes: Mapping[bytes, Volume] = store.volumes()
        metrics.outbox_blocked(self.blocked)  # those before these may have ended when it was full

    # -- from any thread

    def acknowledge(self, sink: str, position: Position) -> None:
        """See `outbox.relay.Recorder`. It is written down by the next `note_acknowledged`."""
        with self._acknowledging:
            self._acknowledged[sink] = position

    def oldest_age(self) -> float:
        """Seconds since the oldest unconfirmed message was recorded; 0 where there is none."""
        oldest = self._ages.oldest()
        return 0.0 if oldest is None else max(0.0, time.time() - oldest)

    def lag(self) -> int:
        """Messages in the journal that some sink has not confirmed."""
        return self.store.behind(self.store.slowest())

    @property
    def unconfirmed(self) -> bool:
        """Whether there is something that a sink may confirm."""
        return bool(self._ages)

    @property
    def standstill(self) -> str:
        """Why nothing is recorded, in words; empty: it is. From any thread."""
        if self.trouble:
            return f"nothing is recorded until this is mended: {self.trouble}"
        return "the journal is full until the slowest sink takes messages" if self.blocked else ""

    @property
    def unwritten(self) -> list[str]:
        """What can wait and could not be written down, in words. From any thread."""
        return [f"{what}: {why}" for what, why in list(self._unwritten.items())]

    # -- one batch

    def record(self, batch: Batch, found: Found = NOTHING_FOUND) -> bool:
        """
        Encode and commit a batch, however often it has to be tried.

        Args:
            found: of the log files; it comes after the batch, in the same transaction.
        Returns:
            Whether it is committed: False where it was given up.
        Raises:
            StoreError: trying again would be wrong, or an I/O error stays: the database is to be opened anew.
        """
        messages = [
            self._message(item, sequence)
            for sequence, item in enumerate([*batch.items, *found.items], self.store.last_sequence + 1)
        ]
        records = [message.pack() for message in messages]
        until = time.monotonic() + _IO_SECONDS
        while (error := self._commit(records, batch, found)) is not None:
            if self._give_up():
                return False
            if error.reason == "io" and time.monotonic() > until:
                raise error
        for item in batch.items:
            if isinstance(item, Notice):
                self._told(item)
        if messages:
            self._ages.add(self.store.end, time.time())
            self._metrics.count_events(Counter(message.kind for message in messages))
            self._committed(self.store.epoch, messages)
        if found.bytes_read or found.bytes_lost:
            self._metrics.log_read(found.bytes_read, found.bytes_lost)
        self._note_down()
        return True

    def _message(self, item: Item | LogItem, sequence: int) -> Message:
        if isinstance(item, Notice):
            item = self._complete(item)
        kind, key, body = self._encoder.encode(item, sequence)
        return Message(sequence, item.time / 1e9, kind, key, body)

    def _commit(self, records: list[bytes], batch: Batch, found: Found) -> StoreError | None:
        try:
            self.store.commit(records, batch.writes, found.states)
        except StoreError as error:
            self._failed(error)
            return error
        if self.trouble:
            _log.info("the store takes batches again", extra=self._fields)
        if self.trouble or not self._proved:
            self._metrics.committing()
        self.trouble, self._proved = "", True
        return None

    def _failed(self, error: StoreError) -> None:
        """Tell of a commit that failed. Raises it where trying again would be wrong."""
        self._metrics.commit_failed(error.reason)
        if str(error) != self.trouble:
            _log.error("nothing is recorded until this is mended: %s", error, extra=self._fields)
        self.trouble = str(error)
        if error.reason in BEYOND_RETRY:
            raise error
        # What sinks confirm meanwhile makes room, in the database if not on the disk.
        self.note_acknowledged()

    @property
    def _fields(self) -> dict[str, str]:
        return {"watch_group": self._stream.group}

    # -- the journal's end

    def note_acknowledged(self) -> None:
        """Write down what was confirmed, and remove what nobody needs any more."""
        if self._acknowledged:
            with self._acknowledging:
                acknowledged, self._acknowledged = self._acknowledged, {}
            for sink, position in acknowledged.items():
                self.store.acknowledge(sink, position)
            self._ages.confirm(self.store.slowest())
            self.count()
        self._note_down()
        now = time.monotonic()
        if self.store.live_bytes and (self.blocked or now - self._pruned_at >= ACKNOWLEDGE):
            self._pruned_at = now
            self._prune()

    def note_volumes(self, volumes: Mapping[bytes, Volume]) -> None:
        """Keep what the roots are, where that has changed."""
        if volumes != self._volumes:
            try:
                self.store.note_volumes(volumes)
            except StoreError as error:
                self._not_written(_ROOTS, error)
                return
            self._volumes = dict(volumes)
            self._written(_ROOTS)

    def rewind(self, sink: str, position: Position) -> None:
        """A sink is sent everything after a position again: what it confirmed of it counts no more."""
        with self._acknowledging:
            self._acknowledged.pop(sink, None)
        self.store.rewind(sink, position)

    def _prune(self) -> None:
        # Retained messages make way before the journal counts as full.
        retain = 0.0 if self.blocked else self._stream.retain
        try:
            while self.store.prune(retain):
                pass
        except StoreError as error:
            self._not_written(_PRUNED, error)
            return
        self._written(_PRUNED)

    def _note_down(self) -> None:
        try:
            noted = self.store.note_down()
        except StoreError as error:
            self._not_written(_NOTE, error)
            return
        if noted:
            self._written(_NOTE)

    def _not_written(self, what: str, error: StoreError) -> None:
        """What can wait was not written; told once. Raises it where trying again would be wrong."""
        if error.reason in BEYOND_RETRY:
            raise error
        if str(error) != self._unwritten.get(what):
            _log.warning("%s: %s", what, error, extra=self._fields)
        self._unwritten[what] = str(error)

    def _written(self, what: str) -> None:
        """It is: told where it was told that it is not."""
        if self._unwritten.pop(what, ""):
            _log.info("over: %s", what, extra=self._fields)

    def look_for_room(self) -> bool:
        """Whether the journal takes a batch; what changed of that is told."""
        room = self.store.admits(was_full=self.blocked)
        if room == self.blocked:
            self.blocked = not room
            self.count()
            self._metrics.outbox_blocked(self.blocked)
            self._tell_of_room()
        return room

    def _tell_of_room(self) -> None:
        """Both ends of it, unless they follow each other within seconds: what is told is not taken back."""
        now = time.monotonic()
        if self.blocked and now - self._told_full_at >= _TOLD_AGAIN:
            self._told_full_at = now
            blocking = self._blocking()
            _log.warning(
                "the journal is full: reading waits for %s, %d messages behind (make it take messages, or "
                "%s; what comes and goes meanwhile is not told)",
                " and ".join(f"sink {name}" for name in blocking) or "no sink",
                self.lag(),
                "free space on the disk" if self.store.room.disk_is_short else "raise state.max_bytes",
                extra=self._fields,
            )
        elif not self.blocked and self._told_full_at > self._told_room_at:
            self._told_room_at = now
            _log.info("the journal has room again", extra=self._fields)

    def _blocking(self) -> list[str]:
        slowest = self.store.slowest()
        return [name for name in self._sinks if self.store.watermark(name) == slowest]

    # -- figures

    def count(self) -> None:
        """Set the figures of the journal."""
        self._metrics.outbox(self.lag(), self.store.live_bytes, self._ages.oldest())
        blocking = self._blocking() if self.blocked else []
        for name, sink in self._sinks.items():
            sink.lag(self.store.behind(self.store.watermark(name)))
            sink.blocking(name in blocking)
