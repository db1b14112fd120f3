"""A sink that keeps a file, and what it holds; the files of a state directory."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.agent.arrivals import Arrival, Arrivals


def jsonl(scratch: Path) -> dict[str, str]:
    """A sink that keeps a file."""
    return {"name": "sink", "type": "jsonl", "path": os.fspath(scratch / "events.jsonl")}


def kept(scratch: Path) -> Arrivals:
    """What it holds; a line that it is just writing is left out, and it may not be there yet."""
    file = scratch / "events.jsonl"
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    whole = [line.rstrip(b"\n") for line in lines if line.endswith(b"\n")]
    return Arrivals(Arrival(0, line, json.loads(line)) for line in whole)


def back_up(state: Path, to: Path) -> Path:
    """A copy of the database of a stopped agent."""
    to.mkdir()
    for path in state.glob("g.db*"):
        shutil.copy(path, to / path.name)
    return to


def restore(backup: Path, state: Path, into_place: bool) -> None:
    """
    Put a copy back.

    Args:
        into_place: write its bytes into the file that is there; else it becomes a new file.
    """
    for path in state.glob("g.db-*"):
        path.unlink()
    if into_place:
        (state / "g.db").write_bytes((backup / "g.db").read_bytes())
    else:
        os.replace(shutil.copy(backup / "g.db", state / "copy"), state / "g.db")


def assert_no_number_twice(arrivals: Arrivals) -> None:
    """What came again under a number is what came under it before."""
    said: dict[tuple[str, int], bytes] = {}
    for one in arrivals.all:
        assert said.setdefault(one.position, one.body) == one.body, one.position
