"""The last entry of a file: what it waits for, and what waits for it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agent.logs import Logs, start
from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.waiting import eventually


@pytest.mark.usefixtures("re2")
def test_flushed(follow: Callable[..., Logs]) -> None:
    """After the set time a line without its end is an entry, and lines that belong together are one."""
    logs = follow(flush_after="200ms", multiline={"start": r"^\d", "flush_after": "200ms"})
    logs.append("app.log", "1 a", "  b")
    logs.append("half.log", "1 half", end="")
    logs.agent.start()
    eventually(lambda: len(logs.messages()) == 2, what="both are flushed")
    assert sorted(logs.messages()) == ["1 a\n  b", "1 half"]
    logs.append("half.log", " line", "2 next", "3 last")
    eventually(lambda: len(logs.messages()) == 5, what="the rest")
    assert logs.messages()[2:] == [" line", "2 next", "3 last"]
    unfinished = [event["data"]["log"].get("unfinished") for event in logs.events("entry")]
    assert unfinished.count(True) == 1
    logs.agent.stop()


@pytest.mark.usefixtures("re2")
def test_lines_that_belong_together_over_a_rotation(follow: Callable[..., Logs], trees: Trees) -> None:
    """
    The last entry of a rotated file, of which lines may still come, is told before those of the next file,
    which do not wait for ever where a writer stays with the old one.
    """
    logs = follow(multiline={"start": r"^\d", "flush_after": "1s"})
    logs.append("app.log", "1 a")
    logs.agent.start()
    logs.arrive("1 a")
    with (trees.root / "app.log").open("a", buffering=1) as old:
        with logs.agent.paused():
            old.write("2 b\n")
            (trees.root / "app.log").rename(trees.root / "app.log.1")
            logs.append("app.log", "3 c", "4 d", "5 e")
            old.write("  b\n")
        eventually(lambda: len(logs.messages()) == 5, what="the entries of both")
        assert logs.messages() == ["1 a", "2 b\n  b", "3 c", "4 d", "5 e"]
        logs.append("app.log", "6 f", "7 g")

        def arrives() -> bool:
            old.write("0 old\n")
            return "6 f" in logs.messages()

        eventually(arrives, what="the younger file goes on", poll=0.2)
    logs.agent.stop()


@pytest.mark.usefixtures("re2")
def test_files_are_closed(follow: Callable[..., Logs], trees: Trees) -> None:
    """However many logs were written: when nothing more comes, each was told to its end and none is open."""
    logs = follow(flush_after="200ms", multiline={"start": "^a", "flush_after": "200ms"})
    logs.agent.patch = "tests.agent.hurry:linger"
    for number in range(300):
        (trees.root / f"{number:03d}.log").write_text("a\na" if number % 2 else "a\n")
    logs.agent.start()
    eventually(lambda: logs.agent.metric("log_entries_total") == 450, what="every line, finished or not")
    eventually(lambda: not _held(logs.agent, trees.root), what="every log is closed")
    logs.agent.stop()


def _held(agent: AgentProcess, directory: Path) -> list[str]:
    """What the agent holds open below a directory, but for directories."""
    descriptors = Path(f"/proc/{agent.pid}/fd")
    held = []
    for descriptor in descriptors.iterdir():
        with contextlib.suppress(FileNotFoundError):
            held.append(os.readlink(descriptor))
    return [path for path in held if path.startswith(f"{directory}/")]


def test_a_copy_that_ends_in_the_middle_of_a_line(follow: Callable[..., Logs], trees: Trees) -> None:
    """Nobody writes to the copy of a log that was cut: what it ends with is told before what comes next."""
    logs = follow()
    logs.append("app.log", "1")
    start(logs)
    with logs.agent.paused():
        logs.append("app.log", "2")
        logs.append("app.log", "3 half", end="")
        shutil.copy(trees.root / "app.log", trees.root / "app.log.1")
        os.truncate(trees.root / "app.log", 0)
        logs.append("app.log", "4")
    eventually(lambda: "4" in logs.messages(), what="the line after the cut")
    assert [one for one in logs.messages() if one != "begins"] == ["1", "2", "3 half", "4"]
    unfinished = [event["data"]["log"].get("unfinished") for event in logs.events("entry")]
    assert unfinished.count(True) == 1
    logs.agent.stop()
