"""A manager with a notifier that records: what most tests of the façade need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from inotify_bridge import pyinotify

ROOT = Path(__file__).parents[2]
SECONDS = 120


class Recording:
    """
    Records every event of its manager's watches.

    Calls that have returned are in the kernel's queue, so that `told` needs to wait for nothing.
    """

    def __init__(self, **options: Any) -> None:
        self.manager = pyinotify.WatchManager(**options)
        self.events: list[pyinotify.Event] = []
        self.notifier = pyinotify.Notifier(self.manager, self.events.append)

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.notifier.stop()

    def drain(self) -> list[pyinotify.Event]:
        """The events since the last call."""
        del self.events[:]
        while self.notifier.check_events(timeout=0):
            self.notifier.read_events()
            self.notifier.process_events()
        self.notifier.process_events()
        return list(self.events)

    def told(self, top: str | os.PathLike[str]) -> list[tuple[str, str]]:
        """The names of the events since the last call, and their paths below `top`."""
        return [(event.maskname, os.path.relpath(event.pathname, top)) for event in self.drain()]


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a fresh interpreter that sees the project, with warnings as errors."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        **options,
    )
