"""What the status says is wrong, before it has become a failure."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from inotify_bridge import findings
from tests.agent.embedded import SECONDS, Embedded
from tests.agent.trees import Trees
from tests.waiting import eventually


def problems(embedded: Embedded) -> str:
    """All of them."""
    found = json.loads(embedded.get("/api/v1/status")[1])
    return "\n".join(found["groups"][0]["problems"])


def told(embedded: Embedded, words: str) -> str:
    """
    All of them, as soon as one says this. There may be others: what is slow for a moment is told of too.
    """

    def said() -> str:
        found = problems(embedded)
        return found if words in found else ""

    return eventually(said, what=words)


def test_a_broker_that_freezes(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    """That messages wait for their confirmation is told long before it counts as a failure."""
    monkeypatch.setattr(findings, "SILENT_SECONDS", 0.2)
    with Embedded(trees) as embedded:
        embedded.settled()
        eventually(lambda: problems(embedded) == "", what="nothing is wrong")
        embedded.broker.freeze()
        trees.files("late", 20)
        embedded.group.barrier(SECONDS)
        said = told(embedded, "messages were sent and are not confirmed for")
        assert "sink memory: " in said
        assert embedded.group.relays["memory"].status.error == ""
        embedded.broker.thaw()
        embedded.settled()
        eventually(lambda: problems(embedded) == "", what="it is over")


def test_a_broker_that_was_frozen_from_the_start(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is a connection that is taken and never answered."""
    monkeypatch.setattr(findings, "SILENT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}"
        with Embedded(
            trees, sinks=[{"name": "memory", "type": "rabbitmq", "url": url}], shutdown_timeout="1s"
        ) as embedded:
            trees.files("late", 20)
            end = embedded.group.barrier(SECONDS).sequence
            said = told(embedded, "sink memory: it does not answer to the connection for")
            assert f"; {end} messages wait" in said
            embedded.agent.abort()


def test_a_step_that_takes_long(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder that hangs within a step, as on a disk that does not answer, is told of."""
    monkeypatch.setattr(findings, "SILENT_SECONDS", 2.0)
    with Embedded(trees) as embedded:
        embedded.settled()
        eventually(lambda: problems(embedded) == "", what="nothing is wrong")
        answers = threading.Event()
        embedded.group.recorder._inbox.call(lambda: (answers.wait(200.0), None)[1])
        told(embedded, "nothing was recorded for ")
        answers.set()
        eventually(lambda: problems(embedded) == "", what="it is over")


def test_a_root_that_nobody_has_looked_at(trees: Trees) -> None:
    """While its group is being restarted a root is not called lost."""
    with Embedded(trees) as embedded:
        embedded.settled()
        group = embedded.group
        group.recorder.reconciler.tree_roots[0].lost = True
        assert "is lost" in problems(embedded)
        group.stop_recording(time.monotonic() + 30.0)
        assert not group.recorder.alive
        assert "is lost" not in problems(embedded)


def test_parked_messages_fill_their_bound(trees: Trees) -> None:
    """Parked messages that come near their bound are told of, with what to do; dropped, it is over."""
    with Embedded(trees, state={"max_bytes": "1MiB"}) as embedded:
        embedded.broker.reject(lambda message: message.kind.startswith("file."))
        trees.files("refused", 400)
        embedded.group.barrier(SECONDS)
        said = told(embedded, "parked messages take ")
        assert "sink memory: " in said
        assert " of 1048576 bytes (state.max_bytes)" in said
        assert "parked drop" in said
        eventually(lambda: embedded.group.lag("memory") == 0)
        embedded.group.drop_parked(None, None)
        eventually(lambda: problems(embedded) == "", what="it is over")
