"""
What a script sees of its surroundings: a directory, a handler that records, and a record of answers.

Runs on every Python that the façade serves, with nothing but the standard library; `pyinotify` is the
original or the façade, and no script knows which.
"""

# mypy: ignore-errors
# Neither side is typed for the other: what `pyinotify` is differs from run to run.

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyinotify

from tests.processes import sleeps

SECONDS = 120.0
_TIDY = (
    (re.compile(r"<function .*? at 0x[0-9a-f]+>"), "<function>"),
    (re.compile(r"0x[0-9a-f]{6,}>"), "ADDRESS>"),
    (re.compile(r"\bpyinotify\.py\b"), "pyinotify"),  # how the program calls itself in its usage
    (re.compile(r"(ElapsedTime=\w*?)\d+sec"), r"\1Nsec"),
    (re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} "), "[TIME "),
    (re.compile(r"Traceback \(most recent call last\):\n(?: .*\n)+(?:\w+\.)*"), "Traceback: "),
)

Script = Callable[["Scene"], None]
SCRIPTS: dict[str, Script] = {}


def script(function: Script) -> Script:
    """Enter a script under its own name."""
    name = function.__name__
    assert name not in SCRIPTS, name
    SCRIPTS[name] = function
    return function


class Recorder(pyinotify.ProcessEvent):
    """Records every event under the name of the handler it stands for."""

    def my_init(self, scene: Scene, by: str = "default") -> None:
        self.scene, self.by = scene, by

    def process_default(self, event: Any) -> None:
        self.scene.event(event, self.by)

    def process_IN_Q_OVERFLOW(self, event: Any) -> None:
        self.scene.event(event, "overflow")


class _LogRecorder(logging.Handler):
    """Lines of the log from WARNING on: what stands below is wording that nobody relies on."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(logging.WARNING)
        self._scene = scene

    def emit(self, record: logging.LogRecord) -> None:
        self._scene.add("log", level=record.levelname, message=record.getMessage(), logger=record.name)


class Scene:
    """
    One script's directory and record.

    Args:
        directory: empty, absolute, its own.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.records: list[dict[str, Any]] = []
        self._cookies: dict[int, str] = {}
        pyinotify.log.addHandler(_LogRecorder(self))

    # What is recorded.

    def add(self, kind: str, **fields: Any) -> None:
        """Record anything."""
        self.records.append({"kind": kind, **{name: self.tidy(value) for name, value in fields.items()}})

    def event(self, event: Any, by: str = "default") -> None:
        """Record every attribute of an event that a handler can see, and how it prints itself."""
        names = [name for name in dir(event) if not name.startswith("_")]
        values = {name: getattr(event, name) for name in names}
        shown = {name: value for name, value in values.items() if not callable(value)}
        if "cookie" in shown:
            shown["cookie"] = self.pair(shown["cookie"])
        self.add("event", by=by, type=type(event).__name__, str=str(event), **shown)

    def pair(self, cookie: int) -> str:
        """Cookies are told apart, not compared: the kernel counts them for the whole machine."""
        return self._cookies.setdefault(cookie, f"cookie {len(self._cookies) + 1}") if cookie else "none"

    def answer(self, what: str, value: Any) -> None:
        """Record what a call returned."""
        self.add("answer", what=what, answer=value)

    def raised(self, what: str, function: Callable[[], Any]) -> None:
        """Record what a call raised, or what it returned where it raised nothing."""
        try:
            value = function()
        except Exception as error:
            self.add(
                "raised",
                what=what,
                raised=f"{type(error).__name__}: {error}",
                wmd=getattr(error, "wmd", None),
            )
        else:
            self.answer(what, value)

    def tidy(self, value: Any) -> Any:
        """A value as text that is the same on every run."""
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, dict):
            return {str(self.tidy(key)): self.tidy(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.tidy(one) for one in value]
        text = value if isinstance(value, str) else repr(value)
        text = text.encode("utf-8", "backslashreplace").decode().replace(self.directory, "<T>")
        text = re.sub(r"cookie=(\d+)", lambda found: f"cookie={self.pair(int(found[1]))}", text)
        for pattern, instead in _TIDY:
            text = pattern.sub(instead, text)
        return text

    # What is made.

    def path(self, *names: str) -> str:
        """Below the directory."""
        return os.path.join(self.directory, *names)

    def mkdir(self, *names: str) -> str:
        """A directory, with its parents."""
        os.makedirs(self.path(*names), exist_ok=True)
        return self.path(*names)

    def write(self, *names: str, text: str = "x") -> str:
        """A file, opened, written and closed."""
        with open(self.path(*names), "w") as file:
            file.write(text)
        return self.path(*names)

    # Managers and notifiers.

    def recorder(self, by: str = "default", pevent: Any = None) -> Recorder:
        """A handler that records."""
        return Recorder(pevent, scene=self, by=by)

    def notifier(self, *arguments: Any, **options: Any) -> tuple[Any, Any]:
        """A manager and a notifier that records."""
        manager = pyinotify.WatchManager()
        return manager, pyinotify.Notifier(manager, self.recorder(), *arguments, **options)

    def drain(self, notifier: Any) -> None:
        """
        Read and process until nothing is there. The kernel queues an event before the call that made it
        returns: what this process did before is all there, and nothing need be waited for.
        """
        notifier.process_events()
        while notifier.check_events(0):
            notifier.read_events()
            notifier.process_events()

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for another thread or process to have done its part."""
        deadline = time.monotonic() + SECONDS
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(what)
            time.sleep(0.005)
        return value

    def read(self, *names: str) -> str:
        """What a file holds; empty where it is not there."""
        try:
            with open(self.path(*names)) as file:
                return file.read()
        except FileNotFoundError:
            return ""

    # Other programs.

    def program(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another Python with the same `pyinotify`; record its exit code and what it wrote."""
        command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=self.directory
        )
        self.add("program", exit=done.returncode, stdout=done.stdout, stderr=done.stderr)
        return done

    @contextmanager
    def command(self, *arguments: str, watches: int = 1, recorded: bool = True) -> Iterator[Command]:
        """``python -m pyinotify …``, once it has that many watches; its end is recorded."""
        with Command(self, arguments) as command:
            self.wait(lambda: command.watches() >= watches or command.ended(), "the command's watches")
            yield command
            if recorded:
                command.finish()


