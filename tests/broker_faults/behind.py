"""A sink, the proxy before its broker, and the run that every fault gets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from inotify_bridge.outbox.relay import Relay
from inotify_bridge.sinks.base import Sink
from tests.brokers.proxy import Proxy
from tests.outbox.recording import Recording, Watcher
from tests.sinks.harness import SinkHarness
from tests.sinks.messages import assert_go_back_n, messages

RECOVERY_SECONDS = 90.0
_BEFORE, _DURING, _AFTER = 300, 1200, 300
_PORTION = 100
_TRICKLE_SECONDS = 0.1


class Behind(NamedTuple):
    """
    Args:
        harness: the sink's broker seen from outside, not by way of the proxy.
        proxy: it is healed by `Run`.
        options: of a sink that goes by way of the proxy and waits for nothing for long.
    """

    harness: SinkHarness
    proxy: Proxy
    options: Mapping[str, Any]

    def sink(self) -> Sink:
        """A new sink."""
        return self.harness.make(**self.options)


class Run:
    """
    A store, a relay and a sink: some messages before a fault, most of them during it, some afterwards.

    Args:
        harness: its broker is consumed.
        sink: not connected.
    """

    def __init__(self, harness: SinkHarness, sink: Sink) -> None:
        self._harness = harness
        self._sink = sink
        self.watcher = Watcher()
        self.relay: Relay
        self._arrived: list[int] = []
        self.troubles: set[str] = set()
        """What the relay's status said while the fault lasted."""

    def over(
        self,
        strike: Callable[[], None],
        happened: Callable[[], object],
        heal: Callable[[], None],
        takes_along: bool = False,
    ) -> list[int]:
        """
        Run it, and fail unless everything arrives in go-back-N order, without a hole.

        Args:
            strike: begins the fault.
            happened: true once the fault has shown; the run waits for it.
            heal: ends the fault.
            takes_along: what was confirmed before it is gone with it: a queue or topic that is deleted.
        Returns:
            The sequences in the order of arrival, repeats included.
        """
        last = _BEFORE
        with Recording() as recording:
            self.relay = recording.relay(self._sink, watcher=self.watcher)
            recording.commit(messages(_BEFORE))
            recording.confirmed(_BEFORE, within=RECOVERY_SECONDS)
            try:
                strike()
                deadline = time.monotonic() + RECOVERY_SECONDS
                # Most of them at once, then a few again and again: a fault may need traffic to show.
                while last < _BEFORE + _DURING or not self._shows(happened):
                    assert time.monotonic() < deadline, f"the fault does not show: {self.troubles}"
                    recording.commit(messages(_PORTION, last + 1))
                    last += _PORTION
                    if last > _BEFORE + _DURING:
                        time.sleep(_TRICKLE_SECONDS)
            finally:
                heal()
            recording.commit(messages(_AFTER, last + 1))
            last += _AFTER
            recording.confirmed(last, within=RECOVERY_SECONDS)
        assert self.watcher.acked_sequences == list(range(1, last + 1))
        gone = _BEFORE if takes_along else 0
        self.drain(last - gone)
        assert_go_back_n(self._arrived, gone + 1, last)
        return self._arrived

    def drain(self, count: int = 0) -> None:
        """Consume what the broker holds; waits until so many different messages have come in all."""
        self._arrived += [one.sequence for one in self._harness.consume(count)]

    def told(self, words: str) -> bool:
        """Whether the relay's status has said these words while the fault lasted."""
        return any(words.lower() in trouble.lower() for trouble in self.troubles)

    def _shows(self, happened: Callable[[], object]) -> bool:
        self.troubles |= {self.relay.status.error} - {""}
        return bool(happened())
