"""What the conformance suite asks of whoever brings a sink: the sink, and its broker seen from outside."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from inotify_bridge.sinks.base import Sink, SinkContext
from tests.sinks.messages import SOURCE, Received

Overrides = Mapping[str, Any]
NONE: Overrides = MappingProxyType({})


class SinkHarness(ABC):
    """
    One sink type with its broker, for one test: every instance has a place (queue, topic, file) of its own.

    A sub-class fills in the abstract methods, the overrides that lead to each failure, and in
    `not_applicable` the failures that this kind of sink cannot have, each with the reason.
    """

    not_applicable: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Capability to the reason why tests of it make no sense here. Capabilities: ``restart``, ``freeze``,
    ``wrong_host``, ``wrong_password``, ``missing_target``, ``unroutable``, ``too_large``, ``interrupt``."""

    wrong_host: Overrides = NONE
    """Options of a sink whose broker cannot be reached, on loopback."""
    wrong_password: Overrides = NONE
    """Options with a password that the broker refuses."""
    password: str = ""
    """The one in `wrong_password`, which must never be shown."""
    missing_target: Overrides = NONE
    """Options that name an exchange, topic or directory that does not exist and is not to be made."""
    unroutable: Overrides = NONE
    """Options under which the broker is there and takes messages, but no queue would get them."""
    too_large_bytes: int = 0
    """A body of this length is refused for good under `limited`."""
    limited: Overrides = NONE
    """Options under which `too_large_bytes` holds; empty where it always does."""

    broker: Any
    """Where there is one: has `start`, `freeze` and `thaw`."""

    context: SinkContext = SinkContext(
        name="orders",
        group="uploads",
        source=SOURCE,
        content_mode="structured",
        partition_by="group",
        client_id="inotify-bridge-test",
    )

    @abstractmethod
    def make(self, **overrides: Any) -> Sink:
        """A new sink, not connected, with options that work changed by `overrides`. The harness closes it."""

    @abstractmethod
    def consume(self, count: int, within: float = 60.0) -> list[Received]:
        """
        Read from the broker with a client of its own, never through the sink.

        Waits until `count` different messages have come since the first call, at most `within` seconds, then
        reads on to the end of what the broker holds.

        Returns:
            What came since the last call, repeats included, in the order of the broker; also when it is less.
        """

    def stop_broker(self) -> None:
        """Take the broker away at once; what it has confirmed it keeps. Returns when it is gone."""
        raise NotImplementedError

    def start_broker(self) -> None:
        """Bring it back. Returns when it takes connections."""
        self.broker.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The broker keeps its connections and answers nothing; thawed at the end."""
        self.broker.freeze()
        try:
            yield
        finally:
            self.broker.thaw()

    @abstractmethod
    def close(self) -> None:
        """Close the sinks made and remove what stands on the broker. Idempotent."""

    def need(self, capability: str) -> None:
        """Skip the test, with the documented reason, where the sink cannot have this failure."""
        if capability in self.not_applicable:
            pytest.skip(f"{capability}: {self.not_applicable[capability]}")
