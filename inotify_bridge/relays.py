"""The relays of a watch group, one for each of its sinks: which there are, and how they end."""

from __future__ import annotations

import time
from collections.abc import Iterable

from inotify_bridge.outbox.relay import Relay


class Relays:
    """
    `start` and `end` are called by one thread at a time; what else there is may come from any.
    """

    def __init__(self) -> None:
        self.present: dict[str, Relay] = {}
        """By the names of their sinks; never changed in place, for others may be looking at it."""
        self._ending: list[Relay] = []
        self._hurried = False

    def start(self, name: str, relay: Relay) -> None:
        """One more."""
        self.present = {**self.present, name: relay}
        relay.start()

    def end(self, names: Iterable[str], timeout: float) -> None:
        """Have these deliver what the journal holds, for `timeout` seconds at the most, and end."""
        self._ending = [self.present[name] for name in names]
        ended = set(names)
        deadline = time.monotonic() + (0.0 if self._hurried else timeout)
        for relay in self._ending:
            relay.stop(deadline)
        for relay in self._ending:
            relay.join()
        self._ending = []
        self.present = {name: relay for name, relay in self.present.items() if name not in ended}

    def hurry(self) -> None:
        """From now on nobody waits for a sink that is ended."""
        self._hurried = True
        for relay in self._ending:
            relay.abort()

    def stop(self, deadline: float) -> None:
        """All of them, in monotonic seconds; those there are stay, to be asked how far they came."""
        for relay in self.present.values():
            relay.stop(deadline)
        for relay in self.present.values():
            relay.join()

    def abort(self) -> None:
        """End all of them now."""
        for relay in self.present.values():
            relay.abort()
