"""A batch under way to RabbitMQ: window, verdicts, what is held back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from inotify_bridge.sinks.base import ACCEPTED, Outcome, Verdict
from inotify_bridge.sinks.rabbitmq_flight import Flight
from tests.sinks.messages import EPOCH, messages

NACKED = Outcome(Verdict.RETRY, "nacked")
UNROUTABLE = Outcome(Verdict.RETRY, "unroutable")
TOO_LARGE = Outcome(Verdict.REJECTED, "too_large")
BATCH = messages(60)


def send_due(flight: Flight) -> list[int]:
    """Send what is due; the sequences."""
    due = [one.sequence for one in flight.due()]
    for _ in due:
        flight.sending()
    return due


def verdicts(flight: Flight) -> str:
    """One letter a message: A, R (retry) or X (rejected)."""
    letters = {Verdict.ACCEPTED: "A", Verdict.RETRY: "R", Verdict.REJECTED: "X"}
    return "".join(letters[one.verdict] for one in flight.outcomes())


def message_id(sequence: int) -> bytes:
    """The id of a test message."""
    return f"{EPOCH}-{sequence:012d}".encode()


def test_multiple_confirms_everything_up_to_it() -> None:
    """A confirm of several settles every unsettled message up to its tag, and none behind."""
    flight = Flight(BATCH[:5], window=5, first_tag=101)
    send_due(flight)
    flight.confirm(102, False, NACKED)
    flight.confirm(104, True)
    assert flight.unconfirmed == 1
    flight.confirm(105, False)
    assert flight.finished
    assert verdicts(flight) == "ARAAA"


def test_returned_stays_returned() -> None:
    """The acceptance that follows the return of a message does not make it accepted."""
    flight = Flight(BATCH[:3], window=3, first_tag=1)
    send_due(flight)
    flight.give_back(message_id(2), UNROUTABLE)
    flight.confirm(2, False)
    assert flight.unconfirmed == 2
    flight.confirm(3, True)
    assert flight.finished
    assert verdicts(flight) == "ARA"


def test_tags_of_an_earlier_batch_are_ignored() -> None:
    """A confirm that comes after its batch was answered changes nothing."""
    flight = Flight(BATCH[:3], window=3, first_tag=50)
    send_due(flight)
    for tag, multiple in ((49, False), (49, True), (1, False)):
        flight.confirm(tag, multiple)
    assert flight.unconfirmed == 3


def test_nothing_is_sent_behind_a_refusal() -> None:
    """After a nack what is under way is waited for, and the rest is held back to be sent again."""
    flight = Flight(BATCH[:10], window=3, first_tag=1)
    send_due(flight)
    flight.confirm(1, False, NACKED)
    assert send_due(flight) == []
    assert not flight.finished
    flight.confirm(3, True)
    assert flight.finished
    assert verdicts(flight) == "RAARRRRRRR"
    assert {one.reason for one in flight.outcomes()[3:]} == {"nacked"}


def test_rejected_before_it_was_sent() -> None:
    """A message that cannot be sent ends the batch there, once what is before it is confirmed."""
    flight = Flight(BATCH[:5], window=5, first_tag=1)
    flight.due()
    flight.sending()
    flight.reject(TOO_LARGE)
    assert not flight.finished
    flight.confirm(1, False)
    assert flight.finished
    assert verdicts(flight) == "AXRRR"


def test_abandoned_messages_are_judged_one_by_one() -> None:
    """When the channel closes, confirmed messages stay accepted and each other one gets its own verdict."""
    flight = Flight(BATCH[:5], window=4, first_tag=1)
    send_due(flight)
    flight.confirm(1, False)
    flight.abandon(lambda message: TOO_LARGE if message.sequence == 3 else NACKED)
    assert flight.finished
    assert verdicts(flight) == "ARXRR"


@settings(max_examples=200, deadline=None)
@given(
    count=st.integers(1, 60),
    window=st.integers(1, 70),
    choices=st.lists(st.tuples(st.integers(0, 69), st.booleans(), st.integers(0, 9)), max_size=200),
)
def test_window_order_and_verdicts_hold(
    count: int, window: int, choices: list[tuple[int, bool, int]]
) -> None:
    """
    Whatever the broker confirms in whatever order: messages go out once, in order, never more than the window
    unconfirmed; every message has the verdict that the broker gave it, and the batch ends.
    """
    flight = Flight(BATCH[:count], window, first_tag=7)
    sent = send_due(flight)
    told: dict[int, Outcome] = {}
    for offset, multiple, kind in [*choices, *[(0, False, 5)] * count]:
        open_tags = [7 + place for place in range(len(sent)) if place not in told]
        if not open_tags:
            break
        tag = open_tags[offset % len(open_tags)]
        outcome = NACKED if kind == 0 else ACCEPTED
        flight.confirm(tag, multiple, outcome)
        for one in [each for each in open_tags if each <= tag] if multiple else [tag]:
            told[one - 7] = outcome
        sent += send_due(flight)
        assert flight.unconfirmed == len(sent) - len(told) <= window
    assert sent == list(range(1, len(sent) + 1))
    assert flight.finished
    refused = any(one is NACKED for one in told.values())
    assert len(sent) == count or refused
    expected = [told.get(place, NACKED).verdict for place in range(count)]
    assert [one.verdict for one in flight.outcomes()] == expected
