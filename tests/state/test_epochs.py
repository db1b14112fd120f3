"""State directories that are not what was left: restored, damaged, emptied, of another configuration."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from prometheus_client import CollectorRegistry

from inotify_bridge.config.model import Config
from inotify_bridge.epochs import open_store
from inotify_bridge.metrics import Metrics
from inotify_bridge.outbox.note import Note
from tests.agent.arrivals import Arrival, Arrivals
from tests.agent.conftest import Launch
from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.state.files import assert_no_number_twice, back_up, jsonl, kept, restore
from tests.waiting import eventually


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state directory; made by the agent."""
    return tmp_path / "state"


@pytest.fixture
def agent(launch: Launch, scratch: Path, state: Path) -> AgentProcess:
    """One that keeps a file; not started."""
    return launch([jsonl(scratch)], state={"dir": os.fspath(state)})


def lived(agent: AgentProcess, trees: Trees, name: str, kill: bool = False) -> None:
    """A life of the agent: so many files are written, and all of it is delivered."""
    agent.start()
    trees.files(name, 40)
    eventually(
        lambda: f"{name}-000039" in {r.path for r in kept_files(agent)} and agent.delivered("sink"),
        what="everything is delivered",
    )
    if kill:
        agent.kill()
    else:
        agent.stop()


def kept_files(agent: AgentProcess) -> list[Arrival]:
    """What the file of the agent's sink says about files."""
    return [one for one in kept(agent.file.parents[1]).all if one.kind.startswith("file.")]


def of_epochs(arrivals: Arrivals) -> list[list[str]]:
    """The kinds of the first messages of each epoch, and the reason of its first resync."""
    found = []
    for epoch in sorted({one.position[0] for one in arrivals.all}):
        mine = [one for one in arrivals.fresh if one.position[0] == epoch]
        started = next(one for one in mine if one.kind == "stream.started")
        resync = next(one for one in mine if one.kind == "stream.resync_started")
        found.append([str(started.event["data"]["new_epoch"]), resync.event["data"]["reason"]])
    return found


def test_nothing_changed(agent: AgentProcess, trees: Trees, scratch: Path) -> None:
    """A start, a kill and a start on an untouched directory: one epoch."""
    lived(agent, trees, "first", kill=True)
    lived(agent, trees, "second")
    assert of_epochs(kept(scratch)) == [["True", "start"]]
    kept(scratch).assert_true(trees.root)


@pytest.mark.parametrize("into_place", [True, False], ids=["rolled back", "another file"])
def test_restored_from_a_backup(
    into_place: bool, agent: AgentProcess, trees: Trees, scratch: Path, state: Path, tmp_path: Path
) -> None:
    """After a backup is put back no number is given again: a higher epoch begins with everything."""
    lived(agent, trees, "first")
    backup = back_up(state, tmp_path / "backup")
    lived(agent, trees, "second", kill=True)
    restore(backup, state, into_place)
    lived(agent, trees, "third")
    arrivals = kept(scratch)
    assert of_epochs(arrivals) == [["True", "start"], ["True", "state_lost"]]
    assert "restored from a backup" in agent.log
    assert_no_number_twice(arrivals)
    arrivals.assert_true(trees.root)


