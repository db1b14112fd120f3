"""Reloads of a running agent: what changes, and what goes on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.fold import Fold
from tests.operator.asking import Answer, ask
from tests.operator.conftest import Operated, jsonl
from tests.operator.test_http import events
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(600)  # each wait has a minute or more, and most tests have several

Change = Callable[[dict[str, Any]], None]


def reload(agent: AgentProcess, change: Change) -> Answer:
    """Change the configuration file, and have it read; the answer comes when that is done."""
    config = json.loads(agent.file.read_text())
    change(config)
    agent.file.write_text(json.dumps(config))
    return ask(agent, "POST", "/-/reload")


def group(**changes: Any) -> Change:
    """Other values in the only group."""

    def change(config: dict[str, Any]) -> None:
        config["watch_groups"][0].update(changes)

    return change


def settled(agent: AgentProcess, *sinks: str, name: str = "g") -> None:
    """Everything that has happened is delivered, and no resync runs."""

    def consistent() -> bool:
        status = agent.group(name)
        return bool(status["consistent"]) and not status["resync"]["running"]

    eventually(consistent, within=60, what="it is consistent")
    for sink in sinks:
        answer = ask(agent, "POST", "/-/barrier", group=name, wait_sink=sink, timeout="60s")
        assert answer.status == 200, answer


def of_epoch(file: Path, epoch: str) -> list[dict[str, Any]]:
    """The events of one epoch, which must be dense from 1 on."""
    found = [event for event in events(file) if event["id"].startswith(epoch)]
    numbers = [int(event["id"].split("-")[1]) for event in found]
    assert numbers == list(range(1, len(numbers) + 1))
    return found


def told(found: list[dict[str, Any]]) -> set[str]:
    """``file.created a`` of each event of a file or directory."""
    named = ((".".join(event["type"].split(".")[-3:-1]), event) for event in found)
    return {f"{kind} {event['subject']}" for kind, event in named if not kind.startswith("stream.")}


@pytest.mark.parametrize("durable", [True, False], ids=["state directory", "in memory"])
def test_a_sink_is_added_and_removed(operated: Operated, trees: Trees, scratch: Path, durable: bool) -> None:
    """
    A new sink begins a new epoch, whose snapshot every sink gets, after all of the old one; a sink that is
    removed loses its watermark, with a word in the log, and the stream goes on; added again it is a new one.
    """
    state = {"dir": os.fspath(scratch / "state")} if durable else {}
    trees.write("a")
    agent = operated(state=state).start()
    settled(agent, "file")
    first = agent.group()["epoch"]

    def add(config: dict[str, Any]) -> None:
        config["sinks"].append(jsonl(scratch, "more"))
        config["watch_groups"][0]["sinks"] = ["file", "more"]

    assert reload(agent, add).status == 200
    second = agent.group()["epoch"]
    assert second > first
    trees.write("b")
    settled(agent, "file", "more")
    assert of_epoch(scratch / "more.jsonl", first) == []
    for name in ("file", "more"):
        found = of_epoch(scratch / f"{name}.jsonl", second)
        assert found[0]["data"]["new_epoch"] is True
        assert told(found) >= {"file.created a", "file.created b"}
    assert told(of_epoch(scratch / "file.jsonl", first)) >= {"file.created a"}

    assert reload(agent, group(sinks=["file"])).status == 200
    assert "the sink is no longer configured: its watermark is dropped" in agent.log
    trees.write("c")
    settled(agent, "file")
    assert [sink["name"] for sink in agent.group()["sinks"]] == ["file"]
    assert agent.group()["epoch"] == second
    assert "file.created c" in told(of_epoch(scratch / "file.jsonl", second))
    assert "file.created c" not in told(events(scratch / "more.jsonl"))

    assert reload(agent, group(sinks=["file", "more"])).status == 200
    settled(agent, "file", "more")
    third = agent.group()["epoch"]
    assert third > second
    assert told(of_epoch(scratch / "more.jsonl", third)) >= {"file.created c"}
    agent.stop()


def test_a_sink_is_renamed(operated: Operated, trees: Trees, scratch: Path) -> None:
    """A sink under another name is a new one: a new epoch with its snapshot."""
    trees.write("a")
    agent = operated(state={"dir": os.fspath(scratch / "state")}).start()
    settled(agent, "file")
    first = agent.group()["epoch"]

    def rename(config: dict[str, Any]) -> None:
        config["sinks"][0]["name"] = "renamed"
        config["watch_groups"][0]["sinks"] = ["renamed"]

    assert reload(agent, rename).status == 200
    settled(agent, "renamed")
    assert agent.group()["epoch"] > first
    assert told(of_epoch(scratch / "file.jsonl", agent.group()["epoch"])) == {
        "file.created a",
        "file.written a",
    }
    agent.stop()


def test_a_sink_goes_elsewhere(operated: Operated, trees: Trees, scratch: Path) -> None:
    """A sink of the same name that goes to another place has to be given all of it; how it gets there not."""
    trees.write("a")
    agent = operated(state={"dir": os.fspath(scratch / "state")}).start()
    settled(agent, "file")
    first = agent.group()["epoch"]

    def move(config: dict[str, Any]) -> None:
        config["sinks"][0]["path"] = os.fspath(scratch / "elsewhere.jsonl")

    assert reload(agent, move).status == 200
    settled(agent, "file")
    assert agent.group()["epoch"] > first
    found = of_epoch(scratch / "elsewhere.jsonl", agent.group()["epoch"])
    assert told(found) == {"file.created a", "file.written a"}
    agent.stop()


@pytest.mark.parametrize("what", ["paths", "as", "source"])
def test_another_stream(operated: Operated, trees: Trees, scratch: Path, what: str) -> None:
    """Other paths, another `as` and another `source` begin a new epoch, about what is there now."""
    trees.write("a")
    (trees.outside / "o").write_text("x")
    agent = operated(state={"dir": os.fspath(scratch / "state")}).start()
    settled(agent, "file")
    first = agent.group()["epoch"]
    changes = {
        "paths": group(paths=[os.fspath(trees.outside)]),
        "as": group(paths=[{"path": os.fspath(trees.root), "as": "named"}]),
        "source": lambda config: config.update(events={"source": "inotify://other/{group}"}),
    }
    assert reload(agent, changes[what]).status == 200
    settled(agent, "file")
    second = agent.group()["epoch"]
    assert second > first
    found = of_epoch(scratch / "file.jsonl", second)
    there = {"paths": "o", "as": "named/a", "source": "a"}[what]
    assert {line for line in told(found) if line.startswith("file.")} == {
        f"file.created {there}",
        f"file.written {there}",
    }
    if what == "source":
        assert {event["source"] for event in found} == {"inotify://other/g"}
    agent.stop()


def test_filters(operated: Operated, trees: Trees, scratch: Path) -> None:
    """Other patterns publish the names that enter or leave, in the same epoch; the replica is the rest."""
    for name in ("a.txt", "b.tmp", "c.txt"):
        trees.write(name)
    agent = operated(group={"exclude": ["*.tmp"]}).start()
    settled(agent, "file")
    epoch = agent.group()["epoch"]
    before = len(events(scratch / "file.jsonl"))
    assert reload(agent, group(exclude=["c.*"])).status == 200
    settled(agent, "file")
    assert agent.group()["epoch"] == epoch
    new = events(scratch / "file.jsonl")[before:]
    assert told(new) == {"file.created b.tmp", "file.written b.tmp", "file.deleted c.txt"}
    assert reload(agent, group(exclude=[], include=["a.*"])).status == 200
    settled(agent, "file")
    fold = Fold()
    for event in of_epoch(scratch / "file.jsonl", epoch):
        fold.event(event)
    assert set(fold.entries()) == {b"a.txt"}
    agent.stop()


def test_kinds(operated: Operated, trees: Trees, scratch: Path) -> None:
    """
    A kind that says more of what is told already goes on in the epoch; one that a replica needs begins
    another, for until then it was not told.
    """
    trees.write("a")
    agent = operated(group={"kinds": ["created", "written", "deleted"]}).start()
    settled(agent, "file")
    first = agent.group()["epoch"]
    assert reload(agent, group(kinds=["created", "written", "deleted", "modified"])).status == 200
    settled(agent, "file")
    assert agent.group()["epoch"] == first
    assert reload(agent, group(kinds=["created", "written", "deleted", "moved"])).status == 200
    settled(agent, "file")
    found = of_epoch(scratch / "file.jsonl", agent.group()["epoch"])
    assert agent.group()["epoch"] > first
    assert found[0]["data"]["replicable"] is True
    agent.stop()


def test_groups(operated: Operated, trees: Trees, scratch: Path) -> None:
    """A group is added and has its snapshot; one is removed, drained and says that it stopped."""
    (trees.outside / "o").write_text("x")
    agent = operated().start()
    settled(agent, "file")
    epoch = agent.group()["epoch"]
    other = {"name": "h", "paths": [os.fspath(trees.outside)], "sinks": ["file"]}
    assert reload(agent, lambda config: config["watch_groups"].append(other)).status == 200
    settled(agent, "file", name="h")
    assert agent.group()["epoch"] == epoch
    eventually(lambda: agent.metric("watches", watch_group="h") == 1, what="its watch is counted")
    trees.write("late")
    assert reload(agent, lambda config: config.update(watch_groups=[other])).status == 200
    assert [one["name"] for one in agent.status()["groups"]] == ["h"]
    of_g = [event for event in events(scratch / "file.jsonl") if event["watchgroup"] == "g"]
    assert of_g[-1]["type"].endswith("stream.stopped.v1")
    assert "file.written late" in told(of_g)
    assert 'watch_group="g"' not in agent.get("/metrics")[1]
    agent.stop()


def test_a_stop_does_not_wait_for_a_group_that_leaves(
    operated: Operated, trees: Trees, scratch: Path
) -> None:
    """SIGTERM while a removed group waits for its broker ends the wait, and the agent, with what is kept."""
    away = {**jsonl(scratch, "away"), "path": os.fspath(scratch / "nowhere" / "file.jsonl")}
    other = {"name": "h", "paths": [os.fspath(trees.outside)], "sinks": ["away"]}
    agent = operated([jsonl(scratch), away], group={"sinks": ["file"]}, shutdown_timeout="10m")
    config = json.loads(agent.file.read_text())
    agent.configure({**config, "watch_groups": [*config["watch_groups"], other]})
    agent.start()
    eventually(lambda: agent.sink("away", "h")["last_error"], what="its sink is away")
    agent.configure(config)
    agent.signal(signal.SIGHUP)
    eventually(lambda: agent.group("h")["state"] == "stopping", what="it leaves")
    agent.signal(signal.SIGTERM)
    assert agent.ended() == 0
    assert "Traceback" not in agent.log


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda config: config["http"].update(listen="127.0.0.1:1"), "http.listen cannot be changed"),
        (lambda config: config["http"].pop("admin_socket"), "http.admin_socket cannot be changed"),
        (lambda config: config["state"].update(dir="/var/lib/other"), "state.dir cannot be changed"),
        (lambda config: config["watch_groups"][0].update(sinks=["nobody"]), "is no configured sink"),
        (lambda config: config["watch_groups"][0].update(paths=["/no/such"]), "there is nothing at /no/such"),
    ],
    ids=["listen", "socket", "state", "sink", "path"],
)
def test_refused(operated: Operated, trees: Trees, scratch: Path, change: Change, words: str) -> None:
    """What cannot be reloaded is refused by name, although the rest could be, and nothing is in force."""
    agent = operated(state={"dir": os.fspath(scratch / "state")}).start()
    settled(agent, "file")
    before = agent.group()

    def both(config: dict[str, Any]) -> None:
        config["watch_groups"][0]["exclude"] = ["*.tmp"]
        change(config)

    refused = reload(agent, both)
    assert refused.status == 422
    assert words in refused.content["error"]
    trees.write("a.tmp")
    settled(agent, "file")
    assert "file.written a.tmp" in told(events(scratch / "file.jsonl"))
    assert agent.group()["epoch"] == before["epoch"]
    assert words in agent.status()["problems"][0]
    agent.stop()


def test_a_group_that_cannot_be_started_changes_nothing(
    operated: Operated, trees: Trees, scratch: Path
) -> None:
    """Where a new group cannot open its store the whole reload is refused, and the old groups run on."""
    state = scratch / "state"
    agent = operated(state={"dir": os.fspath(state)}).start()
    settled(agent, "file")
    (state / "h.db").mkdir()
    other = {"name": "h", "paths": [os.fspath(trees.outside)], "sinks": ["file"]}

    def add(config: dict[str, Any]) -> None:
        config["watch_groups"][0]["exclude"] = ["*.tmp"]
        config["watch_groups"].append(other)

    refused = reload(agent, add)
    assert refused.status >= 400
    assert [one["name"] for one in agent.status()["groups"]] == ["g"]
    trees.write("a.tmp")
    settled(agent, "file")
    assert "file.written a.tmp" in told(events(scratch / "file.jsonl"))
    agent.stop()
