"""
What happens to the files while something is measured; also as a process of its own.

    python -m benchmarks.files burst DIRECTORY COUNT
    python -m benchmarks.files paced DIRECTORY COUNT RATE
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.brokers.broker import cache_directory

_SOURCE = Path(__file__).with_name("burst.c")
_KEPT = 1000
"""A paced file is deleted when so many more were written."""


@contextlib.contextmanager
def memory_directory() -> Iterator[Path]:
    """An empty directory on tmpfs, so that no disk is measured."""
    above = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="inotify-bridge-bench-", dir=above))
    try:
        yield directory
    finally:
        subprocess.run(["rm", "-rf", "--", os.fspath(directory)], check=True)


def burst(directory: Path, count: int) -> float:
    """So many files made, written, closed and deleted at full speed by another process; the seconds."""
    arguments = [os.fspath(directory), str(count)]
    done = subprocess.run([*_burst_command(), *arguments], check=True, capture_output=True, text=True)
    return float(done.stdout)


def paced(directory: Path, count: int, rate: float) -> dict[str, int]:
    """
    The same at a steady rate by another process, each deleted a thousand files later.

    Returns: when each file was closed, Unix nanoseconds, by name.
    """
    arguments = ["paced", os.fspath(directory), str(count), str(rate)]
    command = [sys.executable, "-m", "benchmarks.files", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {name: int(at) for name, at in (line.split() for line in done.stdout.splitlines())}


def tree(directory: Path, directories: int, files: int = 0) -> None:
    """So many directories, a hundred in each of those above, with so many files in each."""
    for number in range(directories):
        here = directory / f"d{number // 10000:02d}" / f"d{number // 100 % 100:02d}" / f"d{number % 100:02d}"
        here.mkdir(parents=True)
        for name in range(files):
            os.close(os.open(here / f"f{name:04d}", os.O_CREAT | os.O_WRONLY, 0o644))


def _burst_command() -> Sequence[str]:
    """The C program, compiled once; Python where there is no compiler."""
    if shutil.which("gcc") is None:
        return [sys.executable, "-m", "benchmarks.files", "burst"]
    version = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]
    program = cache_directory() / "benchmarks" / f"burst-{version}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-O2", "-o", os.fspath(program), os.fspath(_SOURCE)], check=True)
    return [os.fspath(program)]


def _burst(directory: str, count: str) -> None:
    os.chdir(directory)
    started = time.monotonic()
    for number in range(int(count)):
        _written(f"f{number:07d}")
        os.unlink(f"f{number:07d}")
    sys.stdout.write(f"{time.monotonic() - started:.3f}\n")


def _paced(directory: str, count: str, rate: str) -> None:
    os.chdir(directory)
    closed: list[int] = []
    started = time.monotonic()
    for number in range(int(count)):
        if (ahead := number / float(rate) - (time.monotonic() - started)) > 0:
            time.sleep(ahead)
        _written(f"f{number:07d}")
        closed.append(time.time_ns())
        if number >= _KEPT:
            os.unlink(f"f{number - _KEPT:07d}")
    for number in range(max(0, int(count) - _KEPT), int(count)):
        os.unlink(f"f{number:07d}")
    sys.stdout.writelines(f"f{number:07d} {at}\n" for number, at in enumerate(closed))


def _written(name: str) -> None:
    file = os.open(name, os.O_CREAT | os.O_WRONLY, 0o644)
    os.write(file, b"x")
    os.close(file)


if __name__ == "__main__":
    if sys.argv[1] == "burst":
        _burst(*sys.argv[2:])
    else:
        _paced(*sys.argv[2:])