@pytest.mark.parametrize("damage", ["removed", "cut", "overwritten"])
def test_damaged(damage: str, agent: AgentProcess, trees: Trees, scratch: Path, state: Path) -> None:
    """A database that is gone or damaged: what was is kept aside, and a higher epoch begins."""
    lived(agent, trees, "first")
    database = state / "g.db"
    for path in state.glob("g.db-*"):
        path.unlink()
    if damage == "removed":
        database.unlink()
    else:
        found = database.read_bytes()
        database.write_bytes(found[: len(found) // 2] if damage == "cut" else b"\xff" * len(found))
    agent.start()
    aside = agent.metric("state_databases_set_aside_total")
    assert agent.metric("epochs_total", reason="missing" if damage == "removed" else "corrupt") == 1
    trees.files("second", 20)
    agent.stop()
    assert aside == len(list(state.glob("g.db.corrupt-*"))) == (damage != "removed")
    arrivals = kept(scratch)
    assert of_epochs(arrivals) == [["True", "start"], ["True", "state_lost"]]
    arrivals.assert_true(trees.root)


def damage(state: Path, database: BinaryIO) -> None:
    """Cut this very database and its log; one that has taken its place meanwhile is left as it is."""
    os.ftruncate(database.fileno(), 4096)
    with contextlib.suppress(FileNotFoundError), (state / "g.db-wal").open("r+b") as log:
        if os.path.samestat(os.fstat(database.fileno()), (state / "g.db").stat()):
            os.ftruncate(log.fileno(), 0)


def test_damaged_while_it_runs(agent: AgentProcess, trees: Trees, scratch: Path, state: Path) -> None:
    """A database that is damaged under a running agent is set aside when it is noticed; it goes on."""
    agent.start()
    trees.files("first", 40)
    eventually(lambda: agent.group()["sequence"] > 80 and agent.delivered("sink"))
    numbers = itertools.count()

    with (state / "g.db").open("r+b") as database:

        def damaged_again() -> float:
            # What SQLite holds in memory it writes over the damage, and then there is nothing to notice.
            damage(state, database)
            trees.files(f"second-{next(numbers)}", 200)
            return agent.metric("state_databases_set_aside_total")

        eventually(damaged_again, what="it is set aside", within=90.0)
    trees.files("third", 20)
    eventually(lambda: agent.metric("consistent") == 1 and agent.delivered("sink"), within=60.0)
    agent.stop()
    arrivals = kept(scratch)
    assert len({one.position[0] for one in arrivals.all}) > 1
    arrivals.assert_true(trees.root)


def test_a_sink_that_knows_better(
    agent: AgentProcess, trees: Trees, scratch: Path, state: Path, tmp_path: Path
) -> None:
    """
    Where everything in the state directory is older than the stream, note included, the sink's own last
    message shows it: a higher epoch begins, and no number is given again.
    """
    lived(agent, trees, "first")
    whole = shutil.copytree(state, tmp_path / "backup")
    lived(agent, trees, "second")
    for path in whole.iterdir():  # as from a snapshot of the volume: the inodes are the old ones, too
        (state / path.name).write_bytes(path.read_bytes())
    for name in ("g.db-wal", "g.db-shm"):
        (state / name).unlink(missing_ok=True)
    assert Note(state / "g.db").fits()
    lived(agent, trees, "third")
    arrivals = kept(scratch)
    assert of_epochs(arrivals) == [["True", "start"], ["True", "state_lost"]]
    assert "a sink holds messages that the state database does not know" in agent.log
    assert_no_number_twice(arrivals)
    arrivals.assert_true(trees.root)


def test_what_the_stream_is_about_changes(
    agent: AgentProcess, trees: Trees, scratch: Path, state: Path
) -> None:
    """Another root begins a new epoch with everything of it, and a sink that is gone loses its watermark."""
    lived(agent, trees, "first")
    (trees.outside / "there").write_text("x")
    group = {"name": "g", "paths": [os.fspath(trees.outside)], "sinks": ["sink"]}
    agent.configure({"watch_groups": [group], "sinks": [jsonl(scratch)], "state": {"dir": os.fspath(state)}})
    agent.start()
    eventually(lambda: agent.delivered("sink"))
    agent.stop()
    arrivals = kept(scratch)
    assert of_epochs(arrivals) == [["True", "start"], ["True", "start"]]
    arrivals.assert_true(trees.outside)


def reconfigured(agent: AgentProcess, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the configuration file of an agent that does not run."""
    config = json.loads(agent.file.read_text())
    change(config)
    agent.configure(config)


def group(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Other values in the only group."""
    return lambda config: config["watch_groups"][0].update(changes)


FEWER = ["created", "written", "moved", "deleted"]


@pytest.mark.parametrize(
    ("first", "then", "anew"),
    [
        (group(), group(kinds=FEWER), False),
        (group(kinds=FEWER), group(kinds=[*FEWER, "attributes_changed"]), True),
        (group(kinds=FEWER), group(kinds=[*FEWER, "modified"]), False),
        (group(kinds=FEWER[1:]), group(kinds=FEWER), True),
        (group(snapshot="never"), group(snapshot="initial"), True),
        (group(), group(recursive=False), True),
        (group(), group(exclude=["*.tmp"], heartbeat="1h"), False),
        (group(), lambda config: config.update(events={"partition_by": "path"}), True),
        (group(), lambda config: config.update(events={"content_mode": "binary"}), False),
        (group(), lambda config: config["sinks"][0].update(path="/elsewhere"), True),
    ],
    ids=[
        "kinds narrowed",
        "attributes_changed added",
        "modified added",
        "created added",
        "snapshot",
        "recursive",
        "filters",
        "partition_by",
        "content_mode",
        "sink",
    ],
)
def test_changed_while_it_is_down(
    tmp_path: Path,
    trees: Trees,
    scratch: Path,
    first: Callable[[dict[str, Any]], None],
    then: Callable[[dict[str, Any]], None],
    anew: bool,
) -> None:
    """What a reload mints an epoch for, a start mints it for, too; what it goes on with goes on."""
    document = {
        "watch_groups": [{"name": "g", "paths": [os.fspath(trees.root)], "sinks": ["sink"]}],
        "sinks": [jsonl(scratch)],
        "state": {"dir": os.fspath(tmp_path)},
    }
    epochs = []
    for change in (first, then, group()):
        change(document)
        config = Config.model_validate(copy.deepcopy(document))
        metrics = Metrics(CollectorRegistry(), ["g"], [("g", "sink")]).group("g")
        store, reason = open_store(config, config.watch_groups[0], metrics)
        epochs.append(store.epoch)
        store.commit([], {})
        store.close()
    assert (epochs[1] > epochs[0], epochs[1] == epochs[2], reason) == (anew, True, "restart")


def test_the_release_before(tmp_path: Path, trees: Trees, scratch: Path) -> None:
    """A database that does not say what its epoch is about goes on, and says it from then on."""
    document = {
        "watch_groups": [{"name": "g", "paths": [os.fspath(trees.root)], "sinks": ["sink"]}],
        "sinks": [jsonl(scratch)],
        "state": {"dir": os.fspath(tmp_path)},
    }
    epochs = []
    for recursive in (True, True, False):
        group(recursive=recursive)(document)
        config = Config.model_validate(copy.deepcopy(document))
        metrics = Metrics(CollectorRegistry(), ["g"], [("g", "sink")]).group("g")
        store, _ = open_store(config, config.watch_groups[0], metrics)
        epochs.append(store.epoch)
        store.commit([], {})
        store.close()
        if len(epochs) == 1:
            with contextlib.closing(sqlite3.connect(tmp_path / "g.db")) as database, database:
                database.execute("DELETE FROM meta WHERE key = 'subject'")
    assert epochs[0] == epochs[1] < epochs[2]


def test_a_sink_goes_elsewhere_while_it_is_down(agent: AgentProcess, trees: Trees, scratch: Path) -> None:
    """A sink of the same name with another file gets a stream that begins, not the middle of the old one."""
    lived(agent, trees, "first")
    elsewhere = scratch / "elsewhere.jsonl"
    reconfigured(agent, lambda config: config["sinks"][0].update(path=os.fspath(elsewhere)))
    agent.start()
    eventually(lambda: agent.delivered("sink"))
    agent.stop()
    found = [json.loads(line) for line in elsewhere.read_bytes().splitlines()]
    started = [event for event in found if event["type"].endswith("stream.started.v1")][-1]
    assert started["data"]["new_epoch"] is True
    assert started["id"] > kept(scratch).all[-1].event["id"]


@pytest.mark.parametrize("case", ["in the root", "read only", "a file"])
def test_refused(case: str, agent: AgentProcess, trees: Trees, scratch: Path, tmp_path: Path) -> None:
    """A state directory that cannot do is refused with one line and exit code 78."""
    place = {
        "in the root": trees.root / "state",
        "read only": Path("/proc/inotify-bridge"),
        "a file": tmp_path / "file",
    }[case]
    (tmp_path / "file").touch()
    group = {"name": "g", "paths": [os.fspath(trees.root)], "sinks": ["sink"]}
    agent.configure({"watch_groups": [group], "sinks": [jsonl(scratch)], "state": {"dir": os.fspath(place)}})
    agent.start(ready=False)
    assert agent.ended() == 78
    (line,) = agent.log.splitlines()
    assert "state.dir" in line
    assert place.name in line
