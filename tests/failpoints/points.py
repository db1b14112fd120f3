"""
The points: where the agent is killed.

They are bound to methods that the project's own modules call from each other. Where one was renamed, `arm`
raises: the agent does not start, and the campaign says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from inotify_bridge import agent
from inotify_bridge.agent import Agent
from inotify_bridge.capture.inotify import Inotify
from inotify_bridge.capture.judge import Judge
from inotify_bridge.capture.reconciler import Reconciler
from inotify_bridge.group import Group
from inotify_bridge.outbox import store
from inotify_bridge.outbox.index import IndexTable
from inotify_bridge.outbox.journal import Journal
from inotify_bridge.outbox.lock import DirectoryLock
from inotify_bridge.outbox.note import Note
from inotify_bridge.outbox.store import Store
from inotify_bridge.recorder import Recorder
from inotify_bridge.sinks.base import ACCEPTED, Message, Outcome, Sink, Verdict
from tests.failpoints.fuse import Fuse, replace
from tests.mutants import MUTANTS, Patch

POINT = "FAILPOINT"
HIT = "FAILPOINT_HIT"
DELAY = "FAILPOINT_DELAY"
LINGER = "FAILPOINT_LINGER"
MUTANT = "FAILPOINT_MUTANT"
REFUSE = "FAILPOINT_REFUSE"
"""Environment of the agent: name of the point, number of the pass, seconds twice; see `Fuse`, `prepare`."""

REFUSED = b"q" * 255
"""A message about a file of this name is refused for good, where a point needs one to be parked."""

Drive: TypeAlias = Literal[
    "load", "down", "stop", "filters", "sinks", "park", "retry", "snapshot", "replay", "older", "damaged"
]
"""
What brings the agent to a point:

load alone; much that changed while it was *down*; SIGTERM; a reload with other *filters*; other *sinks* at a
restart, thus a new epoch; a message that is refused, and *parked*; an operator who asks to *retry* those, for
a *snapshot* in a new epoch, for a *replay*; a database of an *older* release; one that is *damaged*.
"""


class Point(NamedTuple):
    """
    One place.

    Args:
        name: for the command line.
        arm: puts the fuse there.
        most: the number of the pass is chosen at random up to this.
        drive: what brings the agent there.
    """

    name: str
    arm: Callable[[Fuse], None]
    most: int = 1
    drive: Drive = "load"


def arm() -> None:
    """Put a fuse at the point that the environment names; for `tests.patched`, in the agent's process."""
    prepare()
    point = BY_NAME[os.environ[POINT]]
    delay, linger = float(os.environ[DELAY]), float(os.environ[LINGER])
    point.arm(Fuse(point.name, int(os.environ[HIT]), delay, linger))


def prepare() -> None:
    """
    What the environment asks for beside the fuse.

    A mutant of `tests.mutants`, by its name; sinks that refuse some messages for good, as a broker does that
    finds them too large.
    """
    if name := os.environ.get(MUTANT):
        next(mutant for mutant in MUTANTS if mutant.name == name).apply(Patch())
    if os.environ.get(REFUSE):
        _sinks(_refusing)


# -- what a batch holds


def _says(kind: str) -> Callable[..., bool]:
    needle = f".stream.{kind}.v1".encode()

    def said(_store: Store, records: Sequence[bytes], *_: Any) -> bool:
        return any(needle in record for record in records)

    return said


def _said(kind: str) -> Callable[..., bool]:
    says = _says(kind)
    return lambda _result, store, records, *_: says(store, records)


def _began_an_epoch(_result: None, _store: Store, records: Sequence[bytes], *_: Any) -> bool:
    return any(b'"new_epoch":true' in record for record in records)


def _has_records(_store: Store, records: Sequence[bytes], *_: Any) -> bool:
    return bool(records)


def _had_records(_result: None, _store: Store, records: Sequence[bytes], *_: Any) -> bool:
    return bool(records)


def _chunk_of_a_resync(_result: None, _store: Store, records: Sequence[bytes], *_: Any) -> bool:
    found = any(b'"origin":"resync"' in record for record in records)
    return found and not _says("resync_completed")(_store, records)


# -- what a note says


def _had_floor(_result: None, _note: Note, *_: Any, floor: str = "", clean: bool = False) -> bool:
    return bool(floor)


def _first_note(
    _note: Note, _epoch: str, sequence: int, *_: Any, floor: str = "", clean: bool = False
) -> bool:
    return sequence == 0 and not floor


def _last_note(_note: Note, *_: Any, floor: str = "", clean: bool = False) -> bool:
    return clean


def _had_last_note(_result: None, _note: Note, *_: Any, floor: str = "", clean: bool = False) -> bool:
    return clean


