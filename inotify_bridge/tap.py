"""
Taps: events as they are recorded, for whoever looks, without slowing anything.

The recorder puts what it has committed into the buffer of every tap and goes on. A buffer that is full when
the next events come belongs to a reader who is too slow: it is cut off, and told so.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from inotify_bridge.sinks.base import Message

BUFFER_BYTES: Final = 8 * 1024**2
"""Of one tap. The events themselves are shared with the journal's relays and the other taps."""

RECENT: Final = 10
"""Of each group so many of the last messages are kept, for the status."""

_PORTION: Final = 64 * 1024

TOO_SLOW: Final = "cut off: the reader is too slow"


class Tap:
    """
    One reader's view of the stream. Filled by recorders, emptied by one thread.

    Args:
        groups: whose events; empty: of all groups.
        limit: ends after so many file or directory events; None: never.
    """

    def __init__(self, groups: Collection[str] = (), limit: int | None = None) -> None:
        self.groups = frozenset(groups)
        self.why = ""
        """Why it has ended, once it has: empty where the limit was reached."""
        self._left = limit
        self._bodies: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._changed = threading.Condition(threading.Lock())

    def offer(self, messages: Iterable[Message]) -> None:
        """Take what was committed. On a recorder's thread; never waits for the reader."""
        with self._changed:
            for message in messages:
                if self._ended:
                    break
                self._add(message)
            self._changed.notify()

    def _add(self, message: Message) -> None:
        if self._size + len(message.body) > BUFFER_BYTES:
            self._end(TOO_SLOW)
            return
        self._bodies.append(message.body)
        self._size += len(message.body)
        if self._left is not None and not message.kind.startswith("stream."):
            self._left -= 1
            if self._left == 0:
                self._end("")

    def take(self, timeout: float) -> list[bytes] | None:
        """
        Some of the events that have come, as JSON without line breaks; none where none came in `timeout`
        seconds. None at the end, after the last of them.
        """
        with self._changed:
            if not self._bodies and not self._ended:
                self._changed.wait(timeout)
            bodies: list[bytes] = []
            size = 0
            while self._bodies and size < _PORTION:
                bodies.append(self._bodies.popleft())
                size += len(bodies[-1])
            self._size -= size
            return None if self._ended and not bodies else bodies

    def end(self, why: str) -> None:
        """End it, after what it holds. Idempotent; the first reason counts. From any thread."""
        with self._changed:
            self._end(why)
            self._changed.notify()

    def _end(self, why: str) -> None:
        if not self._ended:
            self._ended, self.why = True, why


class Taps:
    """All taps of an agent. From any thread."""

    def __init__(self) -> None:
        self._open: tuple[Tap, ...] = ()
        self._recent: dict[str, tuple[Message, ...]] = {}
        self._lock = threading.Lock()

    def add(self, tap: Tap) -> None:
        """From now on it gets what is committed."""
        with self._lock:
            self._open = (*self._open, tap)

    def remove(self, tap: Tap) -> None:
        """It gets no more. Idempotent."""
        with self._lock:
            self._open = tuple(other for other in self._open if other is not tap)

    def recent(self, group: str) -> Sequence[Message]:
        """The last messages that a group has committed, the oldest first."""
        return self._recent.get(group, ())

    def offer(self, group: str, messages: Sequence[Message]) -> None:
        """A group has committed these. On its recorder's thread."""
        self._recent[group] = (*self.recent(group), *messages[-RECENT:])[-RECENT:]
        for tap in self._open:  # one look at an empty tuple where nobody listens
            if not tap.groups or group in tap.groups:
                tap.offer(messages)

    def end(self, why: str, group: str | None = None) -> None:
        """End those that listen to one group alone, or all of them."""
        for tap in self._open:
            if group is None or tap.groups == {group}:
                tap.end(why)
