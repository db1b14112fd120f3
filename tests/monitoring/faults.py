"""Faults within an agent that cannot be caused from outside: for `tests.patched`."""

from __future__ import annotations

import os
import threading
import time

from inotify_bridge.capture.notifier import Notifier
from inotify_bridge.capture.scanner import Scan, Scanner
from inotify_bridge.recorder import Recorder
from inotify_bridge.sinks.memory import MemoryBroker

LONG = 120.0
"""Seconds for which the threads hang already when they begin to."""


def apply() -> None:
    """
    What happens to a group is in its name.

    The notifier of ``stuck-notifier`` hangs, the recorder of ``stuck-recorder`` after its first snapshot;
    that of ``dies`` ends by an error when a file ``now`` is in its root, and no resync of a group is
    completed while there is a file ``hold``. The broker ``refuses`` of the memory sink takes no
    ``file.created``, the broker ``frozen`` confirms nothing.
    """
    _hanging_notifier()
    _bad_recorders()
    _endless_resyncs()
    MemoryBroker.named("refuses").reject(lambda message: message.kind == "file.created", "too_large")
    MemoryBroker.named("frozen").freeze()


def _endless_resyncs() -> None:
    finished = Scanner.finished

    def patched(self: Scanner, scan: Scan) -> bool:
        held = any(os.path.lexists(root.place + b"/hold") for root in self._model.tree.roots)
        return not held and finished(self, scan)

    Scanner.finished = patched  # type: ignore[method-assign]


def _hanging_notifier() -> None:
    gather = Notifier._gather

    def patched(self: Notifier) -> None:
        if self.thread.name == "notifier-stuck-notifier":
            self.turned_at = time.monotonic() - LONG
            threading.Event().wait()
        gather(self)

    Notifier._gather = patched  # type: ignore[method-assign]


def _bad_recorders() -> None:
    turn = Recorder._turn

    def patched(self: Recorder) -> None:
        name = self.thread.name.removeprefix("recorder-") if self.snapshot_done.is_set() else ""
        if name == "stuck-recorder":
            self.turned_at = time.monotonic() - LONG
            threading.Event().wait()
        if name == "dies" and os.path.lexists(self.reconciler.tree_roots[0].place + b"/now"):
            raise RuntimeError("a fault that a test has put here")
        turn(self)

    Recorder._turn = patched  # type: ignore[method-assign]