# -- sinks, which are made by their type's name


def _sinks(change: Callable[[type[Any]], None]) -> None:
    """Change the class of every sink that the agent makes, once, when the first is made."""
    changed: set[type[Any]] = set()

    def wrapper(original: Callable[..., Sink]) -> Callable[..., Sink]:
        def sink_of(*args: Any) -> Sink:
            sink = original(*args)
            if type(sink) not in changed:
                changed.add(type(sink))
                change(type(sink))
            return sink

        return sink_of

    replace(agent, "sink_of", wrapper)


def _refusing(sink: type[Any]) -> None:
    def wrapper(publish: Callable[..., Sequence[Outcome]]) -> Callable[..., Sequence[Outcome]]:
        def wrapped(self: Sink, batch: Sequence[Message]) -> Sequence[Outcome]:
            refused = (at for at, one in enumerate(batch) if _refusable(one))
            place = next(refused, len(batch))
            outcomes = list(publish(self, batch[:place])) if place else []
            if place == len(batch):
                return outcomes
            why = Outcome(Verdict.REJECTED, "too_large", "refused by the test")
            if any(outcome is not ACCEPTED for outcome in outcomes):
                why = Outcome(Verdict.RETRY, "other", "held back behind a refused message")
            held_back = Outcome(Verdict.RETRY, "other", "held back behind a refused message")
            return [*outcomes, why, *[held_back] * (len(batch) - place - 1)]

        return wrapped

    replace(sink, "publish", wrapper)


def _refusable(message: Message) -> bool:
    return REFUSED in message.body and not message.kind.startswith("stream.")


def _publish(fuse: Fuse, how: str) -> None:
    _sinks(lambda sink: getattr(fuse, how)(sink, "publish"))


def _sent_unconfirmed(fuse: Fuse) -> None:
    """All of a batch is with the broker, whose answer is not read yet."""

    def change(sink: type[Any]) -> None:
        if sink.__name__ == "JsonlSink":
            from inotify_bridge.sinks.jsonl import JsonlFile

            fuse.after(JsonlFile, "_write")
        elif sink.__name__ == "RabbitmqSink":
            from inotify_bridge.sinks.rabbitmq_flight import Flight

            fuse.before(Flight, "confirm")
        elif sink.__name__ == "KafkaSink":
            from inotify_bridge.sinks.kafka_python import PythonClient

            fuse.before(PythonClient, "_answers")
        else:
            raise AttributeError(f"no place between send and confirm is known of {sink.__name__}")

    _sinks(change)


def _reloading(arm: Callable[[Fuse], None]) -> Callable[[Fuse], None]:
    """Arm only when a reload begins."""

    def armed(fuse: Fuse) -> None:
        def wrapper(reload: Callable[..., None]) -> Callable[..., None]:
            def wrapped(*args: Any) -> None:
                arm(fuse)
                reload(*args)

            return wrapped

        replace(Agent, "reload", wrapper)

    return armed


