"""Roots that are another directory after a restart, and what changed while the agent was down."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.agent.arrivals import Arrivals
from tests.agent.conftest import Launch
from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.state.files import jsonl, kept
from tests.waiting import eventually


@pytest.fixture
def agent(launch: Launch, scratch: Path, tmp_path: Path) -> AgentProcess:
    """One with a state directory that keeps a file; not started."""
    return launch([jsonl(scratch)], state={"dir": os.fspath(tmp_path / "state")})


def settled(agent: AgentProcess) -> None:
    """Wait until everything that is there is delivered."""
    eventually(lambda: agent.metric("consistent") == 1 and agent.delivered("sink"), what="it is settled")


def first_life(agent: AgentProcess, trees: Trees) -> tuple[str, int]:
    """Files in two directories are delivered, and the agent is stopped; where the stream ends."""
    agent.start()
    trees.write(*(f"{directory}/{number}" for directory in "ab" for number in range(20)))
    eventually(lambda: agent.group()["sequence"] > 84, what="it is recorded")
    settled(agent)
    agent.stop()
    return kept(agent.file.parents[1]).all[-1].position


def test_a_root_that_is_a_file(launch: Launch, scratch: Path, tmp_path: Path, trees: Trees) -> None:
    """A group that follows one file goes on after a restart, and tells what became of it meanwhile."""
    trees.write("one", "beside")
    group = {"paths": [os.fspath(trees.root / "one")]}
    agent = launch([jsonl(scratch)], group, state={"dir": os.fspath(tmp_path / "state")})
    agent.start()
    settled(agent)
    agent.stop()
    trees.write("one", text="longer")
    agent.start()
    settled(agent)
    agent.stop()
    arrivals = kept(scratch)
    assert [one.kind for one in arrivals.all if one.kind.startswith("file.")] == [
        "file.created",
        "file.written",
        "file.written",
    ]
    assert len({one.position[0] for one in arrivals.all}) == 1


def later(agent: AgentProcess, end: tuple[str, int]) -> Arrivals:
    """What was published after the first life."""
    return kept(agent.file.parents[1]).after(*end)


def test_the_same_root(agent: AgentProcess, trees: Trees) -> None:
    """Nothing changed while the agent was down: nothing is published but what the stream says of itself."""
    end = first_life(agent, trees)
    agent.start()
    settled(agent)
    agent.stop()
    expected = ["started", "resync_started", "resync_completed", "stopped"]
    assert later(agent, end).kinds() == [f"stream.{kind}" for kind in expected]


def test_another_root(agent: AgentProcess, trees: Trees) -> None:
    """
    Where another directory, not empty, is found at the root's path after a restart, the root is lost and
    nothing of it deleted: a new epoch begins with what is there.
    """
    end = first_life(agent, trees)
    trees.root.rename(trees.root.with_name("before"))
    trees.root.mkdir()
    trees.write("c/other")
    agent.start()
    eventually(lambda: agent.group()["epoch"] > end[0], what="a new epoch")
    settled(agent)
    assert agent.metric("epochs_total", reason="root") == 1
    assert agent.metric("group_restarts_total") == 0
    agent.stop()
    arrivals = later(agent, end)
    assert arrivals.paths("file.deleted") == arrivals.paths("directory.deleted") == []
    of_old = [one.kind for one in arrivals.fresh if one.position[0] == end[0]]
    assert of_old[:3] == ["stream.started", "stream.resync_started", "stream.root_lost"]
    resyncs = [one.event["data"]["reason"] for one in arrivals.fresh if one.kind == "stream.resync_started"]
    assert resyncs == ["restart", "root"]
    kept(agent.file.parents[1]).assert_true(trees.root)
    assert "another directory than before the restart" in agent.log
    assert "EpochEnded" not in agent.log


def test_an_empty_directory_in_its_place(agent: AgentProcess, trees: Trees) -> None:
    """
    An empty directory in the place of a root (a volume that is not mounted yet) is a lost root; when the old
    one is back the epoch goes on without an event about it, and when another one comes a new epoch begins.
    """
    end = first_life(agent, trees)
    before = trees.root.with_name("before")
    trees.root.rename(before)
    trees.root.mkdir()
    agent.start(ready=False)
    eventually(lambda: [one["state"] for one in agent.group()["roots"]] == ["lost"], what="it is lost")
    trees.root.rmdir()
    before.rename(trees.root)
    eventually(lambda: [one["state"] for one in agent.group()["roots"]] == ["covered"], what="it is back")
    settled(agent)
    arrivals = later(agent, end)
    assert {one.kind.partition(".")[0] for one in arrivals.all} == {"stream"}
    assert {one.position[0] for one in arrivals.all} == {end[0]}
    agent.stop()
    other = trees.root.with_name("other")
    other.mkdir()  # while the old one is there, so that it has another inode
    shutil.rmtree(trees.root)
    other.rename(trees.root)
    agent.start(ready=False)
    eventually(lambda: [one["state"] for one in agent.group()["roots"]] == ["lost"], what="it is lost again")
    trees.write("other")
    eventually(lambda: agent.group()["epoch"] > end[0], what="a new epoch")
    settled(agent)
    agent.stop()
    assert later(agent, end).paths("file.deleted") == []
    kept(agent.file.parents[1]).assert_true(trees.root)


def test_emptied_while_it_was_down(agent: AgentProcess, trees: Trees) -> None:
    """The very directory, without its contents, is no lost root: they are deleted, in the same epoch."""
    end = first_life(agent, trees)
    for directory in "ab":
        shutil.rmtree(trees.root / directory)
    agent.start()
    settled(agent)
    agent.stop()
    arrivals = later(agent, end)
    assert arrivals.paths("directory.deleted", "resync") == ["a", "b"]
    assert len(arrivals.paths("file.deleted", "resync")) == 40
    assert "stream.root_lost" not in arrivals.kinds()
    assert {one.position[0] for one in arrivals.all} == {end[0]}
    kept(agent.file.parents[1]).assert_true(trees.root)


def test_a_directory_replaced_while_it_was_down(agent: AgentProcess, trees: Trees) -> None:
    """Another directory under a known name is told with its inode, and what it holds is compared, once."""
    end = first_life(agent, trees)
    shutil.copytree(trees.root / "a", trees.root.with_name("copy"))
    shutil.rmtree(trees.root / "a")
    trees.root.with_name("copy").rename(trees.root / "a")
    for _ in range(2):
        agent.start()
        settled(agent)
        agent.stop()
    arrivals = later(agent, end)
    (told,) = (one for one in arrivals.all if one.kind == "directory.attributes_changed")
    assert told.event["subject"] == "a"
    assert told.event["data"]["file"]["inode"] == str((trees.root / "a").stat().st_ino)
    assert len(arrivals.paths("file.written", "resync")) == 20
    assert arrivals.paths("directory.deleted") == arrivals.paths("file.deleted") == []


def test_moved_while_it_was_down(agent: AgentProcess, trees: Trees) -> None:
    """
    A directory that was moved while the agent was down is deleted and created, with all below it, and a file
    that was changed in a known one is written: all of it is found by the resync.
    """
    end = first_life(agent, trees)
    (trees.root / "a").rename(trees.root / "moved")
    trees.write("b/3", text="changed in a directory that is known")
    agent.start()
    settled(agent)
    agent.stop()
    arrivals = later(agent, end)
    assert arrivals.paths("file.moved") == arrivals.paths("directory.moved") == []
    assert arrivals.paths("directory.deleted", "resync") == ["a"]
    assert arrivals.paths("directory.created", "resync") == ["moved"]
    assert sorted(arrivals.paths("file.deleted", "resync")) == sorted(f"a/{number}" for number in range(20))
    assert len(arrivals.paths("file.created", "resync")) == 20
    assert len(arrivals.paths("file.written", "resync")) == 21
    assert "b/3" in arrivals.paths("file.written", "resync")
    kept(agent.file.parents[1]).assert_true(trees.root, digests=2)