class Command:
    """The command line, running. Its colours are kept: they are part of what it writes."""

    def __init__(self, scene: Scene, arguments: tuple[str, ...]) -> None:
        self._scene = scene
        self._out, self._err = scene.path("..", "command.out"), scene.path("..", "command.err")
        module = os.environ["PYINOTIFY_MODULE"]
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", module, *arguments],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=scene.directory,
            )  # fmt: skip

    def watches(self) -> int:
        """Watches that the kernel holds for it now (/proc/PID/fdinfo)."""
        found, directory = 0, f"/proc/{self._process.pid}/fdinfo"
        try:
            for number in os.listdir(directory):
                with open(f"{directory}/{number}") as lines:
                    found += sum(1 for line in lines if line.startswith("inotify wd:"))
        except OSError:
            pass  # a descriptor, or the process, that has just gone
        return found

    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    def output(self) -> str:
        """What it wrote to stdout until now."""
        with open(self._out, errors="backslashreplace") as file:
            return file.read()

    def until(self, text: str) -> None:
        """Wait until it has written something."""
        self._scene.wait(lambda: text in self.output() or self.ended(), f"{text!r} in the command's output")

    def finish(self) -> None:
        """End it as Ctrl-C does, and record."""
        # At rest: an interrupt in the midst of a finalizer is lost, on either side.
        self._scene.wait(lambda: self.ended() or sleeps(self._process.pid), "the command's rest")
        if not self.ended():
            self._process.send_signal(2)
        code = self._process.wait(SECONDS)
        with open(self._err, errors="backslashreplace") as file:
            self._scene.add("command", exit=code, stdout=self.output(), stderr=file.read())

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.ended():
            self._process.kill()
            self._process.wait()
