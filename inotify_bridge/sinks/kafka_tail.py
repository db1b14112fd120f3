"""Which message of a source a Kafka partition holds last: its end is read, by either client."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from inotify_bridge.sinks.base import Newest

MOST_BYTES: Final = 1024 * 1024
"""How much is asked for at once; one batch that is larger comes whole."""

ANSWER_SECONDS: Final = 3.0
"""How long a sink looks, before it says that it does not know."""

_WINDOWS: Final = (500, 50, 5, 1)
_STRUCTURED: Final = b"application/cloudevents+json"


class Kept(NamedTuple):
    """A record as a partition keeps it; others may have written it, so value and headers may be missing."""

    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    def told(self, source: str) -> Newest | None:
        """Its place in the stream, if it is a message of this source in either content mode."""
        headers = {name.lower(): value for name, value in self.headers}
        if (headers.get("content-type") or b"").startswith(_STRUCTURED):
            return Newest.read(self.value or b"", source)
        sequence = (headers.get("ce_sequence") or b"").decode(errors="replace")
        return Newest.told((headers.get("ce_source") or b"").decode(errors="replace"), sequence, source, None)


class Tail(Protocol):
    """One partition, as a client reads it."""

    def bounds(self) -> tuple[int, int]:
        """The first offset that it holds, and the one after the last."""

    def records(self, start: int, end: int) -> Iterable[Kept]:
        """What it keeps from one offset up to before another, in order; control records are left out."""


def newest(tail: Tail, source: str) -> Newest | None:
    """
    The message of the source that stands furthest in the stream, among the last some hundred records.

    Repeats after a crash begin further back, so it need not be the last one.
    """
    first, end = tail.bounds()
    found: list[Newest] = []
    for window in _WINDOWS:
        # Where large records stop the reading before the end, it begins anew nearer to the end.
        if first == end or _read(tail, max(first, end - window), end, source, found):
            break
    # Of those with the same place the last: it is what took the place of a message that was parked.
    return max(reversed(found), key=lambda one: (one.epoch, one.sequence), default=None)


def _read(tail: Tail, start: int, end: int, source: str, found: list[Newest]) -> bool:
    """Gather the messages of the source; whether all was read, up to the end."""
    size = 0
    for record in tail.records(start, end):
        if size > MOST_BYTES:
            return False
        size += len(record.value or b"")
        if (told := record.told(source)) is not None:
            found.append(told)
    return True
