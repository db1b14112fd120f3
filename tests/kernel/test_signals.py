"""The signals that end `watch` and `run`, whichever thread of the process the kernel gives them to."""

from __future__ import annotations

import os
import signal

from tests.kernel.watching import Ground, Watching


def test_signal_to_any_thread_ends_it(disk_ground: Ground) -> None:
    """A signal of the process may be given to any of its threads: it ends the process all the same."""
    with Watching.run(disk_ground) as watching:
        threads = [int(name) for name in os.listdir(f"/proc/{watching.pid}/task")]
        watching.signal_thread(max(threads), signal.SIGINT)
        watching.ended()
