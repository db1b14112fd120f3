"""
For consumers: read events, notice what was lost, hold a replica of the tree.

Needs nothing but the standard library. A whole consumer, exact under every failure that the stream survives:

    from inotify_bridge.subscribe import Decision, GapDetector, Replica, parse


    def consume(messages, replicas, ask_for_snapshot):
        detector, asked = GapDetector(deadline=60), frozenset()
        for body, headers in messages:
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

`messages` are the broker's, in its order and acknowledged after they were applied, or the lines of a file:
where they end, a hole that is still open is a loss. `ask_for_snapshot` asks the operator for a snapshot,
which comes with each new epoch: ``inotify-bridge resync GROUP --snapshot`` begins one. A consumer that only
wants to know about finished files needs `parse` alone: handle ``file.written`` and ``file.moved``, and skip
an `Event.id` that was there before.
"""

from inotify_bridge.subscribe.event import Entry, Event, parse
from inotify_bridge.subscribe.gap import Decision, Gap, GapDetector, Position
from inotify_bridge.subscribe.replica import Replica

__all__ = ["Decision", "Entry", "Event", "Gap", "GapDetector", "Position", "Replica", "parse"]
