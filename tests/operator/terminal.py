"""A terminal of a test's own, with a shell on it as `make run` has it."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.waiting import eventually

# As the Makefile calls it: the agent is a job of its own, in the foreground.
_SCRIPT = 'set -m; {before} "$0" -m inotify_bridge run -c "$1" 2>"$2"; echo "ended with $?" >>"$2"'


class TerminalSession:
    """
    An agent in the foreground of a terminal. Its log goes to a file, for the terminal goes away.

    Args:
        before: what stands before the command on the shell's line, such as ``nohup``.
    """

    def __init__(self, file: Path, before: str = "") -> None:
        self._log = file.parent / "terminal.log"
        self._master, slave = pty.openpty()
        # Not a fork of this process: it has threads.
        self._shell = subprocess.Popen(
            [
                "setsid",
                "--ctty",
                "bash",
                "-c",
                _SCRIPT.format(before=before),
                sys.executable,
                file,
                self._log,
            ],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=file.parent,  # nohup writes there
        )
        os.close(slave)

    @property
    def log(self) -> str:
        """What the agent has said."""
        with contextlib.suppress(OSError):  # EIO: the other side has ended
            while select.select([self._master], [], [], 0)[0]:  # else the agent's stdout would be full
                os.read(self._master, 65536)
        return self._log.read_text() if self._log.exists() else ""

    def wait_for(self, words: str) -> None:
        """Until the log says this."""
        eventually(lambda: words in self.log, within=60, what=words)

    @property
    def url(self) -> str:
        """Of the agent's HTTP server."""
        found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", self.log)
        assert found is not None
        return found[1]

    def agent(self) -> int:
        """The agent's process."""
        children = children_of(self._shell.pid)
        assert len(children) == 1
        return children[0]

    def press(self, keys: bytes) -> None:
        """Type on the terminal."""
        os.write(self._master, keys)

    def close(self) -> None:
        """Close the terminal's window. Idempotent."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError, AssertionError):
            os.kill(self.agent(), signal.SIGKILL)
        self.close()
        self._shell.kill()
        self._shell.wait()


def children_of(process: int) -> list[int]:
    """The processes that it started and that are not waited for."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
