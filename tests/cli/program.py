"""Runs the command line as users do: as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Ended(NamedTuple):
    """How a run ended: exit code and what it wrote."""

    code: int
    out: str
    err: str


def run(*arguments: str | bytes, cwd: Path | None = None, **environ: str) -> Ended:
    """Run ``inotify-bridge`` to its end, at most two minutes."""
    done = subprocess.run(
        [sys.executable, "-m", "inotify_bridge", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONWARNINGS": "error", **environ},
        capture_output=True,
        timeout=120,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())
