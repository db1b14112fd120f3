"""The command line as a process that goes on until it is told to end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.cli.program import Ended
from tests.waiting import eventually

PROGRAM = (sys.executable, "-m", "inotify_bridge")


class Running:
    """
    A child process whose output goes to files. Use it as a context manager: what still runs then is killed.

    Args:
        arguments: of ``inotify-bridge``, or of `program`.
        directory: for what it writes, ``NAME.out`` and ``NAME.err``; also its current directory.
        stdout: where its standard output goes instead of the file.
        environ: variables besides those of this process.
    """

    def __init__(
        self,
        *arguments: str | bytes | os.PathLike[str],
        directory: Path,
        program: Sequence[str] = PROGRAM,
        stdout: int | IO[bytes] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        number = len(list(directory.glob("child-*.err")))
        self._out = directory / f"child-{number}.out"
        self._err = directory / f"child-{number}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*program, *arguments],
                cwd=directory,
                env={**os.environ, "PYTHONWARNINGS": "error", **(environ or {})},
                stdin=subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=err,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def out(self) -> str:
        """Everything on stdout so far, as whole lines."""
        text = self._out.read_bytes().decode()
        return text[: text.rfind("\n") + 1]

    @property
    def err(self) -> str:
        """Everything on stderr so far."""
        return self._err.read_bytes().decode()

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of its log so far, one JSON object a line, and whole ones."""
        return [json.loads(line) for line in self.err.splitlines(keepends=True) if line.endswith("\n")]

    def events(self) -> list[dict[str, Any]]:
        """What was printed so far, one JSON object a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    def told(self) -> list[str]:
        """The events of files and directories so far: kind and path, ``file.written a.txt``."""
        named = [(kind_of(event), event) for event in self.events()]
        return [
            f"{kind} {event['data']['file']['path']}"
            for kind, event in named
            if not kind.startswith("stream.")
        ]

    def watches(self) -> int:
        """How many inotify watches it has now, as the kernel tells."""
        found = 0
        with suppress(OSError):  # closed meanwhile, or ended
            for path in Path(f"/proc/{self.process.pid}/fdinfo").iterdir():
                found += path.read_text().count("inotify wd:")
        return found

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Until the condition holds; a child that ends meanwhile fails the test with its last words."""

        def look() -> object:
            value = condition()
            if not value and self.process.poll() is not None:
                raise AssertionError(f"it ended with {self.process.returncode}: {self.err}")
            return value

        eventually(look, within=60, what=what)

    def wait_for_event(self, kind: str, path: str = "") -> None:
        """Until such an event was printed."""
        self.wait_for(
            lambda: any(
                kind_of(event) == kind and (not path or event["subject"] == path) for event in self.events()
            ),
            f"{kind} {path}",
        )

    def end(self, number: signal.Signals = signal.SIGTERM) -> Ended:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> Ended:
        """Wait for the end."""
        return Ended(self.process.wait(60), self._out.read_bytes().decode(), self.err)


def kind_of(event: dict[str, Any]) -> str:
    """``file.written`` of an event."""
    return ".".join(event["type"].split(".")[-3:-1])
