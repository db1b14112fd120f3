"""Disks that are full or broken under the state directory."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.conftest import Launch
from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.cli.program import run
from tests.kernel.namespaces import Mounts
from tests.operator.asking import TOKEN, address
from tests.state.faults import FailingDisk, SmallDisk
from tests.state.files import jsonl, kept
from tests.waiting import eventually


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    """A private mount namespace."""
    with Mounts() as made:
        yield made


def settled(agent: AgentProcess) -> None:
    """Wait until nothing is wrong any more, and everything is delivered."""
    eventually(lambda: agent.metric("commit_failing") == 0 and not agent.group()["problems"], within=90.0)
    eventually(lambda: agent.metric("consistent") == 1 and agent.delivered("sink"), within=90.0)


def test_full_disk(mounts: Mounts, trees: Trees, launch: Launch, scratch: Path, tmp_path: Path) -> None:
    """
    Where the disk is full nothing of a batch is published; status, metrics and log say so and what to do;
    with room the same batch is committed, in the same epoch and without a restart, and nothing was lost.
    """
    state = tmp_path / "state"
    disk = SmallDisk(mounts, state, 24)
    agent = launch([jsonl(scratch)], state={"dir": os.fspath(state)})
    agent.prefix = mounts.prefix
    agent.start()
    trees.files("before", 50)
    eventually(lambda: agent.group()["sequence"] > 100 and agent.delivered("sink"))
    disk.fill()
    trees.files("full", 4000)
    eventually(lambda: agent.metric("commit_errors_total", reason="full") > 1, what="the fault happens")
    assert (agent.metric("commit_failing"), agent.metric("consistent")) == (1, 0)
    shown = agent.group()
    assert any("free space" in problem for problem in shown["problems"])
    assert (shown["state"], shown["consistent"]) == ("blocked", False)
    eventually(lambda: agent.delivered("sink"), what="what was committed is delivered")
    sequence = agent.group()["sequence"]
    assert kept(scratch).all[-1].position[1] == sequence
    assert agent.get("/livez")[0] == 200
    disk.free()
    settled(agent)
    assert agent.group()["state"] == "running"
    trees.files("after", 20)
    agent.stop()
    arrivals = kept(scratch)
    assert len({one.position[0] for one in arrivals.all}) == 1
    assert arrivals.kinds().count("stream.started") == 1
    arrivals.assert_true(trees.root)
    said = [line for line in agent.log.splitlines() if "nothing is recorded until this is mended" in line]
    assert len(said) == 1
    assert "free space" in said[0]


def test_the_journal_leaves_room_on_its_disk(
    mounts: Mounts, trees: Trees, launch: Launch, scratch: Path, tmp_path: Path
) -> None:
    """
    A journal that grows while its sink is away does not fill a disk that others have nearly filled: a sink
    that comes back is enough, nobody has to make room, and what was not recorded meanwhile is told then.
    """
    state, away = tmp_path / "state", scratch / "away"
    SmallDisk(mounts, state, 80)
    agent = launch([jsonl(away)], state={"dir": os.fspath(state)})
    agent.prefix = mounts.prefix
    agent.start()
    mounts.succeeds("dd", "if=/dev/zero", f"of={state}/of-others", "bs=1M", "count=58")
    number = itertools.count()

    def refused() -> bool:
        trees.files(f"storm-{next(number)}", 2000)
        return agent.metric("outbox_blocked") == 1 or agent.metric("commit_errors_total", reason="full") > 0

    eventually(refused, what="there is no room for the journal", within=60.0)
    for _ in range(4):
        trees.files(f"storm-{next(number)}", 2000)
    assert agent.metric("commit_errors_total", reason="full") == 0
    assert any("disk" in problem for problem in agent.group()["problems"])
    away.mkdir()
    settled(agent)
    assert agent.group()["state"] == "running"
    trees.files("after", 20)
    agent.stop()
    kept(away).assert_true(trees.root)


def test_signal_on_a_full_disk(
    mounts: Mounts, trees: Trees, launch: Launch, scratch: Path, tmp_path: Path
) -> None:
    """What needs room that the disk has not is refused as what cannot be done now, with what to do."""
    state = tmp_path / "state"
    disk = SmallDisk(mounts, state, 24)
    http = {"listen": "127.0.0.1:0", "admin_token": TOKEN}
    agent = launch([jsonl(scratch)], state={"dir": os.fspath(state)}, http=http)
    agent.prefix = mounts.prefix
    agent.start()
    eventually(lambda: agent.delivered("sink"))
    disk.fill()
    trees.files("full", 4000)
    eventually(lambda: agent.metric("commit_errors_total", reason="full") > 1, what="the fault happens")
    how = ("--url", address(agent), "--token-file", token(scratch))
    # In this order: after a snapshot that was refused the group is built anew, and may not have written yet.
    for words in (["barrier", "g", "--timeout", "1s"], ["resync", "g", "--snapshot", "--timeout", "1s"]):
        ended = run(*words, *how)
        assert ended.code == 69
        assert "free space" in ended.err
        assert len(ended.err.splitlines()) == 1
    disk.free()
    settled(agent)
    agent.stop()
    kept(scratch).assert_true(trees.root)


def token(scratch: Path) -> str:
    """A file with the token."""
    file = scratch / "token"
    file.write_text(TOKEN)
    return os.fspath(file)


def test_start_on_a_full_disk(
    mounts: Mounts, trees: Trees, launch: Launch, scratch: Path, tmp_path: Path
) -> None:
    """An agent whose state directory is on a full disk waits for room, says so, and then begins."""
    state = tmp_path / "state"
    disk = SmallDisk(mounts, state, 24)
    disk.fill()
    agent = launch([jsonl(scratch)], state={"dir": os.fspath(state)})
    agent.prefix = mounts.prefix
    agent.start(ready=False)
    eventually(lambda: "start ended: StoreError" in agent.log, what="the fault happens")
    assert agent.get("/livez")[0] == 200
    assert agent.get("/readyz")[0] == 503
    trees.files("early", 10)
    disk.free()
    eventually(lambda: agent.get("/readyz")[0] == 200, within=60.0, what="it begins")
    trees.files("later", 10)
    agent.stop()
    kept(scratch).assert_true(trees.root)


def test_read_only(mounts: Mounts, trees: Trees, launch: Launch, scratch: Path, tmp_path: Path) -> None:
    """A state directory on a read-only file system is refused in one line, by `run`, `validate`, `doctor`."""
    state = tmp_path / "state"
    state.mkdir()
    mounts.run("mount", "-t", "tmpfs", "-o", "ro", "none", state)
    agent = launch([jsonl(scratch)], state={"dir": os.fspath(state)})
    agent.prefix = mounts.prefix
    agent.start(ready=False)
    assert agent.ended() == 78
    (line,) = agent.log.splitlines()
    assert f"state.dir {state} cannot be written by this user: Read-only file system (check the disk" in line
    command = [*mounts.prefix, sys.executable, "-m", "inotify_bridge"]
    for words, code, said in (
        (["doctor", "-c"], 1, f"{state} cannot be written: Read-only file system"),
        (["validate"], 78, "cannot be written by this user: Read-only file system"),
    ):
        asked = subprocess.run(
            [*command, *words, os.fspath(agent.file)], capture_output=True, text=True, check=False
        )
        assert asked.returncode == code
        assert said in asked.stdout + asked.stderr


def test_failed_fsync(mounts: Mounts, trees: Trees, launch: Launch, scratch: Path, tmp_path: Path) -> None:
    """
    After a failed fsync nothing is taken for committed: the database is opened anew, everything is compared
    (``internal``), and when the disk is mended the stream goes on without a hole.
    """
    disk = FailingDisk(mounts, tmp_path / "disk")
    agent = launch([jsonl(scratch)], state={"dir": os.fspath(disk.path / "state")})
    agent.prefix = mounts.prefix
    agent.start()
    trees.files("before", 50)
    eventually(lambda: agent.group()["sequence"] > 100 and agent.delivered("sink"))
    disk.fail()
    trees.files("broken", 4000)
    eventually(
        lambda: (
            agent.metric("commit_errors_total", reason="fsync")
            + agent.metric("commit_errors_total", reason="io")
            > 0
        ),
        what="the fault happens",
        within=60.0,
    )
    eventually(
        lambda: agent.metric("group_restarts_total") > 0, what="the database is opened anew", within=60.0
    )
    disk.mend()
    settled(agent)
    trees.files("after", 20)
    agent.stop()
    arrivals = kept(scratch)
    arrivals.assert_true(trees.root)
    assert "internal" in {
        one.event["data"]["reason"] for one in arrivals.all if one.kind == "stream.resync_started"
    }
