"""docs/pyinotify.md: every program of it runs as it stands there, and prints what it shows."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from inotify_bridge import pyinotify
from inotify_bridge.config.model import Config, WatchGroup
from inotify_bridge.events.event import KINDS
from tests.cli.running import Running
from tests.documents import Block, Command, blocks, commands, environment, matches, shell
from tests.processes import sleeps

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "pyinotify.md").read_text()
COMPAT = (ROOT / "compat" / "README.md").read_text()


class Scene(NamedTuple):
    """A program, whether it goes on until Ctrl-C, and what is done beside it."""

    program: Command
    goes_on: bool
    beside: Block


def scenes() -> Iterator[Scene]:
    """Every pair of console blocks of the page."""
    consoles = [block for block in blocks(TEXT) if block.language == "console"]
    for first, second in zip(consoles[::2], consoles[1::2], strict=True):
        assert (first.note in ("goes on", "ends"), second.note) == (True, "")
        (program,) = commands(first)
        yield Scene(program, first.note == "goes on", second)


def line(scene: Scene) -> str:
    """What the reader types."""
    return scene.program.line


PIPED = [scene for scene in scenes() if " | " in line(scene)]
ALONE = [scene for scene in scenes() if " | " not in line(scene)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with an inbox and every file that the page shows."""
    (tmp_path / "inbox").mkdir()
    for block in blocks(TEXT):
        if block.language in ("python", "yaml"):
            (tmp_path / block.text.splitlines()[0].removeprefix("# ")).write_text(block.text)
    return tmp_path


def same(printed: list[str], expected: list[str]) -> bool:
    """Whether it is what the page shows, line by line."""
    return len(printed) == len(expected) and all(map(matches, printed, expected))


@pytest.mark.parametrize("scene", ALONE, ids=line)
def test_programs(scene: Scene, place: Path) -> None:
    """A program of the page prints what the page shows, and ends well: by itself, or by Ctrl-C."""
    # `import pyinotify` as it is after an installation; a warning would be an error.
    environ = environment(PYTHONPATH=f"{ROOT / 'compat'}:{ROOT}", PYTHONUNBUFFERED="1")
    start = ["bash", "-c", f"exec {line(scene)}"]
    with Running(directory=place, program=start, environ=environ) as child:
        # At rest: what is made between a watch and the walk below it may be told otherwise than is shown.
        child.wait_for(lambda: child.watches() and sleeps(child.process.pid), "its watch")
        # Stopped meanwhile: what it then finds is complete, and nothing is told twice.
        child.process.send_signal(signal.SIGSTOP)
        for command in commands(scene.beside):
            assert shell(command.line, place) == []
        child.process.send_signal(signal.SIGCONT)
        if scene.goes_on:
            count = len(scene.program.printed)
            child.wait_for(lambda: len(child.out.splitlines()) >= count, f"{count} lines")
            child.wait_for(lambda: sleeps(child.process.pid), "its rest")
            child.process.send_signal(signal.SIGINT)
        ended = child.ended()
    assert (ended.code, ended.err) == (0, "")
    assert same(ended.out.splitlines(), scene.program.printed), ended.out


def test_the_bridge_and_its_reader(place: Path) -> None:
    """The reader of the bridge's events prints what the page shows, and after a restart what it missed."""
    (scene,) = PIPED
    with (place / "uploads.yaml").open("a") as configuration:
        configuration.write('http: {listen: "127.0.0.1:0"}\n')
    expected = scene.program.printed
    with piped(scene, place) as (agent, printed):
        agent.wait_for(lambda: "resync completed" in agent.err, "the snapshot")
        doings = commands(scene.beside)
        for later, command in zip(reversed(range(len(doings))), doings, strict=True):
            shell(command.line, place)
            # Each of the later commands gives one line.
            agent.wait_for(lambda later=later: len(printed()) >= len(expected) - later, command.line)  # type: ignore[misc]
    assert same(printed(), expected), printed()
    (place / "inbox" / "meanwhile").touch()
    with piped(scene, place) as (agent, printed):
        agent.wait_for(lambda: len(printed()) >= 2, "what happened while it was down")
    assert printed() == ["file.created meanwhile", "file.written meanwhile"]


@contextmanager
def piped(scene: Scene, place: Path) -> Iterator[tuple[Running, Callable[[], list[str]]]]:
    """The agent and its reader, as a shell joins them; then the agent's end, and so the reader's."""
    left, right = (["bash", "-c", f"exec {part}"] for part in line(scene).split(" | "))
    environ = environment()
    read, write = os.pipe()
    output = place / "reader.out"
    with output.open("wb") as out:
        reader = subprocess.Popen(right, cwd=place, env={**os.environ, **environ}, stdin=read, stdout=out)
    os.close(read)
    with reader:
        with Running(directory=place, program=left, environ=environ, stdout=write) as agent:
            os.close(write)
            yield agent, lambda: output.read_text().splitlines()
            assert agent.end().code == 0
        assert reader.wait(60) == 0


def test_names_that_the_page_tells() -> None:
    """Every flag, class and function that the page names is one of the module."""
    flags = set(re.findall(r"\bIN_[A-Z_]+", TEXT))
    assert {name for name in flags if not hasattr(pyinotify, name)} <= {"IN_CLOSE", "IN_MOVED", "IN_MOVE"}
    named = set(re.findall(r"pyinotify\.([A-Za-z_]+)", TEXT)) - {"md", "py"}
    assert {name for name in named if not hasattr(pyinotify, name)} == set()


def test_names_of_the_bridge() -> None:
    """Every event and every key of a configuration that the page names is one that there is."""
    assert set(re.findall(r"`((?:file|directory|stream)\.[a-z_]+)`", TEXT)) <= KINDS
    keys = set(re.findall(r"`([a-z_]+): ", TEXT))
    assert {"paths", "kinds", "state"} <= keys <= set(WatchGroup.model_fields) | set(Config.model_fields)


def test_the_way_to_go_is_in_the_first_lines() -> None:
    """Within ten lines whoever comes with the broken import knows what to type."""
    typed = re.findall(r"^pip install (.*)$", "\n".join(TEXT.splitlines()[:10]), re.MULTILINE)
    assert typed == [". ./compat"]


def test_projects_to_install_are_there() -> None:
    """Every directory that pip is called with, in the page and in compat's README, is a project."""
    calls = re.findall(r"^pip (?:install|wheel) (.*)$", TEXT + COMPAT, re.MULTILINE)
    places = {word for call in calls for word in call.split() if word.startswith(".")}
    assert places == {".", "./compat", "./compat/as-pyinotify"}
    assert all((ROOT / place / "pyproject.toml").is_file() for place in places)
