"""
Storms on the real kernel, told by the real process.

    python -m tests.kernel.storms --seeds 10 --operations 50000

A storm does random operations at full speed while ``inotify-bridge watch`` tells of them; then the replay of
the stream is compared with the disk.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.conftest import limited, locked
from tests.fold import Entry, differences, disk
from tests.kernel.watching import ALL_KINDS, Ground, Watching

_HALTS = 10
_LAST = "after-the-storm"


class Told(NamedTuple):
    """What came of a storm."""

    operations: int
    overflows: int
    events: int
    differences: list[str]
    seconds: float


def storm(
    ground: Ground,
    seed: int,
    operations: int,
    *,
    options: Sequence[str] = (),
    lag: bool = False,
    untold: bool = False,
) -> Told:
    """
    Run one.

    Args:
        options: more of ``python -m tests.storm``.
        lag: the agent is stopped and continued meanwhile: for so many operations, however long they take.
        untold: also changes that only a resync can find; types alone are compared then.
    """
    command = [sys.executable, "-m", "tests.storm", "--seed", str(seed), "--operations", str(operations)]
    command += ["--root", str(ground.watched), "--outside", str(ground.outside), *options]
    command += ["--halt", str(operations // _HALTS)] if lag else []
    started = time.monotonic()
    with Watching.watch(ground, "--kinds", ALL_KINDS) as watching:
        running = subprocess.Popen(
            command + ([] if untold else ["--told"]),
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            if lag:
                _hold_up(ground, watching, running)
            assert running.wait() == 0, "the storm itself failed"
        finally:
            running.kill()
            running.wait()
        # `watch` gives up the rest some time after it is told to end: it gets the time that it needs before.
        (ground.watched / _LAST).mkdir()
        watching.wait_until(lambda stream: _LAST in stream.paths("created"), "the end of the storm", poll=0.5)
        stream = watching.finish()
    held, real = stream.replay(), disk(bytes(ground.watched))
    if untold:
        held, real = _types(held), _types(real)
    overflows = stream.resyncs()["overflow"]
    return Told(
        operations, overflows, len(stream.events), differences(held, real), time.monotonic() - started
    )


def _hold_up(ground: Ground, watching: Watching, running: subprocess.Popen[bytes]) -> None:
    """Stop the agent at every other halt of the storm, continue it at the next, until the storm is over."""
    assert _halted(running), "the storm was over before its first halt"
    # An agent that knows the top alone has little to miss.
    watching.wait_until(
        lambda stream: _types(stream.replay()) == _types(disk(bytes(ground.watched))),
        "what the storm has made",
    )
    stopped = False
    while True:
        (watching.go_on if stopped else watching.stop)()
        stopped = not stopped
        running.send_signal(signal.SIGCONT)
        if not _halted(running):
            break
    if stopped:
        watching.go_on()


def _halted(running: subprocess.Popen[bytes]) -> bool:
    """Wait until the storm has stopped itself. False: it is over."""
    state = os.waitid(os.P_PID, running.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    if state is None or state.si_code != os.CLD_STOPPED:
        return False
    os.waitpid(running.pid, os.WUNTRACED)
    return True


def _types(entries: dict[bytes, Entry]) -> dict[bytes, Entry]:
    return {path: Entry(entry.type) for path, entry in entries.items()}


@contextlib.contextmanager
def _queue(events: int) -> Iterator[None]:
    """Another limit of the kernel's queue, under the lock of the tests that depend on it; 0 leaves it."""
    if not events:
        yield
        return
    with locked(fcntl.LOCK_EX) as lock, limited(lock) as set_limit:
        set_limit(events)
        yield


@contextlib.contextmanager
def _ground(above: str | None) -> Iterator[Ground]:
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory(dir=above) as directory:
        ground = Ground(Path(directory, "watched"), Path(directory, "outside"), Path(scratch))
        ground.watched.mkdir()
        ground.outside.mkdir()
        yield ground


def main() -> int:
    """The command line. Returns 1 where a replay was not the disk."""
    parser = argparse.ArgumentParser(prog="python -m tests.kernel.storms", description=__doc__.split("\n")[1])
    parser.add_argument("--seeds", type=int, default=10, help="how many storms")
    parser.add_argument("--first", type=int, default=1, help="seed of the first")
    parser.add_argument("--operations", type=int, default=50_000)
    parser.add_argument(
        "--queue", type=int, default=0, help="fs.inotify.max_queued_events meanwhile; needs root"
    )
    parser.add_argument("--lag", action="store_true", help="stop and continue the agent by signals")
    parser.add_argument(
        "--untold", action="store_true", help="also what only a resync finds: compare types only"
    )
    parser.add_argument("--names", default="200", help="how many different names; few meet often")
    parser.add_argument("--population", default="2000", help="entries it grows to")
    parser.add_argument("--directory", help="where to work; the temporary directory unless given")
    wanted = parser.parse_args()
    options = ["--names", wanted.names, "--population", wanted.population]
    sys.stdout.write("seed  operations  overflows  events  differences  seconds\n")
    failed = False
    with _queue(wanted.queue):
        for seed in range(wanted.first, wanted.first + wanted.seeds):
            with _ground(wanted.directory) as ground:
                told = storm(
                    ground, seed, wanted.operations, options=options, lag=wanted.lag, untold=wanted.untold
                )
            found = len(told.differences)
            sys.stdout.write(
                f"{seed:4}  {told.operations:10}  {told.overflows:9}  {told.events:6}  {found:11}"
                f"  {told.seconds:7.1f}\n"
            )
            sys.stdout.writelines(f"      {line}\n" for line in told.differences[:10])
            sys.stdout.flush()
            failed = failed or bool(found)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
