"""The consumer rule."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from inotify_bridge.capture.change import Item, Notice
from inotify_bridge.events.envelope import Encoder
from inotify_bridge.events.parking import parked
from inotify_bridge.subscribe import Decision, Event, Gap, GapDetector, Position, parse
from tests.events.strategies import GROUP, SOURCE, file_change

APPLY, DROP, WAIT, INVALID = Decision.APPLY, Decision.DROP, Decision.WAIT, Decision.INVALID
DEADLINE = 60.0


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _body(epoch: str, sequence: int, source: str) -> bytes:
    item: Item = Notice("started", 0, None, {"new_epoch": True}) if sequence == 1 else file_change()
    return Encoder(source, GROUP, epoch).encode(item, sequence)[2]


def _event(name: str, source: str = SOURCE) -> Event:
    """Event ``a3``: number 3 of epoch a; number 1 is a ``stream.started``."""
    return parse(_body(name[0], int(name[1:]), source))


TABLE = {
    "in order": "a1 apply, a2 apply, a3 apply",
    "repeated": "a1 apply, a2 apply, a2 drop, a1 drop, a3 apply",
    "go-back-N": "a1 apply, a2 apply, a3 apply, a2 drop, a3 drop, a4 apply",
    "early, then again in order": "a1 apply, a3 wait, a2 apply, a3 apply, a4 apply",
    "joined late": "a5 wait, a6 wait",
    "joined late, then sent again": "a5 wait, a1 apply, a2 apply",
    "joined late, lost": "a5 wait, +60, a6 invalid, b1 apply, b2 apply",
    "new epoch": "a1 apply, a2 apply, b1 apply, a3 drop, b2 apply",
    "new epoch only from its start": "a1 apply, b2 wait, a2 apply, b1 apply, b2 apply",
    "lower epoch": "b1 apply, a1 drop, a7 drop, b2 apply",
    "hole filled in time": "a1 apply, a3 wait, +59, a2 apply, a3 apply",
    "hole not filled in time": "a1 apply, a3 wait, +60, a2 invalid, a3 invalid, a4 invalid, a1 drop",
    "invalid until the next epoch": "a1 apply, a3 wait, +60, a2 invalid, b5 invalid, b1 apply, b2 apply",
    "progress starts the deadline anew": "a1 apply, a4 wait, +40, a2 apply, +40, a3 apply, +40, a4 apply",
    "no progress does not": "a1 apply, a4 wait, +40, a5 wait, a1 drop, +40, a2 invalid",
    "hole inside the repetition": "a1 apply, a3 wait, a4 wait, a2 apply, +60, a3 invalid",
    "next epoch lost too": "a1 apply, b3 wait, +60, a2 invalid, b4 invalid, b1 apply, b2 apply, b3 apply",
    "time alone harms nothing": "a1 apply, +600, a2 apply, +600, b1 apply, +600, b2 apply",
}


@pytest.mark.parametrize("script", TABLE.values(), ids=TABLE.keys())
def test_rule(script: str) -> None:
    """The rule, by example: each event gets the decision beside it; +n lets n seconds pass."""
    clock = Clock()
    detector = GapDetector(DEADLINE, clock)
    for step in script.split(", "):
        name, _, decision = step.partition(" ")
        if name.startswith("+"):
            clock.now += float(name)
        else:
            assert detector.offer(_event(name)) is Decision(decision), step


def test_sources_are_apart() -> None:
    """Numbers, epochs and losses of one source say nothing about another."""
    clock = Clock()
    detector = GapDetector(DEADLINE, clock)
    assert detector.offer(_event("b1", "x")) is APPLY
    assert detector.offer(_event("a1", "y")) is APPLY
    assert detector.offer(_event("b3", "x")) is WAIT
    clock.now += DEADLINE
    assert detector.invalid() == {"x"}
    assert detector.offer(_event("a2", "y")) is APPLY
    assert detector.positions() == {"x": Position("b", 1), "y": Position("a", 2)}


def test_silence_after_a_hole() -> None:
    """A hole after which nothing more comes is noticed by asking."""
    clock = Clock()
    detector = GapDetector(DEADLINE, clock)
    detector.offer(_event("a1"))
    detector.offer(_event("a3"))
    assert detector.invalid() == frozenset()
    clock.now += DEADLINE
    assert detector.invalid() == {SOURCE}
    assert detector.offer(_event("b1")) is APPLY
    assert detector.invalid() == frozenset()


def test_the_end_of_the_input() -> None:
    """Where nothing more is to come an open hole is a loss at once, and it says between which events."""
    detector = GapDetector(DEADLINE, Clock())
    for name, source in (("a1", "x"), ("a3", "x"), ("a5", "x"), ("a1", "y"), ("a2", "y"), ("a4", "z")):
        detector.offer(_event(name, source))
    assert detector.invalid() == frozenset()
    assert detector.finish() == {"x", "z"}
    assert detector.gaps() == {
        "x": Gap(Position("a", 1), Position("a", 5)),
        "z": Gap(Position(), Position("a", 4)),
    }
    assert detector.offer(_event("b1", "x")) is APPLY
    assert detector.finish() == {"z"}


def test_a_hole_that_was_filled_is_none_at_the_end() -> None:
    """What came early and then again in order leaves nothing to report."""
    detector = GapDetector(DEADLINE, Clock())
    for name in ("a1", "a3", "a2", "a3"):
        detector.offer(_event(name))
    assert detector.finish() == frozenset()
    assert detector.gaps() == {}


def test_wrong_replica() -> None:
    """A source whose replica was found wrong is invalid until its next epoch."""
    detector = GapDetector(DEADLINE, Clock())
    detector.offer(_event("a1"))
    detector.invalidate(SOURCE)
    assert detector.invalid() == {SOURCE}
    assert [detector.offer(_event(name)) for name in ("a2", "a1", "b1", "b2")] == [
        INVALID,
        DROP,
        APPLY,
        APPLY,
    ]


def test_position_survives() -> None:
    """A detector that is given the positions of another goes on where that one stood."""
    before = GapDetector(DEADLINE, Clock())
    before.offer(_event("a1"))
    before.offer(_event("a2"))
    after = GapDetector(DEADLINE, Clock(), before.positions())
    assert [after.offer(_event(name)) for name in ("a1", "a2", "a4", "a3")] == [DROP, DROP, WAIT, APPLY]


def test_parked_start() -> None:
    """An epoch whose first message had to be parked begins all the same."""
    event = parse(parked(_body("a", 1, SOURCE), "lake", "too large"))
    assert event.kind == "stream.event_parked"
    assert GapDetector(DEADLINE, Clock()).offer(event) is APPLY


def test_probe() -> None:
    """A probe of `test-sink` is dropped, also after an earlier one, and its source is not followed."""
    detector = GapDetector(DEADLINE, clock := Clock())
    for epoch in ("a", "b"):
        body = Encoder(f"{SOURCE}#probe", GROUP, epoch).encode(Notice("probe", 0, data={"version": "1"}), 1)[
            2
        ]
        assert detector.offer(parse(body)) is DROP
        assert detector.offer(parse(parked(body, "lake", "too large"))) is DROP
    clock.now += DEADLINE
    assert detector.invalid() == frozenset()
    assert detector.positions() == {}


def test_restart_of_the_sender_is_no_new_epoch() -> None:
    """A stream.started in the middle of an unknown epoch does not begin it: what was before it is missing."""
    assert GapDetector(DEADLINE, Clock()).offer(replace(_event("a1"), sequence=800)) is WAIT


def test_epoch_begins_with_started() -> None:
    """Number 1 of a higher epoch that is no stream.started does not begin it."""
    assert GapDetector(DEADLINE, Clock()).offer(replace(_event("a2"), sequence=1)) is WAIT


def test_random_repetition() -> None:
    """However often a sender goes back and repeats, every event is applied once, and in order."""
    for seed in range(200):
        random_ = random.Random(seed)
        detector, applied = GapDetector(DEADLINE, Clock()), []
        first, repeats = 1, 0
        while first <= 30:
            last = min(30, first + random_.randrange(8))
            early = [n for n in range(first, last + 1) if random_.random() < 0.8]
            for number in itertools.chain(early, range(first, last + 1)):
                repeats += number in applied
                if detector.offer(_EVENTS[number]) is APPLY:
                    applied.append(number)
            first = max(1, last - random_.randrange(4)) if random_.random() < 0.6 else last + 1
        assert applied == list(range(1, 31))
        assert repeats > 0


_EVENTS = {number: _event(f"a{number}") for number in range(1, 31)}
