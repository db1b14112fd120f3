"""What /proc says of processes (proc(5)): the state of their threads, and what this one has open."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def sleeps(pid: int) -> bool:
    """Whether all threads of a process wait for something: none is on its way to where it will wait."""
    return _are_all(pid, "S")


def stopped(pid: int) -> bool:
    """Whether all threads of a process are stopped by a signal."""
    return _are_all(pid, "T")


def _are_all(pid: int, state: str) -> bool:
    try:
        stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return False  # a thread ended in between
    return all(stat.rpartition(")")[2].split()[0] == state for stat in stats)


def open_files() -> Iterator[str]:
    """Where the descriptors of this process lead."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile, by another thread
            yield os.readlink(f"/proc/self/fd/{name}")
