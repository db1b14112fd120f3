"""The barrier: when everything that has happened is known to be recorded."""

from __future__ import annotations

from tests.agent.embedded import SECONDS, Embedded
from tests.agent.trees import Trees

ROUNDS = 30


def test_everything_before_it_is_in_the_journal(trees: Trees) -> None:
    """Whatever had returned when a barrier was asked for stands in the journal, not behind its position."""
    told: list[tuple[str, tuple[str, int]]] = []
    with Embedded(trees) as embedded:
        for number in range(ROUNDS):
            name = f"{number}/deep/er/file"
            trees.write(*(f"{number}/{other}" for other in range(20)), name)
            told.append((name, embedded.group.barrier(SECONDS)))
        arrivals = embedded.settled()
    at = {one.path: one.position for one in arrivals.fresh if one.kind == "file.written"}
    for name, position in told:
        assert at[name] <= position, name
    assert len({position for _, position in told}) == ROUNDS
    arrivals.assert_true(trees.root)
