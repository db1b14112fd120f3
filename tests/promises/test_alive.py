"""The product at its simplest: what also a mutant must be able to do, or its death shows nothing."""

from __future__ import annotations

from tests.agent.embedded import Embedded
from tests.agent.trees import Trees


def test_it_works_at_all(trees: Trees) -> None:
    """It starts, tells of some files, and ends."""
    with Embedded(trees) as embedded:
        names = set(trees.files("file", 3))
        assert embedded.broker.wait(
            lambda messages: sum(one.kind == "file.written" for one in messages) >= len(names),
            30.0,
        )
