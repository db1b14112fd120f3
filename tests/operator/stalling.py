"""Patches for `tests.patched`: an agent whose notifier stands still, and a signal that comes too early."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from inotify_bridge import config, recorder, signalled
from inotify_bridge.capture import notifier
from inotify_bridge.capture.inotify import Inotify

HANGING = 3.0
TURN = 0.5
STALL = b"stall"


def at_a_name() -> None:
    """The notifier never returns from the read that tells of the name `STALL`; seen in `HANGING` seconds."""
    signalled.HANGING = HANGING
    notifier.TURN_SECONDS = TURN
    recorder.TURN_SECONDS = TURN  # type: ignore[attr-defined]
    read = Inotify.read

    def stalled(inotify: Inotify) -> bytes:
        data = read(inotify)
        if STALL in data:
            threading.Event().wait()
        return data

    Inotify.read = stalled  # type: ignore[method-assign, assignment]


def hung_up_while_it_loads() -> None:
    """SIGHUP comes when the configuration is about to be read for the first time."""
    load = config.load

    def signalled_then_load(path: Path, *rest: Any) -> config.Config:
        config.load = load
        os.kill(os.getpid(), signal.SIGHUP)
        return load(path, *rest)

    config.load = signalled_then_load  # type: ignore[assignment]
