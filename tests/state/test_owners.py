"""Changes of a running group that fail half-way: somebody goes on with it."""

from __future__ import annotations

import copy
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inotify_bridge import group as group_module
from inotify_bridge import threads as threads_module
from inotify_bridge.agent import Agent
from inotify_bridge.config import Config
from inotify_bridge.errors import StoreError, UnavailableError
from inotify_bridge.recorder import Recorder
from inotify_bridge.sinks.memory import MemoryBroker
from inotify_bridge.threads import build_threads
from inotify_bridge.wiring import instance
from tests.agent.embedded import GROUP, Embedded
from tests.agent.trees import Trees
from tests.waiting import eventually


class Failing:
    """Calls the original, but raises while it is told to; counts that."""

    def __init__(self, original: Callable[..., Any], error: Exception) -> None:
        self.failing, self.failed = True, 0
        self._original, self._error = original, error

    def __call__(self, *args: Any, **more: Any) -> Any:
        if self.failing:
            self.failed += 1
            raise self._error
        return self._original(*args, **more)


def runs(embedded: Embedded) -> bool:
    """Whether the group is well."""
    group = embedded.group
    return group.recorder.alive and group.trouble is None and embedded.get("/livez")[0] == 200


@pytest.fixture
def no_instance(monkeypatch: pytest.MonkeyPatch) -> Failing:
    """No inotify instance is to be had, once it is put in place."""
    return Failing(instance, UnavailableError("no inotify instance is left"))


