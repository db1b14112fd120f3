"""
The recorder: the thread that turns what was read into what is published, and makes it durable.

    inbox ─► reconciler ─► envelope ─► store (one transaction) ─► relays are woken

Nothing is published before its commit. While the journal is full it takes no reads: they wait in the inbox,
then in the kernel, whose overflow is repaired by a resync.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

from inotify_bridge.books import ACKNOWLEDGE, Books, Stream
from inotify_bridge.capture.change import Notice
from inotify_bridge.capture.constants import EVENT_NAMES
from inotify_bridge.capture.filesystem import mounts_below
from inotify_bridge.capture.model import Batch
from inotify_bridge.capture.notifier import TURN_SECONDS, Barrier, Chunk, Entry, Inbox, MountsChanged
from inotify_bridge.capture.reconciler import Reason, Reconciler
from inotify_bridge.desk import Desk
from inotify_bridge.errors import EpochEnded, StoreError
from inotify_bridge.events.digest import Digest
from inotify_bridge.events.names import encode as encode_name
from inotify_bridge.lines.follower import Follower
from inotify_bridge.lines.report import NOTHING_FOUND, Found
from inotify_bridge.metrics import GroupMetrics, RelayMetrics
from inotify_bridge.notices import tell
from inotify_bridge.outbox.journal import Position
from inotify_bridge.outbox.store import BEYOND_RETRY, Store
from inotify_bridge.sinks.base import Message

BATCH_BYTES = 1 << 18
"""Raw bytes of the kernel that go into one batch, a read more at the most."""

_COUNT = 0.1
"""Seconds between updates of the figures: they cost as much as a few events."""

_LATE = 0.005
"""Seconds to wait for records that explain what is overdue, and that the notifier is about to read."""

_BLOCKED = 0.5
_TICK = 1.0
_RETRY = 1.0

_log = logging.getLogger("inotify_bridge.group")


class Recorder:
    """
    One group's recorder.

    Args:
        store: used by the recorder's thread alone while it runs.
        sinks: the figures of each sink's lag.
        caught_up: `Notifier.caught_up`: corrections wait for records that are on their way.
        snapshot_done: set when the first snapshot is recorded, with what the logs were; the group's, for it
            outlives a recorder.
        committed: called after every commit with the epoch and the new messages, on the recorder's thread.
        failed: called on the recorder's thread with what killed it.
        logs: reads the log files that the group follows; None: it follows none.
    """

    def __init__(
        self,
        stream: Stream,
        inbox: Inbox,
        reconciler: Reconciler,
        store: Store,
        metrics: GroupMetrics,
        sinks: Mapping[str, RelayMetrics],
        caught_up: Callable[[], bool],
        snapshot_done: threading.Event,
        committed: Callable[[str, list[Message]], None],
        failed: Callable[[BaseException], None],
        logs: Follower | None = None,
    ) -> None:
        self.turned_at = time.monotonic()
        self.snapshot_done = snapshot_done
        self.last_resync: tuple[str, float, int, float] | None = None
        self._stream = stream
        self._inbox = inbox
        self._reconciler = reconciler
        self._store = store
        self._metrics = metrics
        self._caught_up = caught_up
        self._failed = failed
        self.logs = logs
        """For its figures; None where the group follows no log files."""
        self.failure: BaseException | None = None
        """What killed the thread."""
        self._reason: Reason = "start"
        self._finish_by: float | None = None
        self._say_stopped = True
        self._missing = False
        self._late = False
        self._barriers: list[Barrier] = []
        self._beat_at = time.monotonic() + stream.heartbeat if stream.heartbeat else None
        self._count_at = 0.0
        self._tick_at = 0.0
        self._interrupted = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"recorder-{stream.group}", daemon=True)
        self.books = Books(
            stream, store, metrics, sinks, self._complete, self._told, self._give_up, committed
        )
        self.desk = Desk(
            stream.group, self._thread, inbox, reconciler, self.books, self._record_now, metrics, sinks
        )

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

    def fail(self, error: StoreError) -> None:
        """Somebody else found that the store cannot be used: end, and be replaced with it."""

        def act() -> None:
            raise error

        self._inbox.call(act)

    def resync(self, path: bytes | None) -> None:
        """Ask for a comparison of a directory, or of everything."""

        def act() -> None:
            self._reconciler.resync("requested", path)

        self._inbox.call(act)

    def acknowledge(self, sink: str, position: Position) -> None:
        """See `outbox.relay.Recorder`."""
        self.books.acknowledge(sink, position)
        if self.books.blocked:
            self._inbox.call(lambda: None)

    def close_books(self) -> None:
        """
        Write down what was confirmed after the end. On the thread that ends the group, relays ended before.

        Raises: StoreError, the database has to be opened anew.
        """
        self.books.note_acknowledged()
        try:
            self._store.commit([], {})
        except StoreError as error:  # the watermark is behind then, which means repeats
            if error.reason in BEYOND_RETRY:
                raise

    # -- on the recorder's thread

    def _run(self) -> None:
        self._metrics.recorder_up(True)
        try:
            self._begin()
            while not self._over():
                self._turn()
            self._end()
        except BaseException as error:  # whatever it was: a dead recorder must not look alive
            self.failure = error
            self._failed(error)
        finally:
            if self.logs is not None:
                self.logs.close()
            self._metrics.recorder_up(False)

    def _begin(self) -> None:
        new_epoch = self._store.last_sequence == 0
        started = Notice("started", time.time_ns(), None, {**self._stream.started, "new_epoch": new_epoch})
        self.desk.count()
        self._reconciler.start(self._reason)
        self._reconciler.mounts_are(mounts_below)
        batch = self._reconciler.close_batch(backlog=False)
        self._record(Batch([started, *batch.items], batch.writes))

    def _over(self) -> bool:
        if self._interrupted.is_set():
            return True
        if self._finish_by is None:
            return False
        done = not self._inbox.waiting() and self._reconciler.settled and not self._reading
        return done or time.monotonic() >= self._finish_by

    def _turn(self) -> None:
        self.turned_at = time.monotonic()
        room = self.books.look_for_room()
        reads = room and not self._reconciler.behind
        self._take(self._inbox.take(BATCH_BYTES, self._timeout(), reads))
        self.books.note_acknowledged()
        if not room or self._missing:
            return
        # Asked in this order: records go from the kernel's queue through the notifier into the inbox.
        self._late = self._reconciler.doubtful and not self._caught_up()
        backlog = self._late or self._inbox.waiting()
        if not backlog or self.turned_at >= self._tick_at:
            # What is due comes at least every second, also under a load that never ends.
            self._tick_at = self.turned_at + _TICK
            self._reconciler.tick(backlog)
        batch = self._with_heartbeat(self._reconciler.close_batch(backlog))
        if self._record(batch, self._read_logs()):
            self._say_started()
            self._pass_barriers()

    def _timeout(self) -> float:
        """Seconds until there is something to do even if nothing comes."""
        if self.books.blocked:
            return _BLOCKED
        now = time.monotonic()
        due = [now + TURN_SECONDS]
        if self.books.unconfirmed:
            due.append(now + ACKNOWLEDGE)
        if self._reconciler.records_read:
            due.append(self._count_at)
        logs = None if self.logs is None else self.logs.deadline
        for moment in (logs, self._reconciler.deadline, self._beat_at, self._finish_by and now + 0.01):
            if moment is not None:
                due.append(moment)
        return max(_LATE if self._late else 0.0, min(due) - now)

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
        """After a commit. Who waits for one that never passes sees that the recorder has ended."""
        if self._barriers and not self._reconciler.adopting and not self._reading:
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
            clean = not self._inbox.waiting() and self._reconciler.settled and not self._reading
            if not clean:
                _log.warning(
                    "ended by the deadline before everything was recorded: the next start compares it",
                    extra={"watch_group": self._stream.group},
                )
            batch = self._reconciler.close_batch(backlog=False)
            stopped = [Notice("stopped", time.time_ns())] if clean and self._say_stopped else []
            if self._record(Batch([*batch.items, *stopped], batch.writes)):
                self._pass_barriers()

    # -- log files

    @property
    def unreadable_logs(self) -> int:
        """How many followed logs cannot be read now. From any thread."""
        return 0 if self.logs is None else self.logs.unreadable

    @property
    def _reading(self) -> bool:
        return self.logs is not None and self.logs.busy

    def _read_logs(self) -> Found:
        """A step of reading. A batch that comes in several is recorded first: its hints are of one moment."""
        if self.logs is None or self._reconciler.behind:
            return NOTHING_FOUND
        return self.logs.step()

    # -- one batch

    def _record(self, batch: Batch, found: Found = NOTHING_FOUND) -> bool:
        if self._missing:
            return False
        empty = not (batch.items or batch.writes or found.items or found.states)
        if empty and found.bytes_read:  # of a line without its end: there is nothing to record
            self._metrics.log_read(found.bytes_read, found.bytes_lost)
        committed = empty or self.books.record(batch, found)
        if not committed:
            self._missing = True  # nothing may come after a batch that is missing
            self._interrupted.set()
            _log.warning(
                "ended before a batch could be committed: the next start compares everything",
                extra={"watch_group": self._stream.group},
            )
        now = time.monotonic()
        if now >= self._count_at:
            self._count_at = now + _COUNT
            self._count()
            self.books.store.check_ours()
            self.books.note_volumes(self._reconciler.volumes)
        if committed and (root := self._reconciler.replaced_root) is not None:
            raise EpochEnded(
                f"the root {encode_name(root.place)} is another directory than before the restart",
                "nothing is taken for deleted; is the right volume mounted?",
                "root",
            )
        return committed

    def _record_now(self) -> bool:
        """For the desk: what is in hand is committed."""
        committed = self._record(self._reconciler.close_batch(backlog=True))
        while committed and self._reconciler.behind:
            committed = self._record(self._reconciler.close_batch(backlog=True))
        return committed

    def _give_up(self) -> bool:
        """After a commit that failed."""
        if self._interrupted.wait(_RETRY):
            return True
        self.turned_at = time.monotonic()  # it does not hang: it tries
        return self._finish_by is not None and self.turned_at > self._finish_by

    def _complete(self, notice: Notice) -> Notice:
        """The end of a resync says what a replica must hold now; it is the last item of its batch."""
        if notice.kind != "resync_completed" or not self._stream.replicable:
            return notice
        digest = Digest()
        for directory, entries in self._reconciler.contents():
            digest.add_names(directory, entries)
        return Notice(notice.kind, notice.time, notice.path, {**notice.data, "digest": digest.hexdigest()})

    def _told(self, notice: Notice) -> None:
        roots = self._reconciler.tree_roots if notice.kind == "root_lost" else ()
        named = [root for root in roots if root.name == (notice.path or b"")]
        # One that was replaced while it was watched is found again before this is committed.
        places = [root.place for root in [root for root in named if root.lost] or named]
        tell(notice, self._stream.group, self._metrics, places)
        if notice.kind == "resync_completed":
            data = notice.data
            seconds, entries = float(data["duration_seconds"]), int(data["entries"])
            self.last_resync = (str(data["reason"]), time.time(), entries, seconds)
            if self.logs is not None:
                self.logs.compared()
            self._say_started()

    def _say_started(self) -> None:
        """
        After a commit. Where logs are followed, what they were has to be in it as well: a life that ends
        before would leave it to the next to find out, which takes what came meanwhile for old.
        """
        if self.last_resync is not None and (self.logs is None or self.logs.begun):
            self.snapshot_done.set()

    def _count(self) -> None:
        reconciler, metrics = self._reconciler, self._metrics
        if reconciler.records_read:
            read = Counter(reconciler.records_read)
            reconciler.records_read.clear()
            names: Counter[str] = Counter()
            for mask, count in read.items():
                names[EVENT_NAMES.get(mask, "ignored")] += count
            metrics.count_kernel_events(names)
        metrics.watches(reconciler.watches, reconciler.uncovered_count)
        metrics.consistent(reconciler.consistent and self.snapshot_done.is_set())
        self.books.count()
