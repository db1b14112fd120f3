"""What is watched, and what happens to it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.waiting import eventually


class Trees(NamedTuple):
    """
    Two directories on one file system.

    Args:
        root: is watched.
        outside: is not; things come from there and go there.
    """

    root: Path
    outside: Path

    @classmethod
    def made(cls, directory: Path) -> Trees:
        """Both, empty, below a directory."""
        trees = cls(directory / "root", directory / "outside")
        trees.root.mkdir()
        trees.outside.mkdir()
        return trees

    def storm(self, name: str, operations: int, seed: int = 1, rate: float = 0) -> None:
        """Random operations, by a process of its own, in a new directory of the root, to their end."""
        with self._storm(name, operations, seed, rate) as process:
            assert process.wait() == 0, "the storm failed"

    @contextlib.contextmanager
    def storming(
        self, name: str, *more: str, seed: int = 1, rate: float = 0
    ) -> Iterator[subprocess.Popen[bytes]]:
        """
        The same, going on from the first operation for as long as the context does; whoever ends it
        before does so by `terminate`. What happens meanwhile has happened in a storm, however slow it was.

        Args:
            more: options of `tests.storm`.
        """
        with self._storm(name, 0, seed, rate, *more) as process:
            try:
                eventually(lambda: any((self.root / name).iterdir()), what="the storm has begun")
                yield process
            except BaseException:
                process.kill()
                raise
            process.terminate()
            assert process.wait() == 0, "the storm failed"

    def _storm(
        self, name: str, operations: int, seed: int, rate: float, *more: str
    ) -> subprocess.Popen[bytes]:
        for above in self:
            (above / name).mkdir()
        places = ["--root", os.fspath(self.root / name), "--outside", os.fspath(self.outside / name)]
        how = ["--operations", str(operations), "--seed", str(seed), "--rate", str(rate), "--told", *more]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.storm", *places, *how], stdout=subprocess.DEVNULL
        )

    def write(self, *names: str, text: str = "x") -> None:
        """Write files of the root, one after the other, with their directories."""
        for name in names:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def files(self, prefix: str, count: int) -> list[str]:
        """Write so many files; their names."""
        names = [f"{prefix}-{number:06d}" for number in range(count)]
        self.write(*names)
        return names
