"""
The product at work, run as its users run it: a process of its own on real directories.

    with Watching.watch(ground) as watching:
        with watching.working(lagging=True):
            …
        stream = watching.finish()
    assert not stream.differences(ground.watched)
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from tests.kernel.stream import Event, Stream
from tests.waiting import POLL_SECONDS, eventually

ALL_KINDS = "created,written,modified,attributes_changed,moved,deleted"

_PROJECT = Path(__file__).parents[2]
_END_SECONDS = 120.0
_libc = ctypes.CDLL(None, use_errno=True)


class Ground(NamedTuple):
    """
    Where a test works.

    Args:
        watched: the directory that is watched.
        outside: another one on the same file system.
        scratch: for what the agent writes and reads itself; never on a limited file system.
    """

    watched: Path
    outside: Path
    scratch: Path


class Watching:
    """
    A process ``inotify-bridge``, ready: its first resync is completed.

    Args:
        scratch: where its output goes.
        arguments: of the command.
        prefix: a command that runs it (``setpriv``, ``nsenter``), which must not fork.
    """

    def __init__(self, scratch: Path, arguments: Sequence[str], prefix: Sequence[str] = ()) -> None:
        self._out, self._err = scratch / "out.jsonl", scratch / "log"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "inotify_bridge", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={"PYTHONPATH": os.fspath(_PROJECT), **os.environ, "PYTHONWARNINGS": "error"},
            )
        self._events: list[Event] = []
        self._at = 0
        self._was_stopped = False

    @classmethod
    def watch(cls, ground: Ground, *options: str, prefix: Sequence[str] = ()) -> Watching:
        """``inotify-bridge watch --format json --snapshot`` on the watched directory."""
        arguments = ["watch", "--format", "json", "--snapshot", *options, os.fspath(ground.watched)]
        return cls(ground.scratch, arguments, prefix)

    @classmethod
    def run(cls, ground: Ground, prefix: Sequence[str] = (), **group: object) -> Watching:
        """``inotify-bridge run``, one group that prints; `group`: keys of its configuration."""
        wanted = {"name": "g", "paths": [os.fspath(ground.watched)], "sinks": ["print"], **group}
        config = {
            "watch_groups": [wanted],
            "sinks": [{"name": "print", "type": "stdout"}],
            "http": {"listen": "127.0.0.1:0"},
            "shutdown_timeout": _END_SECONDS,
        }
        file = ground.scratch / "config.yaml"
        file.write_text(json.dumps(config))  # JSON is YAML
        return cls(ground.scratch, ["run", "-c", os.fspath(file)], prefix)

    def __enter__(self) -> Watching:
        try:
            self.wait_for("resync_completed")
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._kill()

    # -- while it runs

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it wrote on stderr until now."""
        return self._err.read_text()

    def seen(self) -> Stream:
        """Everything it has printed until now."""
        with self._out.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        self._events.extend(Stream.parse(whole).events)
        return Stream(self._events)

    def wait_for(self, kind: str, count: int = 1) -> Stream:
        """Wait until there are so many events ``stream.<kind>``."""
        return self.wait_until(lambda stream: len(stream.notices(kind)) >= count, f"{count} stream.{kind}")

    def wait_until(
        self, condition: Callable[[Stream], bool], what: str, poll: float = POLL_SECONDS
    ) -> Stream:
        """Wait until a condition holds for what it has printed; one that costs much is asked for seldom."""
        last = [-1]

        def look() -> bool:
            if self._process.poll() is not None and not self._at:
                raise AssertionError(f"ended with {self._process.returncode}: {self.log}")
            stream = self.seen()
            if len(stream.events) == last[0]:
                return False
            last[0] = len(stream.events)
            return condition(stream)

        eventually(look, within=_END_SECONDS, what=what, poll=poll)
        return self.seen()

    @contextlib.contextmanager
    def working(self, lagging: bool) -> Iterator[None]:
        """Let the test work on the tree; with `lagging` the process is stopped meanwhile."""
        if lagging:
            self.stop()
        yield
        if lagging:
            self.go_on()

    def stop(self) -> None:
        """SIGSTOP; returns when it has stopped."""
        self._process.send_signal(signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), f"ended instead of stopping: {self.log}"

    def go_on(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)
        self._was_stopped = True

    def status(self) -> dict[str, Any]:
        """What the HTTP server says (of ``run`` alone)."""
        code, body = self.get("/api/v1/status")
        assert code == 200, body
        found: dict[str, Any] = json.loads(body)
        return found

    def get(self, path: str) -> tuple[int, str]:
        """Status code and body of a page (of ``run`` alone)."""
        ports = eventually(lambda: re.findall(r"127\.0\.0\.1:(\d+)", self.log), what="the address in the log")
        connection = http.client.HTTPConnection("127.0.0.1", int(ports[0]), timeout=_END_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    # -- its end

    def finish(self) -> Stream:
        """SIGINT: it prints all that happened before and ends with 0, without a complaint in its log."""
        if self._was_stopped:
            # Right after SIGCONT the kernel gives a signal of the process to any thread of it.
            self.signal_thread(self.pid, signal.SIGINT)
        else:
            self._process.send_signal(signal.SIGINT)
        return self.ended()

    def signal_thread(self, thread: int, number: signal.Signals) -> None:
        """tgkill(2): a signal for one thread, by its number in /proc/PID/task."""
        if _libc.tgkill(self.pid, thread, number) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def ended(self, within: float = _END_SECONDS) -> Stream:
        """Everything it has printed, after it was told to end; it must end well, in so many seconds."""
        code = self._process.wait(within)
        assert code == 0, f"exit code {code}: {self.log}"
        assert "Traceback" not in self.log, self.log
        stream = self.seen()
        assert stream.events[-1]["type"].endswith(".stream.stopped.v1"), "the last event is stream.stopped"
        return stream

    def _kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()
