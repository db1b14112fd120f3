"""The runbook as a program: its commands, run where the trouble is that it speaks of."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tests.documents import Block, blocks, commands, environment, matches

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"

_GROUP, _SINK = "uploads", "orders"


def places() -> list[str]:
    """``AGENT GROUP SINK`` of every block of commands: where the tests run it."""
    return [block.note.removeprefix("at ") for block in _blocks()]


def follow(
    where: Iterable[str], here: Callable[[str], Mapping[str, str]], prefix: Sequence[str], **environ: str
) -> None:
    """
    Run the runbook's blocks of commands for some places, and compare what they print with what it shows.

    Args:
        where: ``AGENT GROUP``.
        here: what its addresses and paths are for a group.
        prefix: of every command.
    """
    for place in where:
        found = [block for block in _blocks() if f"{block.note} ".startswith(f"at {place} ")]
        assert found, place
        for block in found:
            _, _, group, sink = block.note.split()
            names = {**here(group), _GROUP: group, _SINK: sink}
            for command in commands(block):
                said = _said(_named(command.line, names), prefix, environ)
                _compare(said, [_named(line, names) for line in command.printed])


def _blocks() -> list[Block]:
    return [block for block in blocks(RUNBOOK.read_text()) if block.language == "console"]


def _named(text: str, names: Mapping[str, str]) -> str:
    """With the names of the test; a path before the name that is in it."""
    for documented, real in names.items():
        text = text.replace(documented, real)
    return text


def _said(line: str, prefix: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    done = subprocess.run(
        [*prefix, "bash", "-c", line],
        env={**os.environ, **environment(**environ)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.splitlines()


def _compare(said: list[str], expected: list[str]) -> None:
    """A line that is ``…`` alone stands for any lines; what comes after the last one is not compared."""
    at, skip = 0, False
    for line in expected:
        if line == "…":
            skip = True
            continue
        rest = range(at, len(said) if skip else min(at + 1, len(said)))
        at = next((place + 1 for place in rest if matches(said[place], line)), 0)
        assert at, f"no {line!r} in:\n" + "\n".join(said)
        skip = False
