"""R4 and R15: nothing is published before it is committed, and a commit that fails loses nothing."""

from __future__ import annotations

from tests.agent.embedded import Embedded
from tests.agent.trees import Trees
from tests.waiting import eventually

NO_LIMIT = 1_073_741_823
TRIED_AGAIN_SECONDS = 2.0
FILES = 500

_STATUS = "/api/v1/status"
_FULL = "database or disk is full"


def _pages(embedded: Embedded, most: int) -> None:
    """Let the database file have so many pages, or as many as it has: SQLite calls that a full disk."""
    embedded.group.store._connection.execute(f"PRAGMA max_page_count = {most}").fetchone()


def test_nothing_is_published_while_commits_fail(trees: Trees) -> None:
    """On a full disk the stream stands still, says so in the status, and then goes on without a loss."""
    # What was delivered is kept: its pages would be room.
    with Embedded(trees, state={"retain": "1h"}) as embedded:
        trees.files("before", 10)
        before = embedded.settled().all[-1].position
        _pages(embedded, 1)
        trees.files("meanwhile", FILES)
        eventually(lambda: _FULL in embedded.get(_STATUS)[1], what="a commit that fails")
        store = embedded.group.store
        came = embedded.broker.wait(
            lambda messages: messages[-1].sequence > store.last_sequence, TRIED_AGAIN_SECONDS
        )
        assert not came, "more was published than was committed"
        _pages(embedded, NO_LIMIT)
        eventually(lambda: _FULL not in embedded.get(_STATUS)[1], what="a commit that succeeds")
        trees.files("after", 10)
        arrivals = embedded.settled()
    assert {one.position[0] for one in arrivals.all} == {before[0]}
    assert arrivals.repeats == 0
    arrivals.assert_true(trees.root)
