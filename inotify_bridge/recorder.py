"""
The recorder: the thread that turns what was read into what is published, and makes it durable.

    inbox ─► reconciler ─► envelope ─► store (one transaction) ─► relays are woken

Nothing is published before its commit. While the journal is full it takes no reads: they wait in the inbox,
then in the kernel, whose overflow is repaired by a resync.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from inotify_bridge.capture.change import Item, Notice
from inotify_bridge.capture.constants import EVENT_NAMES
from inotify_bridge.capture.filesystem import mounts_below
from inotify_bridge.capture.model import Batch
from inotify_bridge.capture.notifier import TURN_SECONDS, Barrier, Chunk, Entry, Inbox, MountsChanged
from inotify_bridge.capture.reconciler import Reason, Reconciler
from inotify_bridge.errors import SinkUnavailable, StoreError
from inotify_bridge.events.digest import Digest
from inotify_bridge.events.envelope import Encoder
from inotify_bridge.events.names import encode as encode_name
from inotify_bridge.events.parking import parked
from inotify_bridge.metrics import GroupMetrics, RelayMetrics
from inotify_bridge.outbox.store import Position, Store
from inotify_bridge.sinks.base import Message, Outcome

BATCH_BYTES = 1 << 18
"""Raw bytes of the kernel that go into one batch, a read more at the most."""

_ACKNOWLEDGE = 1.0
_COUNT = 0.1
"""Seconds between updates of the figures: they cost as much as a few events."""

_BLOCKED = 0.5
_TICK = 1.0
_RETRY = 1.0
_PARK_TIMEOUT = 30.0

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


class Recorder:
    """
    One group's recorder.

    Args:
        store: used by the recorder's thread alone while it runs.
        sinks: the figures of each sink's lag.
        caught_up: `Notifier.caught_up`: corrections wait for records that are on their way.
        snapshot_done: set when the first snapshot is recorded; the group's, for it outlives a recorder.
        notifier_turned_at: when the notifier's loop turned last, monotonic seconds.
        committed: called after every commit with the epoch and the new messages, on the recorder's thread.
        failed: called on the recorder's thread with what killed it.
    """

    def __init__(
        self,
        stream: Stream,
        inbox: Inbox,
        reconciler: Reconciler,
        store: Store,
        metrics: GroupMetrics,
        sinks: Mapping[str, RelayMetrics],
        notifier_turned_at: Callable[[], float],
        caught_up: Callable[[], bool],
        snapshot_done: threading.Event,
        committed: Callable[[str, list[Message]], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.turned_at = time.monotonic()
        self.blocked = False
        self.snapshot_done = snapshot_done
        self.last_resync: tuple[str, float, int, float] | None = None
        self.trouble = ""
        self.parked_count: Counter[str] = Counter()
        self._stream = stream
        self._inbox = inbox
        self._reconciler = reconciler
        self._store = store
        self._metrics = metrics
        self._sinks = sinks
        self._notifier_turned_at = notifier_turned_at
        self._caught_up = caught_up
        self._committed = committed
        self._failed = failed
        self._encoder = self._new_encoder()
        self._reason: Reason = "start"
        self._finish_by: float | None = None
        self._say_stopped = True
        self._barriers: list[Barrier] = []
        self._acknowledged: dict[str, Position] = {}
        self._acknowledging = threading.Lock()
        self._ages: deque[tuple[Position, float]] = deque()
        self._beat_at = time.monotonic() + stream.heartbeat if stream.heartbeat else None
        self._pruned_at = 0.0
        self._count_at = 0.0
        self._tick_at = 0.0
        self._interrupted = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"recorder-{stream.group}", daemon=True)

    # -- from other threads

    @property
    def thread(self) -> threading.Thread:
        """For its CPU clock."""
        return self._thread

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def reconciler(self) -> Reconciler:
        """For the figures of the status; read without a lock, so approximately right."""
        return self._reconciler

    def start(self, reason: Reason) -> None:
        """Begin: say ``stream.started``, watch, and compare the disk with what was published."""
        self._reason = reason
        self._thread.start()

    def finish(self, deadline: float, stopped: bool = True) -> None:
        """
        Record what was read and end.

        Args:
            deadline: in monotonic seconds.
            stopped: whether the stream says ``stopped``; not where another recorder goes on with it at once.
        """
        self._say_stopped = stopped
        self._finish_by = deadline
        self._inbox.call(self._reconciler.hurry)

    def interrupt(self) -> None:
        """End now, whatever has not been recorded."""
        self._interrupted.set()
        self.finish(0.0)

    def join(self, timeout: float) -> bool:
        """Wait for the end. Returns whether it has come."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def resync(self, path: bytes | None) -> None:
        """Ask for a comparison of a directory, or of everything."""

        def act() -> None:
            self._reconciler.resync("requested", path)

        self._inbox.call(act)

    def acknowledge(self, sink: str, position: Position) -> None:
        """See `outbox.relay.Recorder`."""
        with self._acknowledging:
            self._acknowledged[sink] = position
        if self.blocked:
            self._inbox.call(lambda: None)

    def park(self, sink: str, position: Position, message: Message, outcome: Outcome) -> None:
        """See `outbox.relay.Recorder`."""
        body = parked(message.body, sink, f"{outcome.reason or 'other'}: {outcome.detail}")
        replacement = message._replace(kind="stream.event_parked", body=body)
        done = threading.Event()

        def act() -> None:
            self._store.park(
                sink, position, message.pack(), replacement.pack(), outcome.reason, outcome.detail
            )
            self.parked_count = Counter(one.sink for one in self._store.parked())
            self._metrics.count_events({replacement.kind: 1})
            done.set()

        if not self.alive:
            raise SinkUnavailable(
                "the recorder has ended: what is not delivered is sent after the next start"
            )
        self._inbox.call(act)
        if not done.wait(_PARK_TIMEOUT):
            raise SinkUnavailable("the recorder did not take a parked message", "see the log of this group")

    def close_books(self) -> None:
        """
        Write down what was confirmed after the end. On the thread that ends the group, relays ended before.
        """
        self._note_acknowledged()
        with contextlib.suppress(StoreError):  # the watermark is behind then, which means repeats
            self._store.commit([], {})

    # -- on the recorder's thread

    def _run(self) -> None:
        self._metrics.recorder_up(True)
        try:
            self._begin()
            while not self._over():
                self._turn()
            self._end()
        except BaseException as error:  # whatever it was: a dead recorder must not look alive
            self._failed(error)
        finally:
            self._metrics.recorder_up(False)

    def _begin(self) -> None:
        new_epoch = self._store.last_sequence == 0
        started = Notice("started", time.time_ns(), None, {**self._stream.started, "new_epoch": new_epoch})
        self._reconciler.start(self._reason)
        self._reconciler.mounts_are(mounts_below)
        batch = self._reconciler.close_batch(backlog=False)
        self._record(Batch([started, *batch.items], batch.writes))

    def _over(self) -> bool:
        if self._interrupted.is_set():
            return True
        if self._finish_by is None:
            return False
        done = not self._inbox.waiting() and self._reconciler.settled
        return done or time.monotonic() >= self._finish_by

    def _turn(self) -> None:
        self.turned_at = time.monotonic()
        self._set_blocked(not self._store.admits())
        self._take(self._inbox.take(BATCH_BYTES, self._timeout(), reads=not self.blocked))
        self._note_acknowledged()
        if self.blocked:
            return
        # Asked in this order: records go from the kernel's queue through the notifier into the inbox.
        late = self._reconciler.doubtful and not self._caught_up()
        backlog = late or self._inbox.waiting()
        if not backlog or self.turned_at >= self._tick_at:
            # What is due comes at least every second, also under a load that never ends.
            self._tick_at = self.turned_at + _TICK
            self._reconciler.tick(backlog)
        self._record(self._with_heartbeat(self._reconciler.close_batch(backlog)))
        self._pass_barriers()

    def _timeout(self) -> float:
        """Seconds until there is something to do even if nothing comes."""
        if self.blocked:
            return _BLOCKED
        now = time.monotonic()
        due = [now + TURN_SECONDS]
        if self._ages:
            due.append(now + _ACKNOWLEDGE)
        if self._reconciler.records_read:
            due.append(self._count_at)
        for moment in (self._reconciler.deadline, self._beat_at, self._finish_by and now + 0.01):
            if moment is not None:
                due.append(moment)
        return max(0.0, min(due) - now)

    def _take(self, entries: list[Entry]) -> None:
        for entry in entries:
            if isinstance(entry, Chunk):
                self._metrics.kernel_read(len(entry.data))
                self._reconciler.feed(*entry)
            elif isinstance(entry, MountsChanged):
                self._reconciler.mounts_changed(mounts_below)
            elif isinstance(entry, Barrier):
                self._reconciler.settle()
                self._barriers.append(entry)
            else:
                entry()

    def _pass_barriers(self) -> None:
        if self._barriers and not self._reconciler.adopting:
            for barrier in self._barriers:
                barrier.passed.set()
            self._barriers.clear()

    def _with_heartbeat(self, batch: Batch) -> Batch:
        if self._beat_at is None or time.monotonic() < self._beat_at:
            return batch
        self._beat_at = time.monotonic() + self._stream.heartbeat
        return Batch([*batch.items, Notice("heartbeat", time.time_ns())], batch.writes)

    def _end(self) -> None:
        if not self._interrupted.is_set():
            clean = not self._inbox.waiting() and self._reconciler.settled
            if not clean:
                _log.warning(
                    "ended by the deadline before everything was recorded: the next start compares it",
                    extra=self._fields,
                )
            batch = self._reconciler.close_batch(backlog=False)
            stopped = [Notice("stopped", time.time_ns())] if clean and self._say_stopped else []
            self._record(Batch([*batch.items, *stopped], batch.writes))
        for barrier in self._barriers:
            barrier.passed.set()

    # -- one batch

    def _record(self, batch: Batch) -> None:
        """
        Encode and commit a batch. One that cannot be committed is tried again unchanged; nothing else is
        taken.
        """
        if batch.items or batch.writes:
            self._commit(batch)
        now = time.monotonic()
        if now >= self._count_at:
            self._count_at = now + _COUNT
            self._count()

    def _commit(self, batch: Batch) -> None:
        messages = [
            self._message(item, sequence)
            for sequence, item in enumerate(batch.items, self._store.last_sequence + 1)
        ]
        records = [message.pack() for message in messages]
        while not self._committed_to_store(records, batch):
            if self._interrupted.wait(_RETRY) or (self._finish_by and time.monotonic() > self._finish_by):
                self._interrupted.set()  # nothing may come after a batch that is missing
                return
        if messages:
            self._ages.append((self._store.end, time.time()))
            self._metrics.count_events(Counter(message.kind for message in messages))
            self._committed(self._store.epoch, messages)

    def _message(self, item: Item, sequence: int) -> Message:
        if isinstance(item, Notice):
            item = self._complete(item)
            self._tell(item)
        kind, key, body = self._encoder.encode(item, sequence)
        return Message(sequence, item.time / 1e9, kind, key, body)

    def _committed_to_store(self, records: list[bytes], batch: Batch) -> bool:
        try:
            self._store.commit(records, batch.writes)
        except StoreError as error:
            if not self.trouble:
                _log.error("the batch cannot be committed, trying again: %s", error, extra=self._fields)
            self.trouble = str(error)
            return False
        if self.trouble:
            _log.info("the store takes batches again", extra=self._fields)
        self.trouble = ""
        return True

    def _complete(self, notice: Notice) -> Notice:
        """The end of a resync says what a replica must hold now; it is the last item of its batch."""
        if notice.kind != "resync_completed" or not self._stream.replicable:
            return notice
        digest = Digest()
        for directory, entries in self._reconciler.contents():
            digest.add_names(directory, entries)
        return Notice(notice.kind, notice.time, notice.path, {**notice.data, "digest": digest.hexdigest()})

    @property
    def _fields(self) -> dict[str, str]:
        return {"watch_group": self._stream.group}

    def _tell(self, notice: Notice) -> None:
        """The log and the figures hear what the stream says about itself."""
        data, fields = notice.data, self._fields
        path = encode_name(notice.path) if notice.path else ""
        if notice.kind == "resync_started":
            self._metrics.resync_started(str(data["reason"]))
            _log.info("resync started: %s", data["reason"], extra=fields)
        elif notice.kind == "resync_completed":
            self._resync_completed(notice)
        elif notice.kind == "coverage_degraded":
            self._metrics.watch_error(getattr(errno, str(data["error"]), 0))
            _log.warning("not covered by inotify (%s), polled: %s", data["error"], path or "/", extra=fields)
        elif notice.kind == "root_lost":
            _log.error("root lost (%s): %s", data["error"], path or "the only root", extra=fields)
        else:
            _log.info("stream.%s%s", notice.kind, f" {path}" if path else "", extra=fields)

    def _resync_completed(self, notice: Notice) -> None:
        data = notice.data
        seconds, entries = float(data["duration_seconds"]), int(data["entries"])
        self.last_resync = (str(data["reason"]), time.time(), entries, seconds)
        self._metrics.resync_completed(seconds)
        self.snapshot_done.set()
        _log.info(
            "resync completed: %s, %d entries in %.3f s", data["reason"], entries, seconds, extra=self._fields
        )

    def _count(self) -> None:
        reconciler, metrics = self._reconciler, self._metrics
        if reconciler.records_read:
            read, reconciler.records_read = reconciler.records_read, Counter()
            names: Counter[str] = Counter()
            for mask, count in read.items():
                names[EVENT_NAMES.get(mask, "ignored")] += count
            metrics.count_kernel_events(names)
        metrics.watches(reconciler.watches, reconciler.uncovered_count)
        metrics.consistent(reconciler.consistent and self.snapshot_done.is_set())
        now = time.time()
        metrics.recorder_turned(now)
        metrics.notifier_turned(now - (time.monotonic() - self._notifier_turned_at()))
        self._count_outbox()

    def _count_outbox(self) -> None:
        oldest = self._ages[0][1] if self._ages else None
        self._metrics.outbox(self.lag(), self._store.live_bytes, oldest)
        slowest = self._store.slowest()
        for name, sink in self._sinks.items():
            position = self._store.watermark(name)
            sink.lag(self._behind(position))
            sink.blocking(self.blocked and position == slowest)

    def oldest_age(self) -> float:
        """
        Seconds since the oldest unconfirmed message was recorded; 0 where there is none. From any thread.
        """
        try:
            return max(0.0, time.time() - self._ages[0][1])
        except IndexError:
            return 0.0

    def lag(self) -> int:
        """Messages in the journal that some sink has not confirmed (of the present epoch)."""
        return self._behind(self._store.slowest())

    def _behind(self, position: Position) -> int:
        return self._store.last_sequence - (position.sequence if position.epoch == self._store.epoch else 0)

    # -- the journal's end

    def _note_acknowledged(self) -> None:
        if self._acknowledged:
            with self._acknowledging:
                acknowledged, self._acknowledged = self._acknowledged, {}
            for sink, position in acknowledged.items():
                self._store.acknowledge(sink, position)
            slowest = self._store.slowest()
            while self._ages and self._ages[0][0] <= slowest:
                self._ages.popleft()
            self._count_outbox()
        now = time.monotonic()
        if self._store.live_bytes and (self.blocked or now - self._pruned_at >= _ACKNOWLEDGE):
            self._pruned_at = now
            self._prune()

    def _prune(self) -> None:
        # Retained messages make way before the journal counts as full.
        retain = 0.0 if self.blocked else self._stream.retain
        try:
            while self._store.prune(retain):
                pass
        except StoreError as error:
            _log.warning("the journal cannot be pruned: %s", error, extra=self._fields)

    def _set_blocked(self, blocked: bool) -> None:
        if blocked == self.blocked:
            return
        self.blocked = blocked
        self._count_outbox()
        self._metrics.outbox_blocked(blocked)
        if blocked:
            _log.warning("the journal is full: reading waits for the slowest sink", extra=self._fields)
        else:
            _log.info("the journal has room again", extra=self._fields)

    # -- epochs

    def _new_encoder(self) -> Encoder:
        stream = self._stream
        return Encoder(
            stream.source,
            stream.group,
            self._store.epoch,
            stream.type_prefix,
            stream.partition_by,  # type: ignore[arg-type]
        )
