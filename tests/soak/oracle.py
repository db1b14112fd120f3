"""
What an independent consumer of the broker makes of the stream, and everything that was wrong with it.

The consumer rule: the next message is applied, a known one dropped, one that comes early is waited for, a
higher epoch is taken from its ``stream.started``. Beyond that rule no number may ever stand for two messages.
"""

from __future__ import annotations

import json
import threading
import time
from array import array
from collections import Counter
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from tests.fold import Entry, Fold

Place = tuple[str, int]

_SKEW_TOLERANCE: Final = 600.0


class Oracle:
    """
    Takes every message in the order in which the broker gives it. From any thread.

    Attributes:
        received: messages, repeats included.
        repeats: known ones that came again.
        early: those that came before their turn, which the broker has to be sent again.
        digests: that were compared with what is held.
        overflows: resyncs that the stream has begun because of one.
        resyncs: that were completed, by their reason.
        notices: messages ``stream.*``, by their kind.
        epochs: in the order in which they began.
        found: what the last completed resync has told, but changes of attributes.
        wrong: what broke a promise, in words; after the first of them the rest means little.
    """

    def __init__(self) -> None:
        self.received = self.repeats = self.early = self.digests = self.found = 0
        self.resyncs: Counter[str] = Counter()
        self.notices: Counter[str] = Counter()
        self.epochs: list[str] = []
        self.wrong: list[str] = []
        self.clocks_seen = self.overflows = self._resync_changes = 0
        self._clock: float | None = None
        self._at: Place = ("", 0)
        self._fold = Fold(strict=True)
        self._fingerprints: dict[str, array[int]] = {}
        self._ahead: dict[Place, int] = {}
        self._lock = threading.Lock()

    # -- what it holds

    @property
    def at(self) -> Place:
        """The last message that was applied: epoch and sequence."""
        return self._at

    def entries(self) -> dict[bytes, Entry]:
        """The tree as the stream tells it."""
        with self._lock:
            return self._fold.entries()

    def holes(self) -> list[Place]:
        """Messages that came early and are still waited for: what is before the first of them is missing."""
        with self._lock:
            return sorted(place for place in self._ahead if place > self._at)

    def expect_clock(self, ahead: float) -> None:
        """The agent's clock was set so many seconds ahead; `clocks_seen` counts when the stream shows it."""
        self._clock = ahead

    # -- what comes

    def take(self, body: bytes) -> None:
        """The next message of the broker."""
        with self._lock:
            self.received += 1
            try:
                self._take(body)
            except (AssertionError, KeyError, ValueError, TypeError) as error:
                self.wrong.append(f"after {self._at}: {type(error).__name__}: {error}: {body[:600]!r}")

    def _take(self, body: bytes) -> None:
        event = json.loads(body)
        if event["id"] != event["sequence"]:
            raise ValueError("id and sequence differ")
        epoch, _, digits = event["sequence"].partition("-")
        place, mark = (epoch, int(digits)), _fingerprint(body)
        if place <= self._at:
            self._again(place, mark)
        elif self._is_next(place, event["type"]):
            self._apply(place, mark, event)
        else:
            self.early += 1
            self._remember_early(place, mark)

    def _is_next(self, place: Place, type: str) -> bool:
        epoch, sequence = place
        if epoch == self._at[0]:
            return sequence == self._at[1] + 1
        return sequence == 1 and type.endswith(".stream.started.v1")

    def _again(self, place: Place, mark: int) -> None:
        epoch, sequence = place
        known = self._fingerprints.get(epoch)
        if known is None or sequence > len(known):
            raise ValueError(f"{place} is new and comes after its epoch has ended")
        if known[sequence - 1] != mark:
            raise ValueError(f"{place} stood for another message before")
        self.repeats += 1

    def _remember_early(self, place: Place, mark: int) -> None:
        if self._ahead.setdefault(place, mark) != mark:
            raise ValueError(f"{place} came early as another message before")

    def _apply(self, place: Place, mark: int, event: dict[str, Any]) -> None:
        if self._ahead.pop(place, mark) != mark:
            raise ValueError(f"{place} came early as another message before")
        if place[0] != self._at[0]:
            self.epochs.append(place[0])
            self._fingerprints[place[0]] = array("Q")
        self._at = place
        self._fingerprints[place[0]].append(mark)
        self._fold.event(event)
        self._look(event)

    def _look(self, event: dict[str, Any]) -> None:
        family, kind = event["type"].split(".")[-3:-1]
        data = event["data"]
        if family != "stream":
            # Other times of an entry (a name more, a name less) are told by nobody but a comparison.
            self._resync_changes += data.get("origin") == "resync" and kind != "attributes_changed"
        else:
            self.notices[kind] += 1
            if kind == "resync_started":
                self._resync_changes = 0
                self.overflows += data["reason"] == "overflow"
            elif kind == "resync_completed":
                self._completed(data)
        if self._clock is not None:
            ahead = datetime.fromisoformat(event["time"]).timestamp() - time.time()
            if abs(ahead - self._clock) < _SKEW_TOLERANCE:
                self.clocks_seen += 1
                self._clock = None

    def _completed(self, data: dict[str, Any]) -> None:
        self.found = self._resync_changes
        self.resyncs[data["reason"]] += 1
        if "digest" not in data:
            raise ValueError("a resync was completed without a digest")
        self.digests += 1
        held = digest(self._fold.entries())
        if held != data["digest"]:
            raise ValueError(f"the stream's digest is {data['digest']}, of what it told {held}")


def digest(entries: dict[bytes, Entry]) -> str:
    """By its definition: the sum modulo 2^128 of BLAKE2b-128 over path, NUL and type, 32 hex digits."""
    hashes = (blake2b(path + b"\0" + entry.type.encode(), digest_size=16) for path, entry in entries.items())
    return f"{sum(int.from_bytes(one.digest(), 'big') for one in hashes) % 2**128:032x}"


def _fingerprint(body: bytes) -> int:
    return int.from_bytes(blake2b(body, digest_size=8).digest(), "big")
