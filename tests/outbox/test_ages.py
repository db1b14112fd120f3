"""How long messages have waited."""

from __future__ import annotations

from inotify_bridge.outbox.ages import Ages
from inotify_bridge.outbox.journal import Position

BATCHES = 200_000
APART = 0.25


def at(number: int) -> Position:
    """The end of a batch."""
    return Position("e", number)


def test_few_batches_are_all_known() -> None:
    """What is oldest goes with its own batch; nothing is oldest when all is confirmed."""
    ages = Ages()
    for number in range(1, 4):
        ages.add(at(10 * number), float(number))
    found = [ages.oldest()]
    for number in (9, 10, 29, 30):
        ages.confirm(at(number))
        found.append(ages.oldest())
    assert found == [1.0, 1.0, 2.0, 3.0, None]
    assert not ages


def test_many_batches_take_few_marks() -> None:
    """Half a day of batches takes a few thousand marks, and each age is known to a hundredth."""
    ages = Ages()
    for number in range(1, BATCHES + 1):
        ages.add(at(number), number * APART)
    assert len(ages) < BATCHES / 20
    now = BATCHES * APART
    for confirmed in range(0, BATCHES, 1000):
        ages.confirm(at(confirmed))
        oldest = ages.oldest()
        assert oldest is not None
        age = now - (confirmed + 1) * APART
        assert age <= now - oldest <= age + now / 100


def test_a_clock_that_is_set_back() -> None:
    """Batches of an earlier time than those before them are kept and go in their turn."""
    ages = Ages()
    ages.add(at(1), 1000.0)
    ages.add(at(2), 10.0)
    ages.confirm(at(1))
    assert ages.oldest() == 10.0
    ages.confirm(at(2))
    assert ages.oldest() is None
