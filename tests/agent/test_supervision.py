"""Threads of the agent that die."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inotify_bridge.group import RESTARTS
from tests.agent.embedded import Embedded
from tests.agent.trees import Trees
from tests.waiting import eventually


class Poisoned(Exception):
    """What kills a thread in these tests."""


def kill_recorder(embedded: Embedded) -> None:
    """Have the recorder call what raises."""

    def poison() -> None:
        raise Poisoned

    embedded.group.recorder._inbox.call(poison)


def kill_notifier(embedded: Embedded) -> None:
    """Have the notifier's next read raise."""

    def poison() -> bytes:
        raise Poisoned

    threads = embedded.group._threads
    assert threads is not None
    threads.inotify.read = poison  # type: ignore[method-assign]


@pytest.mark.parametrize("kill", [kill_recorder, kill_notifier])
def test_dead_thread_is_replaced(kill: Callable[[Embedded], None], trees: Trees) -> None:
    """A thread that dies takes its group through a restart and a resync ``internal``; the stream goes on."""
    with Embedded(trees) as embedded:
        trees.files("before", 20)
        epoch = embedded.settled().all[-1].position[0]
        kill(embedded)
        trees.files("meanwhile", 20)
        eventually(lambda: embedded.metric("group_restarts_total") == 1, what="the restart")
        eventually(lambda: embedded.metric("consistent") == 1, what="the resync")
        trees.files("after", 20)
        arrivals = embedded.settled()
        assert embedded.get("/livez")[0] == embedded.get("/readyz")[0] == 200
    reasons = [one.event["data"]["reason"] for one in arrivals.all if one.kind == "stream.resync_completed"]
    assert reasons == ["start", "internal"]
    assert {one.position[0] for one in arrivals.all} == {epoch}
    assert arrivals.repeats == 0
    arrivals.assert_true(trees.root, digests=2)


def test_group_that_dies_again_and_again_fails_livez(trees: Trees) -> None:
    """After three restarts the group is given up, and ``/livez`` says 503 with the reason."""
    with Embedded(trees) as embedded:
        for number in range(1, RESTARTS + 1):
            kill_recorder(embedded)
            eventually(
                lambda number=number: embedded.metric("group_restarts_total") == number,  # type: ignore[misc]
                what=f"restart {number}",
            )
            eventually(lambda: embedded.get("/livez")[0] == 200 and embedded.group.recorder.alive)
        kill_recorder(embedded)
        eventually(lambda: embedded.get("/livez")[0] == 503, what="/livez fails")
        assert "restarts" in embedded.get("/livez")[1]
        assert embedded.metric("group_restarts_total") == RESTARTS
        eventually(lambda: embedded.metric("recorder_up") == 0, what="the last recorder has ended")
