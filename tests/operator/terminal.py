"""Terminals of a test's own: an agent on one as a shell starts it, and `make run`."""

from __future__ import annotations

import codecs
import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.waiting import eventually

_REPOSITORY: Final = Path(__file__).parents[2]

# The agent is a job of its own, in the foreground.
_SCRIPT = 'set -m; {before} "$0" -m inotify_bridge run -c "$1" 2>"$2"; echo "ended with $?" >>"$2"'


class Terminal:
    """
    A command that leads a session on a terminal of its own. Use it as a context manager: what still runs then
    is killed.
    """

    def __init__(self, command: Sequence[str | os.PathLike[str]], directory: Path) -> None:
        self._master, slave = pty.openpty()
        self._slave = os.ttyname(slave)
        self._shown = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end within a character
        # Not a fork of this process: it has threads.
        self._leader = subprocess.Popen(
            ["setsid", "--ctty", *command], stdin=slave, stdout=slave, stderr=slave, cwd=directory
        )
        os.close(slave)

    @property
    def screen(self) -> str:
        """What was printed on it so far. Who never looks lets it become full, and then nobody can print."""
        with contextlib.suppress(OSError):  # EIO: the other side has ended
            while self._master >= 0 and select.select([self._master], [], [], 0)[0]:
                self._shown += self._decoder.decode(os.read(self._master, 65536))
        return self._shown

    @property
    def halted(self) -> bool:
        """Whether it takes nothing of what is printed, although it is read: Ctrl-S has come to it."""
        _ = self.screen
        printer = os.open(self._slave, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            return not select.select([], [printer], [], 0)[1]
        finally:
            os.close(printer)

    @property
    def log(self) -> str:
        """What the agent has said: here on the terminal."""
        return self.screen

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
        """The agent's process: the end of the chain that the leader begins."""
        *_, last = self._processes()
        assert last != self._leader.pid
        return last

    def _processes(self) -> list[int]:
        chain = [self._leader.pid]
        while children := children_of(chain[-1]):
            assert len(children) == 1
            chain += children
        return chain

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
            for process in reversed(self._processes()):
                os.kill(process, signal.SIGKILL)
        self.close()
        self._leader.kill()
        self._leader.wait()


class TerminalSession(Terminal):
    """
    An agent in the foreground of a terminal, started by a shell. Its log goes to a file, for the
    terminal goes away.

    Args:
        before: what stands before the command on the shell's line, such as ``nohup``.
    """

    def __init__(self, file: Path, before: str = "") -> None:
        self._log = file.parent / "terminal.log"
        script = _SCRIPT.format(before=before)
        super().__init__(  # nohup writes into the directory
            ["bash", "-c", script, sys.executable, file, self._log], file.parent
        )

    @property
    def log(self) -> str:
        """What the agent has said."""
        _ = self.screen
        return self._log.read_text() if self._log.exists() else ""

    def agent(self) -> int:
        """The shell's child: under setsid(1) that is not yet the agent."""
        (child,) = children_of(self._leader.pid)
        return child


def make_run(directory: Path) -> list[str]:
    """
    Prepare a directory like a fresh clone in which everything is installed; its examples/run.yaml is the
    repository's, but for the port.

    Returns:
        The command line of ``make run`` there.
    """
    for name in ("bin", "examples"):
        (directory / name).mkdir()
    config = (_REPOSITORY / "examples" / "run.yaml").read_text()
    assert "127.0.0.1:10477" in config
    (directory / "examples" / "run.yaml").write_text(config.replace(":10477", ":0"))
    program = directory / "bin" / "inotify-bridge"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m inotify_bridge "$@"\n')
    program.chmod(0o755)
    for name in ("requirements.lock", "pyproject.toml"):
        (directory / name).touch()
    makefile = os.fspath(_REPOSITORY / "Makefile")
    return ["make", "-f", makefile, "-o", ".venv/.installed-run", "BIN=bin", "run"]


def children_of(process: int) -> list[int]:
    """The processes that it started and that are not waited for."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def gone(process: int) -> bool:
    """Whether a process has ended, waited for or not."""
    try:
        return ") Z " in Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
