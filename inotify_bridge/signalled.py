"""What may be asked of a running group from outside, short of another epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from inotify_bridge.config.model import WatchGroup
from inotify_bridge.errors import ConfigError, StoreError, UnavailableError
from inotify_bridge.outbox.journal import Position
from inotify_bridge.outbox.parked import Parked
from inotify_bridge.outbox.relay import Relay
from inotify_bridge.outbox.store import Store
from inotify_bridge.recorder import Recorder
from inotify_bridge.relays import Relays
from inotify_bridge.threads import Threads

HANGING = 60.0
"""Seconds without a turn after which a thread counts as dead."""

_GLANCE = 0.05


class Signalled:
    """
    A group as its operator sees it. Every method may come from any thread.

    What the recorder has to answer raises UnavailableError and StoreError as `desk.Desk` says.
    """

    config: WatchGroup
    failure: str
    """Why the group is given up; empty: it is not."""
    stopping: bool
    """Whether it is being ended for good."""
    trouble: BaseException | None
    """Why its threads, which have ended, could not be begun anew yet."""
    _relays: Relays
    _threads: Threads | None
    _store: Store | None
    _at_rest = False
    """Whether its threads are being exchanged on purpose."""
    _down_since = 0.0

    @property
    def store(self) -> Store:
        """The group's store, once it was started."""
        assert self._store is not None
        return self._store

    @property
    def relays(self) -> Mapping[str, Relay]:
        """Those that run, by the names of their sinks."""
        return self._relays.present

    @property
    def started(self) -> bool:
        """Whether `start` has come so far."""
        return self._threads is not None

    @property
    def recorder(self) -> Recorder:
        """The present recorder."""
        assert self._threads is not None
        return self._threads.recorder

    def resync(self, path: bytes | None) -> None:
        """Compare a directory, or everything, with what was published."""
        if self._threads is not None:
            self._threads.recorder.resync(path)

    def barrier(self, timeout: float, gone: Callable[[], bool] = lambda: False) -> Position:
        """
        Wait until everything whose system call has returned is in the journal.

        Args:
            gone: whether nobody waits for the answer any more.
        Raises:
            UnavailableError: it was not within `timeout` seconds, or the recorder has ended before it was.
        """
        assert self._threads is not None
        recorder, end = self._threads.recorder, time.monotonic() + timeout
        passed = self._threads.notifier.barrier().passed
        while not passed.wait(max(0.0, min(_GLANCE, end - time.monotonic()))):
            alive, late = recorder.alive, time.monotonic() >= end
            if passed.is_set():
                break
            if not alive:
                raise UnavailableError(
                    f"group {self.config.name}: the recorder ended before the barrier",
                    recorder.books.standstill,
                )
            if late or gone():
                raise UnavailableError(
                    f"group {self.config.name}: the barrier did not pass within {timeout:g} s",
                    recorder.books.standstill,
                )
        return self.store.end

    def lag(self, sink: str) -> int:
        """Messages that a sink has not confirmed; 0 where a reload has ended it."""
        relay = self.relays.get(sink)
        return 0 if relay is None else self.store.behind(relay.status.position)

    def hanging(self) -> list[str]:
        """Threads that are dead or have not turned for `HANGING` seconds, in words."""
        name, latest = f"group {self.config.name}", time.monotonic() - HANGING
        if self.failure:
            return [f"{name}: {self.failure}"]
        if self._threads is None or self.stopping or self._at_rest:
            return []
        if self.trouble is not None and (
            not isinstance(self.trouble, StoreError) or self._down_since < latest
        ):
            return [f"{name} does not run, it is being restarted: {self.trouble}"]
        turned = (("notifier", self._threads.notifier), ("recorder", self._threads.recorder))
        return [
            f"{name}: the {what} has not turned for {HANGING:g} s"
            for what, thread in turned
            if thread.turned_at < latest
        ]

    def parked(self) -> list[Parked]:
        """The messages that wait for an operator."""
        return self.recorder.desk.parked()

    def retry_parked(self, sink: str | None, position: Position | None) -> int:
        """Publish the present state of their paths; see `desk.Desk.retry`."""
        return self.recorder.desk.retry(sink, position)

    def drop_parked(self, sink: str | None, position: Position | None) -> int:
        """Forget parked messages; see `desk.Desk.drop`."""
        return self.recorder.desk.drop(sink, position)

    def replay(self, sequence: int, sink: str | None) -> Position:
        """
        Have messages of the present epoch sent again, to one sink or to all; see `desk.Desk.replay`.

        Raises:
            ConfigError: there is no such sink or message, or the message is not kept any more.
        """
        if sink is not None and sink not in self.relays:
            raise ConfigError(
                f"group {self.config.name} has no sink '{sink}'", "one of " + ", ".join(self.relays)
            )
        meant = {name: relay.rewind for name, relay in self.relays.items() if sink in (None, name)}
        return self.recorder.desk.replay(sequence, meant)
