"""The runbook as a program: its commands, run where the trouble is that it speaks of."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.documents import Block, blocks, commands, environment, matches
from tests.waiting import eventually

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"

SHOWN_SECONDS = 60.0
"""What a status says of a sink that is silent takes some seconds to be said."""

_GROUP, _SINK = "uploads", "orders"


def places() -> list[str]:
    """``AGENT GROUP`` of every block of commands: where it is run."""
    return [" ".join(block.note.split()[1:3]) for block in _blocks()]


def queries() -> list[str]:
    """The blocks of PromQL."""
    return [block.text for block in blocks(RUNBOOK.read_text()) if block.language == "promql"]


def follow(
    where: Iterable[str], here: Callable[[str], Mapping[str, str]], prefix: Sequence[str], **environ: str
) -> None:
    """
    Run the runbook's blocks of commands for some places, until they print what it shows.

    Args:
        where: ``AGENT GROUP``.
        here: what its addresses and paths are for a group.
        prefix: of every command.
    """
    told: dict[str, list[str]] = {}
    for place in where:
        found = [block for block in _blocks() if f"{block.note} ".startswith(f"at {place} ")]
        assert found, place
        for block in found:
            _, _, group, sink = block.note.split()
            names = {**here(group), _GROUP: group, _SINK: sink}
            for command in commands(block):
                expected = [_named(line, names) for line in command.printed]
                _run(_named(command.line, names), expected, told, prefix, environ)


def _blocks() -> list[Block]:
    return [block for block in blocks(RUNBOOK.read_text()) if block.language == "console"]


def _named(text: str, names: Mapping[str, str]) -> str:
    """With the names of the test; a path before the name that is in it."""
    for documented, real in names.items():
        text = text.replace(documented, real)
    return text


def _run(
    line: str,
    expected: list[str],
    told: dict[str, list[str]],
    prefix: Sequence[str],
    environ: Mapping[str, str],
) -> None:
    """What the same command told before may show it already: each is a process, and takes its time."""

    def shown() -> bool:
        told[line] = _said(line, prefix, environ)
        return _shown(told[line], expected)

    if line in told and _shown(told[line], expected):
        return
    try:
        eventually(shown, within=SHOWN_SECONDS, poll=0.5)
    except AssertionError:
        pytest.fail(f"{line} does not print {expected} but:\n" + "\n".join(told[line]))


def _said(line: str, prefix: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    done = subprocess.run(
        [*prefix, "bash", "-c", line],
        env={**os.environ, **environment(**environ)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout.splitlines()


def _shown(said: list[str], expected: list[str]) -> bool:
    """A line that is ``…`` alone stands for any lines; what comes after the last one is not compared."""
    at, skip = 0, False
    for line in expected:
        if line == "…":
            skip = True
            continue
        rest = range(at, len(said) if skip else min(at + 1, len(said)))
        at, skip = next((place + 1 for place in rest if matches(said[place], line)), 0), False
        if not at:
            return False
    return True