POINTS = (
    # From the kernel to the journal
    Point("read", lambda fuse: fuse.after(Inotify, "read", lambda data, _: data), 60),
    Point("fed", lambda fuse: fuse.after(Reconciler, "feed"), 60),
    Point("before commit", lambda fuse: fuse.before(Store, "commit", _has_records), 60),
    Point("index written, journal not", lambda fuse: fuse.after(IndexTable, "write"), 60),
    Point("journal written, not committed", lambda fuse: fuse.after(Journal, "append"), 60),
    Point("a statement", lambda fuse: fuse.statement("INSERT", "UPDATE", "DELETE", "BEGIN", "COMMIT"), 400),
    Point("while committing", lambda fuse: fuse.inside(Store, "commit", _has_records), 60),
    Point("committed", lambda fuse: fuse.after(Store, "commit", _had_records), 60),
    # From the journal to the broker
    Point("before publish", lambda fuse: _publish(fuse, "before"), 30),
    Point("while publishing", lambda fuse: _publish(fuse, "inside"), 30),
    Point("sent, not confirmed", _sent_unconfirmed, 30),
    Point("confirmed, not known", lambda fuse: _publish(fuse, "after"), 30),
    Point("confirmed, not noted", lambda fuse: fuse.before(Recorder, "acknowledge"), 30),
    Point("watermark not written", lambda fuse: fuse.after(Store, "acknowledge"), 20),
    Point("watermark being written", lambda fuse: fuse.statement("INSERT OR REPLACE INTO watermarks"), 20),
    Point("while pruning", lambda fuse: fuse.after(Journal, "prune"), 3),
    Point("pruned", lambda fuse: fuse.after(Store, "prune"), 3),
    # Resyncs
    Point("resync begun", lambda fuse: fuse.after(Store, "commit", _said("resync_started")), 1, "down"),
    Point("while scanning", lambda fuse: fuse.after(Judge, "check"), 3000, "down"),
    Point("a chunk recorded", lambda fuse: fuse.after(Store, "commit", _chunk_of_a_resync), 1, "down"),
    Point("before resync completed", lambda fuse: fuse.before(Store, "commit", _says("resync_completed"))),
    Point("resync completed", lambda fuse: fuse.after(Store, "commit", _said("resync_completed"))),
    # Epochs
    Point("sinks set", lambda fuse: fuse.after(Store, "set_sinks"), 1, "sinks"),
    Point("before mint", lambda fuse: fuse.before(Store, "mint_epoch"), 1, "sinks"),
    Point("floor being written", lambda fuse: fuse.before(os, "fdatasync"), 1, "sinks"),
    Point("floor written", lambda fuse: fuse.after(Note, "write", _had_floor), 1, "sinks"),
    Point("index cleared for an epoch", lambda fuse: fuse.after(IndexTable, "clear"), 1, "sinks"),
    Point("minted, not noted", lambda fuse: fuse.before(Note, "write", _first_note), 1, "sinks"),
    Point("minted", lambda fuse: fuse.after(Store, "mint_epoch"), 1, "sinks"),
    Point("before started", lambda fuse: fuse.before(Store, "commit", _says("started")), 1, "sinks"),
    Point("started", lambda fuse: fuse.after(Store, "commit", _said("started")), 1, "sinks"),
    Point("before a wanted epoch", lambda fuse: fuse.before(Store, "mint_epoch"), 1, "snapshot"),
    Point("a wanted epoch minted", lambda fuse: fuse.after(Store, "mint_epoch"), 1, "snapshot"),
    Point("a wanted epoch begun", lambda fuse: fuse.after(Store, "commit", _began_an_epoch), 1, "snapshot"),
    Point("note being written", lambda fuse: fuse.before(os, "fdatasync"), 4),
    # The database itself
    Point("before migration", lambda fuse: fuse.traced("CREATE TABLE"), 1, "older"),
    Point("while migrating", lambda fuse: fuse.traced("UPDATE meta SET value"), 1, "older"),
    Point("migrated", lambda fuse: fuse.after(store, "open_writer"), 1, "older"),
    Point("before set aside", lambda fuse: fuse.before(store, "set_aside"), 1, "damaged"),
    Point("being set aside", lambda fuse: fuse.after(os, "rename"), 1, "damaged"),
    Point("set aside", lambda fuse: fuse.after(store, "set_aside"), 1, "damaged"),
    # Parking, and what operators ask for
    Point("before park", lambda fuse: fuse.before(Store, "park"), 3, "park"),
    Point("while parking", lambda fuse: fuse.statement("INSERT INTO parked", after=True), 3, "park"),
    Point("parked", lambda fuse: fuse.after(Store, "park"), 3, "park"),
    Point("told again, not settled", lambda fuse: fuse.before(Store, "settle_parked"), 1, "retry"),
    Point("settled", lambda fuse: fuse.after(Store, "settle_parked"), 1, "retry"),
    Point("rewound", lambda fuse: fuse.after(Store, "rewind"), 1, "replay"),
    # The end
    Point("reading stopped", lambda fuse: fuse.after(Group, "stop_reading"), 1, "stop"),
    Point("before stopped", lambda fuse: fuse.before(Store, "commit", _says("stopped")), 1, "stop"),
    Point("stopped", lambda fuse: fuse.after(Store, "commit", _said("stopped")), 1, "stop"),
    Point("before the last note", lambda fuse: fuse.before(Note, "write", _last_note), 1, "stop"),
    Point("last note written", lambda fuse: fuse.after(Note, "write", _had_last_note), 1, "stop"),
    Point("books not closed", lambda fuse: fuse.before(Recorder, "close_books"), 1, "stop"),
    Point("before close", lambda fuse: fuse.before(Store, "close"), 1, "stop"),
    Point("store closed", lambda fuse: fuse.before(DirectoryLock, "close"), 1, "stop"),
    # Reloads
    Point("reload begun", lambda fuse: fuse.before(Agent, "reload"), 1, "filters"),
    Point("old threads ended", _reloading(lambda fuse: fuse.before(Recorder, "close_books")), 1, "filters"),
    Point("new threads made", _reloading(lambda fuse: fuse.before(Recorder, "start")), 1, "filters"),
    Point("reloaded", lambda fuse: fuse.after(Agent, "reload"), 1, "filters"),
)

BY_NAME = {point.name: point for point in POINTS}
