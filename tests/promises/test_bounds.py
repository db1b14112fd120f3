"""R13: what waits in memory is bounded."""

from __future__ import annotations

from pathlib import Path

from inotify_bridge.capture.constants import IN_CREATE
from inotify_bridge.capture.inotify import Inotify
from inotify_bridge.capture.notifier import Inbox, Notifier
from tests.waiting import eventually

BOUND = 64 * 1024
AT_ONCE = 50
NAME_BYTES = 200
RECORD_BYTES = 16 + 208


def test_reading_pauses_at_the_bound(tmp_path: Path) -> None:
    """While nobody takes what was read, no more is read than the bound and one read; then it goes on."""
    inotify, inbox, failures = Inotify(), Inbox(BOUND), list[BaseException]()
    notifier = Notifier(inotify, inbox, "notifier-bound", failures.append)
    inotify.add_watch(bytes(tmp_path), IN_CREATE)
    notifier.start()
    try:
        for turn in range(3 * BOUND // (AT_ONCE * RECORD_BYTES)):
            for number in range(AT_ONCE):
                (tmp_path / f"{turn:04d}-{number:04d}".ljust(NAME_BYTES, "x")).touch()
            eventually(lambda: inbox.bytes >= BOUND or notifier.caught_up(), what="the notifier to read")
        assert inotify.pending() > 0, "the kernel holds the rest"
        assert BOUND <= inbox.bytes < BOUND + AT_ONCE * RECORD_BYTES
        while inotify.pending():
            inbox.take(1, timeout=1.0, reads=True)
        assert failures == []
    finally:
        assert notifier.stop(30.0)
        inotify.close()
