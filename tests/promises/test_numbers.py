"""R3, R5, R8: every message has a number of its own, none comes twice, and an epoch says that it begins."""

from __future__ import annotations

import os
from pathlib import Path

from inotify_bridge.outbox.journal import Position
from inotify_bridge.outbox.store import Store
from tests.agent.embedded import GROUP, Embedded
from tests.agent.trees import Trees

HEARTBEATS = 5


def test_numbers_go_on_when_all_was_pruned(tmp_path: Path) -> None:
    """A store whose journal is empty goes on after the last number it gave, also in a new life."""
    path = tmp_path / "group.db"
    for life in range(3):
        store = Store.open(path)
        if not life:
            store.mint_epoch("inotify://test/uploads")
            store.set_sinks(["orders"])
        assert store.last_sequence == 2 * life
        store.commit([b"one", b"two"], {})
        assert store.end == Position(store.epoch, 2 * life + 2)
        store.acknowledge("orders", store.end)
        while store.prune():
            pass
        assert store.live_bytes == 0, "nothing is left to count by"
        store.close()


def test_heartbeats_have_numbers_of_their_own(trees: Trees) -> None:
    """Between the events of files a heartbeat is a message like any other: dense, and with its own id."""
    group = {"name": GROUP, "paths": [os.fspath(trees.root)], "sinks": ["memory"], "heartbeat": "100ms"}
    with Embedded(trees, watch_groups=[group]) as embedded:
        for beat in range(1, HEARTBEATS + 1):
            trees.files(f"beat-{beat}", 3)
            assert embedded.broker.wait(
                lambda messages, wanted=beat: (  # type: ignore[misc]
                    sum(one.kind == "stream.heartbeat" for one in messages) >= wanted
                ),
                30.0,
            )
        arrivals = embedded.settled()
    assert arrivals.kinds().count("stream.heartbeat") >= HEARTBEATS
    assert len({one.event["id"] for one in arrivals.all}) == len(arrivals.all)
    arrivals.assert_true(trees.root)


def test_an_epoch_says_that_it_begins(trees: Trees, tmp_path: Path) -> None:
    """The first start of an epoch is told as such, the later ones are not: they go on in it."""
    told: list[tuple[str, int, bool]] = []
    for _ in range(3):
        with Embedded(trees, broker=f"of {tmp_path}", state={"dir": os.fspath(tmp_path)}) as embedded:
            *_, started = (one for one in embedded.settled().all if one.kind == "stream.started")
            told.append((*started.position, started.event["data"]["new_epoch"]))
    assert len({epoch for epoch, _, _ in told}) == 1
    assert [number == 1 for _, number, _ in told] == [new for _, _, new in told] == [True, False, False]
