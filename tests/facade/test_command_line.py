"""The command line, and the daemon."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inotify_bridge import pyinotify
from tests.facade.recording import ROOT, python
from tests.processes import sleeps
from tests.waiting import eventually

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8:strict"}
MODULE = ("-m", "inotify_bridge.pyinotify")


class Running:
    """A program that watches, with what it has written so far."""

    def __init__(self, directory: Path, process: subprocess.Popen[bytes]) -> None:
        self.directory = directory
        self.process = process

    @property
    def out(self) -> str:
        """Its standard output."""
        return (self.directory / "out").read_text(errors="surrogateescape")

    @property
    def err(self) -> str:
        """Its standard error."""
        return (self.directory / "err").read_text(errors="surrogateescape")


@contextmanager
def running(directory: Path, *arguments: str) -> Iterator[Running]:
    """Run the command line until interrupted, which must end it with 0 and without a traceback."""
    directory.mkdir(exist_ok=True)
    with open(directory / "out", "wb") as out, open(directory / "err", "wb") as err:
        process = subprocess.Popen(
            [sys.executable, *MODULE, "-v", *arguments], env=ENVIRONMENT, stdout=out, stderr=err
        )
    try:
        ran = Running(directory, process)
        eventually(lambda: "Start monitoring" in ran.err, what=f"a start: {arguments}")
        yield ran
        # An interrupt in the midst of a finalizer is lost.
        eventually(lambda: process.poll() is not None or sleeps(process.pid), what="its rest")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, ran.err
        assert "Traceback" not in ran.err
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory to be watched."""
    place = tmp_path / "watched"
    place.mkdir()
    return place


def test_events_are_printed(tmp_path: Path, place: Path) -> None:
    """Events are printed at once, a line each, and paths that cannot be watched are logged."""
    with running(tmp_path / "log", "-f", "-r", "-a", str(place), "/no/such/path") as ran:
        eventually(lambda: f"New <Watch wd=1 path={place}" in ran.err)
        (place / "d").mkdir()
        eventually(lambda: f"path={place}/d mask=" in ran.err)
        (place / "d/f").touch()
        line = f"maskname=IN_CREATE name=f path={place}/d pathname={place}/d/f wd=2 >"
        eventually(lambda: f"<Event dir=False mask=0x100 {line}" in ran.out.splitlines())
        assert "cannot watch /no/such/path" in ran.err


def test_chosen_events_in_colour(tmp_path: Path, place: Path) -> None:
    """Only the events that were asked for are printed, in colours unless they are not wanted."""
    with running(tmp_path / "log", "-g", "-e", "IN_DELETE,IN_MOVED_TO", f"{place}*") as ran:
        eventually(lambda: "New " in ran.err)
        (place / "f").touch()
        (place / os.fsdecode(b"\xff")).touch()
        (place / os.fsdecode(b"\xff")).unlink()
        (place / "f").unlink()
        eventually(lambda: ran.out.count("\n") == 2)
    assert ran.out.count("\x1b[35mIN_DELETE\x1b[0m") == 2
    assert "IN_CREATE" not in ran.out
    assert "\\udcff" in ran.out


def test_commands_are_started(tmp_path: Path, place: Path) -> None:
    """A command is started once at the start, and after each batch."""
    ran_commands = tmp_path / "ran"
    with running(tmp_path / "log", "-c", f"echo x >> {ran_commands}", str(place)):
        eventually(lambda: ran_commands.exists() and ran_commands.read_text() == "x\n")
        (place / "f").touch()
        eventually(lambda: ran_commands.read_text().startswith("x\nx\n"))


def test_statistics(tmp_path: Path, place: Path) -> None:
    """With -s statistics are printed at the start and after each batch, and no events."""
    with running(tmp_path / "log", "-s", "-f", str(place)) as ran:
        eventually(lambda: re.fullmatch(r"<Stats ElapsedTime=\d+sec >\n\n", ran.out))
        (place / "d").mkdir()
        eventually(lambda: "IN_CREATE=1 IN_ISDIR=1 >" in ran.out)
    assert "<Event" not in ran.out


def test_help() -> None:
    """The help names every option, and ends with 0."""
    done = python(*MODULE, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for option in (
        "-h, --help",
        "-v, --verbose",
        "-r, --recursive",
        "-a, --auto_add",
        "-g, --glob",
        "-e EVENT[,...], --events-list=EVENT[,...]",
        "-s, --stats",
        "-V, --version",
        "-f, --raw-format",
        "-c CMD, --command=CMD",
    ):
        assert option in done.stdout


def test_wrong_event() -> None:
    """An event that there is not ends with 2 and says which; the version is printed before."""
    done = python(*MODULE, "-V", "-e", "IN_OPEN,IN_NONE")
    assert (done.returncode, done.stdout) == (2, "0.9.6\n")
    assert "The event 'IN_NONE' specified with option -e is not valid" in done.stderr


DAEMON = """
import os, sys
from inotify_bridge import pyinotify
place, own = sys.argv[1:]
manager = pyinotify.WatchManager()
manager.add_watch(place, pyinotify.IN_CREATE)
def handle(event):
    print(event.name, os.getcwd(), os.getsid(0) != os.getpid(), flush=True)
def callback(notifier):
    return os.path.exists(place + "/end")
pyinotify.Notifier(manager, handle).loop(
    callback, daemonize=True, pid_file=own + "/pid", stdout=own + "/out", stderr=own + "/err"
)
"""


def test_daemon(tmp_path: Path, place: Path) -> None:
    """The daemon goes on with the watches, without a terminal, in /, and removes its file at the end."""
    (tmp_path / "out").write_text("0123456789" * 20)
    done = python("-c", DAEMON, str(place), str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid_file = tmp_path / "pid"
    eventually(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
    pid = int(pid_file.read_text())
    try:
        assert stat.S_IMODE(pid_file.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "err").stat().st_mode) == 0o600
        (place / "a").touch()
        eventually(lambda: (tmp_path / "out").read_text().startswith("a / True\n"))
        assert (tmp_path / "out").stat().st_size == 200
        (place / "end").touch()
        eventually(lambda: not pid_file.exists())
        assert (tmp_path / "err").read_text() == ""
    finally:
        if pid_file.exists():
            os.kill(pid, signal.SIGKILL)


def test_daemon_with_a_taken_file(tmp_path: Path) -> None:
    """Where its file is there already, even as a dangling link, no daemon is made."""
    (tmp_path / "pid").symlink_to("nowhere")
    notifier = pyinotify.Notifier(pyinotify.WatchManager())
    pid = os.getpid()
    with pytest.raises(pyinotify.NotifierError) as caught:
        notifier.loop(daemonize=True, pid_file=f"{tmp_path}/pid")
    assert str(caught.value) == f"Cannot daemonize: pid file {tmp_path}/pid already exists."
    assert os.getpid() == pid
    notifier.stop()
