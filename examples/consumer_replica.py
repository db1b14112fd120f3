"""
Replicas of published trees: what consumer_rabbitmq.py and consumer_kafka.py do with their messages.

Prints one line an event, with the number of entries that the replica holds after it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from inotify_bridge.events.names import encode
from inotify_bridge.subscribe import Decision, GapDetector, Replica, parse
from inotify_bridge.subscribe.event import Headers

Received = tuple[bytes, Headers]
Replicas = dict[str, Replica]


def consume(messages: Iterable[Received], replicas: Replicas) -> None:
    """
    Hold the replicas, whatever is repeated, comes early or is lost.

    Args:
        messages: body and headers, in the broker's order; the next is asked for when one was applied.
        replicas: by source; filled here.
    """
    detector, asked = GapDetector(deadline=60), frozenset[str]()
    for body, headers in shown(messages, replicas):
        event = parse(body, headers)
        if detector.offer(event) is Decision.APPLY:
            replica = replicas.setdefault(event.source, Replica())
            if not replica.apply(event):
                detector.invalidate(event.source)
        lost = detector.invalid()
        for source in lost - asked:
            ask_for_snapshot(source)
        asked = lost
    for source in detector.finish() - asked:
        ask_for_snapshot(source)


def shown(messages: Iterable[Received], replicas: Replicas) -> Iterator[Received]:
    """Pass the messages on, and print what each has come to; probes of `test-sink` belong to no tree."""
    for body, headers in messages:
        event = parse(body, headers)
        if event.kind == "stream.probe":
            continue
        yield body, headers
        replica = replicas.get(event.source)
        held = len(replica) if replica is not None and not replica.invalid else "invalid:"
        print(f"{event.kind} {encode(event.path or b'')} ({held} entries)", flush=True)


def ask_for_snapshot(source: str) -> None:
    """Only an operator can have one made: `inotify-bridge resync GROUP --snapshot`."""
    print(f"{source}: something was lost, nothing is applied until the next epoch", file=sys.stderr)
