"""What is watched, and what happens to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


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
        with self.storming(name, operations, seed, rate) as process:
            assert process.wait() == 0, "the storm failed"

    def storming(
        self, name: str, operations: int, seed: int = 1, rate: float = 0, *more: str
    ) -> subprocess.Popen[bytes]:
        """The same, while it goes on; with more options of `tests.storm`."""
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