def test_books_that_cannot_be_closed(trees: Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the books cannot be closed for another epoch, the caller hears it and the group goes on."""

    def close_books(recorder: Recorder) -> None:
        failing()
        original(recorder)

    original, error = Recorder.close_books, StoreError("fsync failed", "", "fsync")
    failing = Failing(lambda: None, error)
    with Embedded(trees, state={"dir": os.fspath(tmp_path / "state")}) as embedded:
        monkeypatch.setattr(Recorder, "close_books", close_books)
        with pytest.raises(StoreError, match="fsync failed"):
            embedded.group.new_epoch(10.0)
        failing.failing = False
        assert failing.failed == 1
        assert not embedded.group.stopping
        eventually(lambda: runs(embedded), what="the restart")
        trees.files("after", 10)
        embedded.settled().assert_true(trees.root)


def test_no_instance_for_the_next_threads(
    trees: Trees, no_instance: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that cannot be begun anew show in /livez and in the status, and are begun when they can be."""
    monkeypatch.setattr("inotify_bridge.agent._RETRY", 0.2)
    with Embedded(trees) as embedded:
        trees.files("before", 10)
        embedded.settled()
        monkeypatch.setattr(threads_module, "instance", no_instance)
        with pytest.raises(UnavailableError, match="no inotify instance"):
            embedded.group.new_epoch(10.0)
        assert embedded.get("/livez")[0] == 503
        (shown,) = embedded.agent.view.status()["groups"]
        assert any("no inotify instance" in problem for problem in shown["problems"])
        no_instance.failing = False
        eventually(lambda: runs(embedded), what="the restart")
        trees.files("after", 10)
        arrivals = embedded.settled()
    assert {one.event["data"]["reason"] for one in arrivals.all if one.kind == "stream.resync_completed"} == {
        "start",
        "requested",
    }
    arrivals.assert_true(trees.root)


def test_a_sink_added_by_a_reload_that_failed(
    trees: Trees, no_instance: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink that a reload adds gets everything, though the group could only go on later."""
    with Embedded(trees) as embedded:
        trees.files("before", 10)
        embedded.settled()
        whole = copy.deepcopy(embedded.whole)
        whole["sinks"].append({"name": "second", "type": "memory", "broker": f"{id(embedded)}"})
        whole["watch_groups"][0]["sinks"].append("second")
        monkeypatch.setattr(threads_module, "instance", no_instance)
        embedded.agent.reload(Config.model_validate(whole))
        assert no_instance.failed
        no_instance.failing = False
        eventually(lambda: runs(embedded), what="the restart")
        end = embedded.group.barrier(30.0)
        second = MemoryBroker.named(f"{id(embedded)}")
        assert second.wait(lambda messages: bool(messages) and messages[-1].sequence >= end.sequence, 30.0)


def test_relays_read_the_store_that_was_opened(trees: Trees, tmp_path: Path) -> None:
    """Where the store was set aside at a restart for I/O errors, relays carry what the new one holds."""
    state = tmp_path / "state"
    with Embedded(trees, state={"dir": os.fspath(state)}) as embedded:
        trees.files("before", 10)
        embedded.settled()
        old = embedded.group.store.epoch
        relay = embedded.group.relays["memory"]
        path = state / f"{GROUP}.db"
        close = embedded.group.store.close

        def close_and_damage() -> None:
            close()
            path.write_bytes(b"no database" * 4096)

        embedded.group.store.close = close_and_damage  # type: ignore[method-assign]
        embedded.group.recorder.fail(StoreError("the disk is bad", "", "fsync"))
        eventually(lambda: embedded.group.store.epoch > old, what="another database")
        eventually(lambda: runs(embedded), what="the restart")
        trees.files("after", 10)
        embedded.settled()
        assert embedded.group.relays["memory"] is not relay


def test_damage_that_the_index_shows_at_a_restart(
    trees: Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage that is found while the index is loaded for a restart sets the database aside, as at a start."""
    state = tmp_path / "state"
    with Embedded(trees, state={"dir": os.fspath(state)}) as embedded:
        trees.files("before", 10)
        embedded.settled()
        old = embedded.group.store.epoch
        built = Failing(build_threads, StoreError("the index is damaged", "", "corrupt"))

        def build_once(*args: Any) -> Any:
            try:
                return built(*args)
            finally:
                built.failing = False

        monkeypatch.setattr(group_module, "build_threads", build_once)
        embedded.group.recorder.fail(StoreError("input/output error", "", "fsync"))
        eventually(lambda: embedded.group.store.epoch > old, what="another database")
        assert built.failed == 1
        eventually(lambda: runs(embedded), what="the restart")
        trees.files("after", 10)
        embedded.settled()


def test_stop_does_not_wait_for_another_epoch(trees: Trees) -> None:
    """A new epoch that waits for room in a full journal gives way to a stop."""
    embedded = Embedded(trees, state={"max_bytes": "1MiB"})
    refused: list[BaseException] = []

    def ask() -> None:
        try:
            group.new_epoch(600.0)
        except UnavailableError as error:
            refused.append(error)

    with embedded:
        group = embedded.group
        embedded.settled()
        embedded.broker.freeze()
        trees.files("many", 4000)
        eventually(lambda: group.recorder.books.blocked, what="a full journal", within=60.0)
        trees.files("more", 200)
        asking = threading.Thread(target=ask)
        asking.start()
        eventually(lambda: group._at_rest and not group._present_threads().notifier.alive)
        embedded.agent.stop(3.0)
        asking.join(60.0)
        assert not asking.is_alive()
        assert refused


def test_port_in_use_gives_back_the_lock(trees: Trees, tmp_path: Path) -> None:
    """An agent that does not get its port leaves the state directory to the next one."""
    state = {"dir": os.fspath(tmp_path / "state")}
    with Embedded(trees) as first:
        assert first.agent.web is not None
        http = {"listen": first.agent.web.url.removeprefix("http://")}
        second = Agent(Config.model_validate({**first.whole, "state": state, "http": http}))
        with pytest.raises(UnavailableError):
            second.start()
        with Embedded(trees, state=state) as third:
            third.settled()


def test_stop_after_the_directory_was_taken_over(trees: Trees, tmp_path: Path) -> None:
    """A stop closes the instance and the database also where the books can be written no more."""
    state = tmp_path / "state"
    with Embedded(trees, state={"dir": os.fspath(state)}) as embedded:
        trees.files("before", 10)
        embedded.settled()
        group = embedded.group
        (state / f"{GROUP}.db").rename(state / "other")
        (state / f"{GROUP}.db").touch()
        eventually(lambda: group.taken_over is not None, what="it is noticed")
        # what a sink confirms after the end would have to be written
        group.recorder.acknowledge("memory", group.store.end)
    assert group._present_threads().inotify.fd == -1
    with pytest.raises(sqlite3.ProgrammingError):
        group.store._connection.execute("SELECT 1")
