"""One server process: launched, signalled and ended by its pid."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.brokers.errors import BrokerError
from tests.processes import stopped
from tests.waiting import eventually


class Server:
    """
    A process in a session of its own, so that Ctrl-C in a test run does not reach it.

    Its pid and start time stand in a file: another process can find it, and a pid that was given to something
    else in the meantime is never signalled.

    Args:
        name: for messages.
        pid_file: where pid and start time are kept.
        log: takes what the process prints.
        user: the account that it runs as; None: that of this process.
        stop_signal: asks it to stop.
    """

    def __init__(
        self,
        name: str,
        pid_file: Path,
        log: Path,
        *,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._user = user
        self._stop_signal = stop_signal
        self._pid_file = pid_file
        self._child: subprocess.Popen[bytes] | None = None

    def launch(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Start the process; `env` is added to the environment. Raises BrokerError where one runs already."""
        if self.alive:
            raise BrokerError(f"{self.name} runs already, pid {self.pid}")
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                command,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self._user,
            )
        self._pid_file.write_text(f"{self._child.pid} {_start_time(self._child.pid)}\n")

    @property
    def pid(self) -> int:
        """The process id; raises BrokerError where the process does not run."""
        pid = self._running_pid()
        if pid is None:
            raise BrokerError(f"{self.name} does not run; the end of its log:\n{self.log_tail()}")
        return pid

    @property
    def alive(self) -> bool:
        """True while the process is there, frozen or not."""
        return self._running_pid() is not None

    def end(self, within: float = 30.0) -> None:
        """Ask the process to stop, thawing it first; kill it after `within` seconds. Idempotent."""
        if not self.alive:
            return
        self.signal(signal.SIGCONT)
        self.signal(self._stop_signal)
        try:
            eventually(lambda: not self.alive, within=within, what=f"{self.name} stopped")
        except AssertionError:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, frozen or not: a crash. Returns when the process is gone. Idempotent."""
        self.signal(signal.SIGKILL)
        eventually(lambda: not self.alive, within=30, what=f"{self.name} is gone after SIGKILL")

    def freeze(self) -> None:
        """SIGSTOP. Returns when every thread has stopped: after the signal alone one may still answer."""
        pid = self.pid
        self.signal(signal.SIGSTOP)
        eventually(lambda: stopped(pid), within=30, what=f"every thread of {self.name} has stopped")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process is still there."""
        pid = self._running_pid()
        if pid is not None:
            os.kill(pid, number)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of what the process printed."""
        if not self.log.exists():
            return "(empty)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _running_pid(self) -> int | None:
        if self._child is not None:
            # Not by /proc: the main thread may be a zombie there while others still hold the sockets.
            return self._child.pid if self._child.poll() is None else None
        try:
            pid, start_time = self._pid_file.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid) if _start_time(int(pid)) == start_time else None


def _start_time(pid: int) -> str:
    """When a process started: clock ticks since boot (proc(5), field 22 of stat); empty if gone or zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat.rpartition(")")[2].split()  # the name before it may hold blanks and brackets
    return "" if fields[0] == "Z" else fields[19]
