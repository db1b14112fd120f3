"""Requests that wait: whoever went away waits no more, and nobody waits where nothing can come."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from inotify_bridge import desk
from inotify_bridge.config import Config
from inotify_bridge.errors import StoreError, UnavailableError
from inotify_bridge.group import Group
from inotify_bridge.web.app import WAITING
from inotify_bridge.web.signals import NotThere
from tests.agent.embedded import Embedded
from tests.agent.trees import Trees
from tests.operator.asking import TOKEN
from tests.waiting import eventually


def asked(embedded: Embedded, timeout: str) -> http.client.HTTPConnection:
    """A barrier that was asked for."""
    assert embedded.agent.web is not None
    connection = http.client.HTTPConnection(embedded.agent.web.url.removeprefix("http://"), timeout=60)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    connection.request("POST", f"/-/barrier?group=g&timeout={timeout}", headers=headers)
    return connection


def hold(until: threading.Event) -> None:
    """Keep the recorder from all else."""
    assert until.wait(120.0)


def refusal(embedded: Embedded) -> str:
    """Why a barrier is refused."""
    with contextlib.closing(asked(embedded, "10ms")) as connection:
        answer = connection.getresponse()
        assert answer.status == 503
        return str(json.loads(answer.read())["error"])


def test_barriers_of_clients_that_went_away(trees: Trees) -> None:
    """While no barrier passes, as many as may wait leave their places when their clients go."""
    full, held = f"{WAITING} requests wait already", threading.Event()
    with Embedded(trees, http={"listen": "127.0.0.1:0", "admin_token": TOKEN}) as embedded:
        try:
            embedded.group.recorder._inbox.call(partial(hold, held))
            with contextlib.ExitStack() as clients:
                for _ in range(WAITING):
                    clients.enter_context(contextlib.closing(asked(embedded, "10m")))
                eventually(lambda: refusal(embedded) == full, what="all places are taken")
            eventually(lambda: "did not pass" in refusal(embedded), what="there are places again")
        finally:
            held.set()
        with contextlib.closing(asked(embedded, "1m")) as connection:
            assert connection.getresponse().status == 200


def test_a_recorder_that_waits_for_a_disk(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of a recorder that tries to commit is refused with the reason why it cannot."""
    monkeypatch.setattr(desk, "ANSWER_SECONDS", 0.2)
    with Embedded(trees) as embedded:
        store, mended = embedded.group.store, threading.Event()
        commit = store.commit

        def full(*batch: Any) -> None:
            if not mended.is_set():
                raise StoreError("database or disk is full", "free space", "full")
            commit(*batch)

        monkeypatch.setattr(store, "commit", full)
        try:
            trees.files("file", 3)
            eventually(lambda: embedded.group.recorder.books.trouble, what="a commit fails")
            asked: list[Callable[[], object]] = [
                lambda: embedded.group.replay(1, None),
                lambda: embedded.group.barrier(0.2),
            ]
            for ask in asked:
                with pytest.raises(UnavailableError, match=r"nothing is recorded until .*disk is full"):
                    ask()
        finally:
            mended.set()
        embedded.group.barrier(30.0)


def test_a_group_that_has_not_begun(trees: Trees) -> None:
    """It can be named, and what is asked of it cannot be done now; another name is none."""
    signals = Embedded(trees).agent.signals
    assert signals.groups() == ["g"]
    with pytest.raises(UnavailableError, match="group g does not run yet"):
        signals.resync("g", None)
    with pytest.raises(NotThere, match="no watch group 'h'"):
        signals.resync("h", None)


def test_a_stop_during_a_reload(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop that comes while a reload waits for sinks that take nothing ends the wait, for all groups."""
    monkeypatch.setattr(Group._end_relays, "__defaults__", (3600.0,))
    embedded = Embedded(trees)
    whole: dict[str, Any] = embedded.whole
    roots = [trees.root / name for name in ("one", "two")]
    for root in roots:
        root.mkdir()
    whole["watch_groups"] = [
        {"name": name, "paths": [os.fspath(root)], "sinks": ["memory"]}
        for name, root in zip(("g", "h"), roots, strict=True)
    ]
    embedded = Embedded(trees, watch_groups=whole["watch_groups"], sinks=whole["sinks"])
    embedded.broker = embedded.broker.named(whole["sinks"][0]["broker"])
    with embedded:
        embedded.broker.stop()
        (roots[0] / "file").touch()
        embedded.group.barrier(30.0)
        changed = [{**whole["sinks"][0], "max_message_bytes": "1MiB"}]
        config = Config.model_validate({**embedded.whole, "sinks": changed})
        reload = threading.Thread(target=embedded.agent.reload, args=(config,))
        reload.start()
        eventually(lambda: embedded.group._relays._ending, what="the reload waits for the broker")
        embedded.agent.hurry()
        reload.join(60.0)
        assert not reload.is_alive()
        embedded.broker.start()  # the end delivers
