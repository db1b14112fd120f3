"""
One writer: ``python -m tests.rotation.writer FILE NAME COUNT RATE``.

It appends numbered lines until it has written so many and standard input has ended, and prints how many they
are. It opens the file again some time after another stands at its name, as daemons do: until then it goes on
writing into the old one.
"""

from __future__ import annotations

import os
import random
import select
import sys
import time

_REOPEN_SECONDS = 0.05


def main(file: str, name: str, count: int, rate: float) -> int:
    """
    Write lines from 1 on.

    Args:
        count: how many at least.
        rate: lines a second, about.

    Returns:
        How many.
    """
    chance = random.Random(name)
    fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    began = looked_at = time.monotonic()
    written = 0
    while written < count or not _told_to_end():
        size = chance.randrange(1, 40)
        filler = "x" * chance.randrange(0, 80)
        lines = "".join(f"{name} {number} {filler}\n" for number in range(written + 1, written + size + 1))
        os.write(fd, lines.encode())
        written += size
        now = time.monotonic()
        if now - looked_at > _REOPEN_SECONDS:
            looked_at = now
            fd = _reopened(fd, file)
        time.sleep(max(0.0, began + written / rate - now))
    os.close(fd)
    return written


def _told_to_end() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])  # nobody writes to it: it has ended


def _reopened(fd: int, file: str) -> int:
    try:
        same = os.stat(file).st_ino == os.fstat(fd).st_ino
    except FileNotFoundError:
        return fd  # between the rename and the creation
    if same:
        return fd
    os.close(fd)
    return os.open(file, os.O_WRONLY | os.O_APPEND)


if __name__ == "__main__":
    sys.stdout.write(f"{main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))}\n")
