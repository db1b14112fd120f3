"""Two agents and one state directory."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.agent.conftest import Launch
from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.state.files import assert_no_number_twice, jsonl, kept
from tests.waiting import eventually


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The directory of both."""
    return tmp_path / "state"


@pytest.fixture
def first(launch: Launch, scratch: Path, state: Path) -> AgentProcess:
    """Has started, and delivered something."""
    agent = launch([jsonl(scratch)], state={"dir": os.fspath(state)}).start()
    eventually(lambda: agent.delivered("sink"))
    return agent


def second_of(launch: Launch, scratch: Path, state: Path) -> AgentProcess:
    """Another one on the same directory; its sink is a file of its own."""
    directory = scratch / "second"
    directory.mkdir(exist_ok=True)
    return launch([jsonl(directory)], state={"dir": os.fspath(state)})


@pytest.mark.parametrize("stopped", [False, True], ids=["at work", "stopped by a signal"])
def test_second_agent(stopped: bool, first: AgentProcess, launch: Launch, scratch: Path, state: Path) -> None:
    """A second agent on the directory ends with 69 and one line that names the first, also a stopped one."""
    if stopped:
        first.signal(signal.SIGSTOP)
    second = second_of(launch, scratch, state).start(ready=False)
    assert second.ended() == 69
    (line,) = second.log.splitlines()
    assert f"is in use by process {first.pid}" in line
    first.signal(signal.SIGCONT)
    first.stop()


@pytest.mark.parametrize("how", ["lock removed", "directory replaced"])
def test_stopped_and_continued(
    how: str, first: AgentProcess, trees: Trees, launch: Launch, scratch: Path, state: Path
) -> None:
    """
    An agent that was stopped while its lock or its directory was taken away, and goes on when another one has
    them, records and publishes nothing more and ends with 69; the other one is not disturbed.
    """
    trees.files("before", 20)
    eventually(lambda: first.group()["sequence"] > 40 and first.delivered("sink"))
    with first.paused():
        if how == "lock removed":
            (state / "lock").unlink()
        else:
            state.rename(state.with_name("away"))
            shutil.copytree(state.with_name("away"), state)
        second = second_of(launch, scratch, state).start()
        trees.files("meanwhile", 100)
        eventually(lambda: second.group()["sequence"] > 200 and second.delivered("sink"))
        end = kept(scratch).all[-1].position
    assert first.ended() == 69
    assert "was taken over" in first.log.splitlines()[-1]
    assert first.log.count("was taken over") < 5
    trees.files("after", 20)
    eventually(lambda: "after-000019" in second_paths(scratch), what="the second goes on")
    assert kept(scratch).all[-1].position == end, "the first one published something"
    second.stop()
    arrivals = kept(scratch / "second")
    assert_no_number_twice(arrivals)
    assert arrivals.all[-1].kind == "stream.stopped"
    second = second_of(launch, scratch, state).start()
    eventually(lambda: second.delivered("sink"))
    assert second.metric("epochs_total") == 0, "what the first one wrote at its end is believed"
    second.stop()


def second_paths(scratch: Path) -> list[str]:
    """What the second agent's file names as created."""
    return kept(scratch / "second").paths("file.created")
