"""What may be asked of a running group from outside, short of another epoch."""

from __future__ import annotations

from inotify_bridge.config.model import WatchGroup
from inotify_bridge.errors import ConfigError, UnavailableError
from inotify_bridge.outbox.parked import Parked
from inotify_bridge.outbox.relay import Relay
from inotify_bridge.outbox.store import Position, Store
from inotify_bridge.recorder import Recorder
from inotify_bridge.threads import Threads


class Signalled:
    """
    A group as its operator sees it. Every method may come from any thread.

    What the recorder has to answer raises UnavailableError and StoreError as `desk.Desk` says.
    """

    config: WatchGroup
    relays: dict[str, Relay]
    _threads: Threads | None
    _store: Store | None

    @property
    def store(self) -> Store:
        """The group's store, once it was started."""
        assert self._store is not None
        return self._store

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

    def barrier(self, timeout: float) -> Position:
        """
        Wait until everything whose system call has returned is in the journal.

        Raises:
            UnavailableError: it was not within `timeout` seconds.
        """
        assert self._threads is not None
        if not self._threads.notifier.barrier().passed.wait(timeout):
            raise UnavailableError(f"group {self.config.name}: the barrier did not pass within {timeout:g} s")
        return self.store.end

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
            ConfigError: there is no such sink or message.
            UnavailableError: the message is not kept any more.
        """
        if sink is not None and sink not in self.relays:
            raise ConfigError(
                f"group {self.config.name} has no sink '{sink}'", "one of " + ", ".join(self.relays)
            )
        meant = {name: relay.rewind for name, relay in self.relays.items() if sink in (None, name)}
        return self.recorder.desk.replay(sequence, meant)
