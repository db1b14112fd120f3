"""
Work on a tree, by a process of its own: ``python -m tests.soak.work --root DIR --outside DIR --filler DIR``.

It reads commands, one a line, and answers each with the number of operations done until now:

    go RATE MIX     work on, so many operations a second; MIX is `told` or `untold`
    burst COUNT     so many operations at full speed
    fill COUNT      so many changes of attributes, of which the kernel merges none
    still           close every file and rest
"""

from __future__ import annotations

import argparse
import os
import random
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.simulation.tree import Operation, Tree
from tests.storm.executor import Executor
from tests.storm.operations import Mix, Operations

_FILLERS: Final = ("one", "two")


class Worker:
    """
    The work itself, in the process.

    Args:
        root, outside: empty directories; the first is watched.
        filler: an empty watched directory beside.
    """

    def __init__(self, root: bytes, outside: bytes, filler: Path, seed: int) -> None:
        self._tree = Tree()
        for path in (b"r", b"o"):
            self._tree.mkdir(path, 0o755)
        self._executor = Executor(root, outside)
        chance, basic = random.Random(seed), Mix(names=120, population=800, depth=20)
        self._mixes = {
            name: Operations(self._tree, chance, basic._replace(untold=name == "untold"))
            for name in ("told", "untold")
        }
        self._operations = self._mixes["told"]
        self._fillers = [filler / name for name in _FILLERS]
        for file in self._fillers:
            file.touch()
        self._rate = 0.0
        self._due = 0.0
        self._done = 0

    def serve(self) -> None:
        """Until standard input ends."""
        while True:
            wait = None if not self._rate else max(0.0, self._due - time.monotonic())
            if not select.select([sys.stdin], [], [], wait)[0]:
                self._step()
                continue
            words = sys.stdin.readline().split()
            if not words:
                return
            getattr(self, f"_{words[0]}")(*words[1:])
            sys.stdout.write(f"{self._done}\n")
            sys.stdout.flush()

    def _go(self, rate: str, mix: str) -> None:
        self._rate, self._operations = float(rate), self._mixes[mix]
        self._due = time.monotonic()

    def _burst(self, count: str) -> None:
        end = self._done + int(count)
        while self._done < end:
            self._do(self._operations.some())

    def _fill(self, count: str) -> None:
        # Two files in turn: the kernel merges a record only with the last one.
        for number in range(int(count)):
            self._fillers[number % 2].chmod(0o600 + number // 2 % 8)
        self._done += int(count)

    def _still(self) -> None:
        self._rate = 0.0
        self._do(self._operations.close_all())

    def _step(self) -> None:
        before = self._done
        self._do(self._operations.some())
        # What was missed while a burst went on is not caught up with.
        self._due = max(self._due, time.monotonic() - 1.0) + (self._done - before) / self._rate

    def _do(self, some: list[Operation]) -> None:
        for operation in some:
            self._tree.apply(operation)
            self._executor.apply(operation)
        self._done += len(some)


class Work:
    """
    The process as the campaign holds it; every call returns when it is done.

    Attributes:
        operations: done until the last answer.
    """

    def __init__(self, root: Path, outside: Path, filler: Path, seed: int) -> None:
        self.operations = 0
        places = [f"--root={root}", f"--outside={outside}", f"--filler={filler}", f"--seed={seed}"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.work", *places],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def go(self, rate: float, told: bool) -> None:
        """Work on in the background, with or without what only a resync can find."""
        self._ask(f"go {rate} {'told' if told else 'untold'}")

    def burst(self, count: int) -> None:
        """So many operations at full speed, at least."""
        self._ask(f"burst {count}")

    def fill(self, count: int) -> None:
        """So many records in the kernel's queue, if nobody reads it."""
        self._ask(f"fill {count}")

    def still(self) -> None:
        """Nothing is open, nothing changes any more."""
        self._ask("still")

    def _ask(self, command: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the work has failed at: {command}"
        self.operations = int(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.work", description="Work on a tree.")
    parser.add_argument("--root", required=True, type=os.fsencode)
    parser.add_argument("--outside", required=True, type=os.fsencode)
    parser.add_argument("--filler", required=True, type=Path)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    os.umask(0o022)
    Worker(arguments.root, arguments.outside, arguments.filler, arguments.seed).serve()


if __name__ == "__main__":
    main()
