"""
The sink that keeps messages in the process: for tests of the agent, of the relay, and of your own consumers.

`MemoryBroker` plays the broker: it lives on while sinks come and go, and can be told to fail in every way
that a real one does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict

from inotify_bridge.errors import SinkUnavailable
from inotify_bridge.sinks.base import ACCEPTED, Message, Outcome, SinkContext, Verdict
from inotify_bridge.units import Bytes

RejectRule = Callable[[Message], bool]


class MemoryBroker:
    """
    Holds every message that it was given, in the order of arrival, repeats included. Safe from any thread.

    Everything that makes it fail may be called while a sink is sending.
    """

    _named: ClassVar[dict[str, MemoryBroker]] = {}
    _named_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self._changed: Final = threading.Condition()
        self._messages: list[Message] = []
        self._up = True
        self._frozen = False
        self._session = 0
        self._break_after: deque[int] = deque()
        self._nacks: dict[int, int] = {}
        self._reject: tuple[RejectRule, Outcome] | None = None

    @classmethod
    def named(cls, name: str) -> MemoryBroker:
        """The broker of this name in this process; made at the first call."""
        with cls._named_lock:
            return cls._named.setdefault(name, cls())

    @property
    def messages(self) -> list[Message]:
        """A copy of what it holds."""
        with self._changed:
            return list(self._messages)

    def wait(self, condition: Callable[[list[Message]], bool], within: float) -> bool:
        """Wait, at most `within` seconds, until `condition` holds for the messages; False if it never did."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self._messages), within)

    def clear(self) -> None:
        """Forget all messages."""
        with self._changed:
            self._messages.clear()

    def stop(self) -> None:
        """Go away: connections break, new ones are refused. What it holds it keeps."""
        with self._changed:
            self._up = False
            self._changed.notify_all()

    def start(self) -> None:
        """Come back; sinks have to connect anew."""
        with self._changed:
            self._session += 1
            self._up = True
            self._changed.notify_all()

    def freeze(self) -> None:
        """Stop answering: a `publish` hangs until `thaw`, `stop`, or until its sink is closed."""
        with self._changed:
            self._frozen = True

    def thaw(self) -> None:
        """Answer again."""
        with self._changed:
            self._frozen = False
            self._changed.notify_all()

    def break_after(self, *counts: int) -> None:
        """Break the connection when so many more messages are taken; then again after the next count."""
        with self._changed:
            self._break_after.extend(counts)

    def nack(self, sequence: int, times: int = 1) -> None:
        """Answer the message of this number with `Verdict.RETRY`, so many times."""
        with self._changed:
            self._nacks[sequence] = times

    def reject(self, rule: RejectRule, reason: str = "other", detail: str = "rejected by rule") -> None:
        """Answer every message for which `rule` holds with `Verdict.REJECTED`."""
        with self._changed:
            self._reject = (rule, Outcome(Verdict.REJECTED, reason, detail))

    def _open(self) -> int:
        with self._changed:
            if not self._up:
                raise SinkUnavailable("the memory broker is stopped")
            return self._session

    def _take(self, message: Message, session: int, closed: threading.Event) -> Outcome:
        with self._changed:
            self._changed.wait_for(lambda: not self._frozen or closed.is_set() or not self._alive(session))
            if closed.is_set() or not self._alive(session):
                raise SinkUnavailable("the connection to the memory broker was lost")
            if self._nacks.get(message.sequence, 0):
                self._nacks[message.sequence] -= 1
                return Outcome(Verdict.RETRY, "nacked", "nacked by script")
            if self._reject is not None and self._reject[0](message):
                return self._reject[1]
            self._messages.append(message)
            self._changed.notify_all()
            self._count_down()
            return ACCEPTED

    def _holds(self, session: int) -> bool:
        with self._changed:
            return self._alive(session)

    def _alive(self, session: int) -> bool:
        return self._up and session == self._session

    def _count_down(self) -> None:
        if self._break_after:
            self._break_after[0] -= 1
            if self._break_after[0] <= 0:
                self._break_after.popleft()
                self._session += 1
                raise SinkUnavailable("the connection to the memory broker was lost")

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class MemorySink:
    """
    Hands messages to a `MemoryBroker` of this process.

    Like a broker with a window of confirms it goes on after a nack: what stands behind it is taken.
    """

    class Options(BaseModel):
        """Configuration of a ``memory`` sink."""

        model_config = ConfigDict(frozen=True, extra="forbid")

        broker: str = "default"
        """Name of the `MemoryBroker` in this process."""
        max_message_bytes: Bytes = 0
        """A larger body is rejected as too large; 0: no limit."""

    def __init__(self, options: Options, context: SinkContext) -> None:
        self._options = options
        self._broker = MemoryBroker.named(options.broker)
        self._session = -1
        self._closed = threading.Event()

    def connect(self) -> None:
        """Join the broker. Raises: SinkUnavailable, while it is stopped."""
        self._session = self._broker._open()
        self._closed.clear()

    def publish(self, batch: Sequence[Message]) -> list[Outcome]:
        """Hand over one by one. Raises: SinkUnavailable, when the broker stops or `close` comes."""
        return [self._publish_one(message) for message in batch]

    def check(self) -> None:
        """Raises: SinkUnavailable, the broker has stopped or broken the connection."""
        if not self._broker._holds(self._session):
            raise SinkUnavailable("the connection to the memory broker was lost")

    def close(self) -> None:
        """Leave the broker; a hanging `publish` ends."""
        self._closed.set()
        self._session = -1
        self._broker._wake()

    def _publish_one(self, message: Message) -> Outcome:
        limit = self._options.max_message_bytes
        if limit and len(message.body) > limit:
            return Outcome(Verdict.REJECTED, "too_large", f"{len(message.body)} bytes, the limit is {limit}")
        return self._broker._take(message, self._session, self._closed)
