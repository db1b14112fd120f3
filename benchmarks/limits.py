"""The machine's limits, which tests may have lowered for a moment."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import click

_LOCK = "inotify-bridge-tests.lock"
_LOCK_DIRECTORIES = (Path("/run/lock"), Path("/tmp"))
_QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")
_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")


@contextlib.contextmanager
def usual_queue() -> Iterator[int]:
    """
    Hold the lock of the tests that lower ``fs.inotify.max_queued_events``, so that none does it meanwhile.

    Gives: the limit, in events.
    """
    directory = next(place for place in _LOCK_DIRECTORIES if os.access(place, os.W_OK))
    with (directory / _LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            click.echo("waiting for a test that has lowered the kernel's queue", err=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if left := lock.read():  # by a test that was killed
            _QUEUE.write_text(left)
            lock.truncate(0)
        yield int(_QUEUE.read_text())


def watches() -> int:
    """How many watches a user may hold."""
    return int(_WATCHES.read_text())
