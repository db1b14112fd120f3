"""Documents as programs: the blocks of code in a text, and the commands in them with what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PROGRAM = Path(sys.executable).parent / "inotify-bridge"


class Block(NamedTuple):
    """
    One fenced block.

    Args:
        note: of the comment right before it: ``goes on``, ``needs rabbitmq`` …
        heading: under which it stands.
    """

    language: str
    note: str
    heading: str
    text: str


def blocks(text: str) -> list[Block]:
    """Every fenced block of a document, in order."""
    found = re.finditer(r"(?:<!-- ([^>]*) -->\n)?^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Block(m[2], m[1] or "", _heading(text[: m.start()]), m[3]) for m in found]


def _heading(before: str) -> str:
    return str(re.findall(r"^#+ (.*)$", before, re.MULTILINE)[-1])


class Command(NamedTuple):
    """A line after ``$``, and the lines that it is said to print; ``…`` stands for anything."""

    line: str
    printed: list[str]


def commands(block: Block) -> list[Command]:
    """The commands of a console block."""
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], []))
        else:
            found[-1].printed.append(line)
    return found


def matches(said: str, expected: str) -> bool:
    """Whether a printed line is the one that the document shows."""
    return re.fullmatch(".*".join(map(re.escape, expected.split("…"))), said) is not None


def environment(**more: str) -> dict[str, str]:
    """With the program on its path."""
    return {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", **more}


def shell(line: str, place: Path, **environ: str) -> list[str]:
    """Run a line as it stands, and give back what it printed."""
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=place,
        env={**os.environ, **environment(**environ)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def run_block(block: Block, place: Path, **environ: str) -> None:
    """Run a console block, and compare what it prints with what it shows."""
    for command in commands(block):
        said = shell(command.line, place, **environ)
        assert len(said) == len(command.printed), said
        assert [pair for pair in zip(said, command.printed, strict=True) if not matches(*pair)] == []
