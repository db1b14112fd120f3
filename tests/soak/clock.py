"""
The agent's wall clock under libfaketime, which reads from a file how far it is ahead.

Its monotonic clock goes on as it is. The library (0.9.10) gets one thing wrong: clock_nanosleep(2) until a
time of the monotonic clock, which is what `time.sleep` is; so that is replaced by another wait.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Final, SupportsIndex

LIBRARY: Final = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
PATCH: Final = "tests.soak.clock:sleep_by_semaphore"
"""For `AgentProcess`."""


def missing() -> str:
    """What is not installed, and how to get it; empty where clocks can jump."""
    return "" if LIBRARY.exists() else "the clock does not jump: apt-get install libfaketime"


class Clock:
    """
    Of one agent.

    Args:
        file: says how far it is ahead; made here.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, ahead: float) -> None:
        """From within the next second on it is so many seconds ahead of the real one, or behind."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead:+.0f}\n")
        new.replace(self._file)

    @staticmethod
    def sweep(pid: int) -> None:
        """Remove what the library leaves of a process that was killed."""
        for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
            Path("/dev/shm", name).unlink(missing_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """Of the process whose clock this is."""
        return {
            "LD_PRELOAD": os.fspath(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": os.fspath(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


def sleep_by_semaphore() -> None:
    """In the agent's process: see above."""

    def sleep(seconds: SupportsIndex | float) -> None:
        threading.Event().wait(float(seconds))

    time.sleep = sleep
