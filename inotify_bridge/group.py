"""
One watch group: its inotify instance, its two threads, its store, and a relay for each of its sinks.

    notifier ─► inbox ─► recorder ─► store ─► relay ─► sink

Started from the sinks up, stopped from the notifier down. A thread that dies takes the group through a
restart and a resync; the relays and the journal stay as they are.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from inotify_bridge.capture.reconciler import Reason
from inotify_bridge.config.model import Config, SinkEntry, WatchGroup
from inotify_bridge.epochs import begin_epoch, keep_subject, open_store, set_sinks
from inotify_bridge.errors import EpochEnded, SinkUnavailable, StoreError, UnavailableError
from inotify_bridge.metrics import GroupMetrics, Metrics
from inotify_bridge.outbox.comparison import Comparison
from inotify_bridge.outbox.journal import Position
from inotify_bridge.outbox.relay import Relay
from inotify_bridge.outbox.relay_ports import Guards
from inotify_bridge.outbox.store import Store
from inotify_bridge.relays import Relays
from inotify_bridge.reload import goes_on, sinks_to_end, subject_of
from inotify_bridge.signalled import Signalled
from inotify_bridge.sinks.base import Message, Outcome, Remembering, Sink, SinkContext
from inotify_bridge.threads import JOIN_SECONDS, Threads, build_threads
from inotify_bridge.wiring import context_of as context_of

RESTARTS = 3
"""Times within ten minutes of each other that a group is restarted after a thread of it died."""

_GLANCE = 0.05
_HEALTHY = 600.0
_STORE_PAUSE = 1.0

_log = logging.getLogger("inotify_bridge.group")

MakeSink = Callable[[SinkEntry, SinkContext], Sink]


class Group(Signalled):
    """
    A running watch group. `start` and `stop` come from one thread, everything else from any.

    Args:
        config: of the group.
        whole: the configuration that it is part of.
        make_sink: makes the sink of an entry; opens nothing.
        died: called with a thread's name and what killed it, on that thread.
        given_up: called when a thread of it cannot be replaced any more.
    """

    def __init__(
        self,
        config: WatchGroup,
        whole: Config,
        metrics: Metrics,
        make_sink: MakeSink,
        died: Callable[[str, BaseException], None],
        given_up: Callable[[], None] = lambda: None,
    ) -> None:
        self.config = config
        self.source = whole.events.source_of(config.name)
        self.restarts = 0
        self.failure = ""
        self.taken_over: StoreError | None = None
        self.stopping = False
        self.trouble: BaseException | None = None
        self._relays = Relays()
        self.tapped: Callable[[list[Message]], None] = lambda _: None
        """Called with what was committed, on the recorder's thread; must return at once."""
        self.whole = whole
        self._all_metrics = metrics
        self._make_sink = make_sink
        self._died = died
        self._given_up = given_up
        self._snapshot_done = threading.Event()
        self._lifecycle = threading.RLock()
        self._restarted_at = 0.0
        self._reason_due: Reason | None = None
        self._unsettled = False
        self._store: Store | None = None
        self._comparison = Comparison()
        self._threads: Threads | None = None

    # -- start and stop

    def start(self) -> None:
        """
        Open the store, connect the sinks' relays, and begin to watch.

        Raises:
            StoreError: the store cannot be opened.
            ConfigError: a newer major version wrote it.
            UnavailableError: no inotify instance is to be had.
        """
        try:
            reason = self._load()
        except BaseException:
            if self._store is not None:
                self._store.close()
            raise
        with self._lifecycle:  # a relay may find at once that another epoch is needed
            self._start_relays()
            self._start_threads(reason)

    def _load(self, damaged: bool = False) -> Reason:
        """Open the store and build the threads on it; damage that only they find sets it aside too."""
        reason = self._open_store(damaged)
        try:
            self._build_threads()
        except StoreError as error:
            self.store.close()
            if damaged or error.reason != "corrupt":
                raise
            return self._load(damaged=True)
        return reason

    def _open_store(self, damaged: bool) -> Reason:
        self._store, reason = open_store(self.whole, self.config, self._metrics, damaged)
        self._unsettled = False
        self._comparison = Comparison(self.store.end if reason == "restart" else None)
        if self._threads is not None:  # what comes now is not the fault of the store that was
            self._threads.recorder.failure, self._reason_due = None, _anew(reason)
        return reason

    def _begin_epoch(self, why: str, later_than: str = "") -> str:
        return begin_epoch(self.store, self.whole, self.config, why, self._metrics, later_than)

    @property
    def _metrics(self) -> GroupMetrics:
        return self._all_metrics.group(self.config.name)

    @property
    def not_compared(self) -> list[str]:
        """Sinks that remember, could not be reached after the start, and that the others went on without."""
        return self._comparison.unknown

    def _start_relays(self) -> None:
        sinks = {
            name: self._make_sink(self.whole.sink(name), context_of(self.whole, self.config.name, name))
            for name in self.config.sinks
            if name not in self.relays
        }
        self._comparison.expect(name for name, sink in sinks.items() if isinstance(sink, Remembering))
        for name, sink in sinks.items():
            self._start_relay(name, sink)

    def _start_relay(self, name: str, sink: Sink) -> None:
        store = self.store
        relay = Relay(
            name=name,
            group=self.config.name,
            sink=sink,
            open_reader=store.reader,
            position=store.watermark(name),
            recorder=self,
            observer=self._all_metrics.relay(self.config.name, name),
            failed=lambda error: self._relay_failed(name, error),
            guards=Guards(
                store.check_ours,
                lambda: self.store.end,
                lambda epoch: self._sink_ahead(name, relay, epoch),
                self._comparison,
            ),
        )
        self._relays.start(name, relay)

    def _build_threads(self) -> None:
        self._threads = build_threads(
            self.whole,
            self.config,
            self.store,
            self._all_metrics,
            self._snapshot_done,
            self._committed,
            self._died,
        )

    def _start_threads(self, reason: Reason) -> None:
        threads = self._present_threads()
        threads.notifier.start()
        self._metrics.notifier_up(True)
        threads.recorder.start(reason)
        self.trouble = self._reason_due = None

    def stop_reading(self, deadline: float) -> None:
        """
        What happened until now is read, and nothing after it. Returns when it is.

        Args:
            deadline: in monotonic seconds.
        """
        self.stopping = True  # from here on nothing is restarted, and nobody waits for the recorder
        with self._lifecycle:  # who is changing the threads comes to an end
            threads = self._threads
        if threads is not None:
            threads.stop_reading(deadline)
            self._metrics.notifier_up(False)

    def stop_recording(self, deadline: float) -> None:
        """Record what was read and say ``stream.stopped``; `deadline` in monotonic seconds."""
        if self._threads is None:
            return
        recorder = self._threads.recorder
        recorder.finish(deadline)
        if not recorder.join(max(0.0, deadline - time.monotonic()) + JOIN_SECONDS):
            recorder.interrupt()
            recorder.join(JOIN_SECONDS)

    def stop_relaying(self, deadline: float) -> None:
        """Deliver what is recorded, until `deadline` in monotonic seconds, and close everything."""
        if self._threads is not None and not self._threads.recorder.alive:
            self._threads.recorder.desk.leave_unattended()
        self._relays.stop(deadline)
        try:
            if self._threads is not None and not self._threads.recorder.alive:
                # What is not written down now is sent again; a store that failed has been told of.
                with contextlib.suppress(StoreError):
                    self._threads.recorder.close_books()
        finally:
            if self._threads is not None:
                self._threads.inotify.close()
            if self._store is not None:
                self._store.close()

    def abort(self) -> None:
        """Interrupt a drain."""
        self._relays.abort()
        if self._threads is not None:
            self._threads.recorder.interrupt()

    def hurry(self) -> None:
        """A reload, or a restart, waits for no sink that it ends."""
        self._relays.hurry()

    def reconfigure(self, config: WatchGroup, whole: Config) -> None:
        """
        Go on in another way, with the same journal.

        A resync publishes the names that entered or left; where the stream cannot go on, a new epoch begins,
        see `reload.goes_on`. A sink that is gone gets what it takes within seconds.

        Raises:
            UnavailableError: the group is given up.
            StoreError: the store does not take it.
        """
        with self._changing():
            self._end_relays(sinks_to_end(self.whole, whole, self.config, config))
            self.config, self.whole = config, whole
            self.source = whole.events.source_of(config.name)
            if self._threads is None:
                return  # it begins with this
            self._unsettled = True
            self._pause(JOIN_SECONDS)
            self.store.max_bytes = whole.state.max_bytes
            set_sinks(self.store, config)
            anew = not goes_on(self.store.subject, subject_of(whole, config))
            if anew:
                self._begin_epoch("changed")
            else:
                keep_subject(self.store, whole, config)
            self._unsettled = False
            self._go_on("start" if anew and config.snapshot == "never" else "reload")

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """The threads are ended and begun by others than the supervisor: where that fails it has to know."""
        with self._lifecycle:
            self._at_rest = True
            try:
                yield
            except BaseException as error:
                if self._threads is not None and not (self.stopping or self.failure):
                    self._down(error)
                raise
            finally:
                self._at_rest = False

    def _down(self, error: BaseException) -> None:
        """Both threads have ended, and others are not to be had. A failure of the recorder was told by it."""
        self._failed_to_run(error)
        if self.recorder.failure is None:
            self.recorder.failure = error
            self._died("restart", error)

    def _failed_to_run(self, error: BaseException) -> None:
        if self.trouble is None:
            self._down_since = time.monotonic()
        self.trouble = error

    def _pause(self, timeout: float) -> None:
        """
        Record what has happened, as far as `timeout` allows, and end both threads.

        Raises:
            UnavailableError: a thread hangs, and the group is given up; or it is being stopped.
            BaseException: what the recorder ended by, or what the store says.
        """
        old = self._present_threads()
        deadline = time.monotonic() + timeout
        old.stop_reading(deadline)
        self._metrics.notifier_up(False)
        old.recorder.finish(deadline, stopped=False)
        while not old.recorder.join(_GLANCE):
            if self.stopping:
                raise UnavailableError(f"group {self.config.name} is being stopped")
            if time.monotonic() > deadline + JOIN_SECONDS:
                old.recorder.interrupt()
                break
        if not self._ended(old):
            raise UnavailableError(f"group {self.config.name} is given up", self.failure)
        if old.recorder.failure is not None:
            raise old.recorder.failure
        old.recorder.close_books()

    def _go_on(self, reason: Reason) -> None:
        self._reason_due = reason
        self._build_threads()
        self._start_relays()
        self._start_threads(reason)

    def restart(self) -> None:
        """
        Build inotify instance and threads anew after one of them died, and compare everything.

        Raises:
            UnavailableError: no inotify instance is to be had.
        """
        with self._lifecycle:
            if self.stopping or self.failure:
                return
            try:
                self._restart(self._present_threads())
            except BaseException as error:
                self._failed_to_run(error)
                if not isinstance(self.recorder.failure, StoreError):  # a store that is not open comes first
                    self.recorder.failure = error
                raise

    def _restart(self, old: Threads) -> None:
        error = old.recorder.failure
        if isinstance(error, StoreError) or self._unsettled:
            self._restart_with_store(old, error)
            return
        if isinstance(error, EpochEnded):
            self._restart_with_epoch(old, error)
            return
        if time.monotonic() - self._restarted_at > _HEALTHY:
            self.restarts = 0
        self._restarted_at = time.monotonic()
        self.restarts += 1
        if self.restarts > RESTARTS:
            self._give_up(f"a thread died, and {RESTARTS} restarts did not help; see the log")
            return
        old.recorder.interrupt()
        if self._ended(old):
            self._metrics.consistent(False)
            self._go_on(self._reason_due or "internal")
            self._metrics.restarted()

    def _restart_with_store(self, old: Threads, error: BaseException | None) -> None:
        """
        The model is built anew from the database, opened again: what a failed fsync left behind is not known.

        It is tried for as long as it takes. The relays go with it: what they read may be another file now.
        """
        why = error.reason if isinstance(error, StoreError) else ""
        if why == "replaced" and isinstance(error, StoreError):
            self.taken_over = error
            self._give_up(str(error))
            self._relays.abort()
            return
        time.sleep(_STORE_PAUSE)
        if not self._ended(old):
            return
        self._end_relays(list(self.relays), 0.0)
        self.store.close()
        reason = self._load(damaged=why == "corrupt")
        self._start_relays()
        self._metrics.consistent(False)
        self._start_threads(_anew(reason))
        self._metrics.restarted()

    def _restart_with_epoch(self, old: Threads, ended: EpochEnded) -> None:
        if self._ended(old):
            self._begin_epoch(ended.reason)
            old.recorder.failure = None  # what comes now needs no other epoch
            self._go_on("root")

    def _end_relays(self, names: list[str], timeout: float = JOIN_SECONDS) -> None:
        self._relays.end(names, timeout)
        for name in names:
            self._comparison.done(name)

    def _sink_ahead(self, name: str, relay: Relay, epoch: str) -> None:
        """
        On a relay's thread: what is recorded is not what was published under these numbers, and must not be.

        Raises: SinkUnavailable, the group is stopping or does not run.
        """
        with self._lifecycle:
            if self.relays.get(name) is not relay or self.stopping or self.failure:
                raise SinkUnavailable("the group does not run")
            if epoch < self.store.epoch:
                return  # another relay has found it
            try:
                with self._changing():
                    self._begin_later(epoch)
            except UnavailableError as error:
                raise SinkUnavailable(error.message, error.hint) from error

    def _begin_later(self, epoch: str) -> None:
        self._pause(JOIN_SECONDS)
        self.store.skip_all()
        end = self.store.end
        self._begin_epoch("sink_ahead", epoch)
        for relay in self.relays.values():
            relay.skip(end)
        self._go_on("state_lost")

    def _relay_failed(self, name: str, error: Exception) -> None:
        """On the relay's thread. What is wrong with the store is the recorder's business."""
        if isinstance(error, StoreError) and self._threads is not None:
            self._threads.recorder.fail(error)
        else:
            self._died(f"relay-{self.config.name}-{name}", error)

    def _present_threads(self) -> Threads:
        assert self._threads is not None
        return self._threads

    def _ended(self, old: Threads) -> bool:
        """Close what ended threads used; one that hangs cannot be replaced: two would write one store."""
        if not old.notifier.stop(JOIN_SECONDS) or not old.recorder.join(JOIN_SECONDS):
            self._give_up("a thread hangs and cannot be replaced")
            return False
        old.inotify.close()
        return True

    def _give_up(self, why: str) -> None:
        self.failure = why
        if self._threads is not None:
            self._threads.recorder.interrupt()
        _log.error("the group is given up: %s", why, extra={"watch_group": self.config.name})
        self._given_up()

    # -- operator signals

    def new_epoch(self, timeout: float) -> str:
        """
        End the epoch and begin another with a full snapshot, which every sink gets after what is recorded.

        What happened until now is recorded in the old epoch first, as far as `timeout` seconds allow.

        Returns:
            The new epoch.
        Raises:
            UnavailableError: the group is stopping, or it is given up because a thread of it hangs.
            StoreError: the store does not take it; the old epoch goes on, after a restart of the group.
        """
        with self._lifecycle:
            if self.stopping or self.failure or self._threads is None:
                raise UnavailableError(f"group {self.config.name} does not run", self.failure)
            with self._changing():
                self._pause(timeout)
                epoch = self._begin_epoch("requested")
                self._go_on("requested")
                return epoch

    # -- how it is built

    def _committed(self, epoch: str, messages: list[Message]) -> None:
        self.tapped(messages)
        for relay in self.relays.values():
            relay.offer(epoch, messages)

    # -- for its relays, which outlive a recorder: see `outbox.relay.Recorder`

    def acknowledge(self, sink: str, position: Position) -> None:
        """Post it to the present recorder."""
        self.recorder.acknowledge(sink, position)

    def park(self, sink: str, position: Position, message: Message, outcome: Outcome) -> None:
        """Have the present recorder do it."""
        self.recorder.desk.park(sink, position, message, outcome)


def _anew(reason: Reason) -> Reason:
    """What the first resync is for where a store was opened again."""
    return "internal" if reason == "restart" else reason
