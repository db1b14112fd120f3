"""Processes, and what they used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple, Self

from tests.waiting import eventually

_TICKS = os.sysconf("SC_CLK_TCK")
_SECONDS = 600.0
_LOOK_SECONDS = 0.01


class Usage(NamedTuple):
    """
    What a process has used.

    Args:
        cpu: seconds of all its threads, in user and kernel.
        rss: bytes resident now.
        peak: most bytes resident ever.
    """

    cpu: float
    rss: int
    peak: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Of a process that runs, from /proc (proc(5): stat, fields 14 and 15; status)."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        sizes = {line[0]: int(line[1]) * 1024 for line in lines if line[0] in ("VmRSS:", "VmHWM:")}
        return cls((int(fields[11]) + int(fields[12])) / _TICKS, sizes["VmRSS:"], sizes["VmHWM:"])

    def later(self, pid: int) -> Usage:
        """The same process now; this one again where it has just ended."""
        try:
            return Usage.of(pid)
        except (KeyError, FileNotFoundError, ProcessLookupError):  # KeyError: a zombie has no memory
            return self

    def since(self, before: Usage) -> Usage:
        """CPU that was used after `before`."""
        return self._replace(cpu=self.cpu - before.cpu)


class Measured:
    """
    A process whose use is known also after its end. As a context manager it is killed where it still runs.

    Args:
        command: its arguments.
        out, err: where its streams go; a file that the caller keeps.
    """

    def __init__(
        self, command: Sequence[str], out: IO[bytes] | None = None, err: IO[bytes] | None = None
    ) -> None:
        nothing = subprocess.DEVNULL
        self.command = list(command)
        self._process = subprocess.Popen(
            self.command, stdin=nothing, stdout=out or nothing, stderr=err or sys.stderr.fileno()
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def usage(self) -> Usage:
        """Until now."""
        return Usage.of(self.pid)

    def wait_for(self, file: Path, text: bytes, what: str) -> None:
        """Wait until a file holds some text; fails where the process ends before."""

        def there() -> bool:
            if text in file.read_bytes():
                return True
            if self._process.poll() is not None:
                sys.exit(
                    f"{self.command[0]} ended with {self._process.returncode}: {file.read_bytes()[-500:]!r}"
                )
            return False

        eventually(there, within=_SECONDS, what=what, poll=0.005)

    def end(self, number: signal.Signals = signal.SIGINT) -> Usage:
        """Send a signal and wait for the end; what it used from its start to its end."""
        last = self.usage()
        self._process.send_signal(number)
        while True:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            # Not the rusage's ru_maxrss: that begins with what this process had when it forked.
            last = last.later(self.pid)
            time.sleep(_LOOK_SECONDS)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return last._replace(cpu=used.ru_utime + used.ru_stime)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
