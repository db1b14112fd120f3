"""`make run` on a terminal: what its keys do, and what is left when it closes."""

from __future__ import annotations

import os
import shlex
import signal
import socket
from pathlib import Path

import pytest

from tests.cli.test_run import configuration
from tests.operator.terminal import Terminal, TerminalSession, gone, make_run
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(600)  # each wait has a minute or more, and most tests have several

COMPLAINTS = ("***", "Error", "Interrupt", "Traceback", "can't access tty")


def in_shell(command: list[str], redirected: str = "") -> list[str]:
    """The command in a shell that says how it ended."""
    return ["sh", "-c", shlex.join(command) + redirected + '; echo "ended with $?"']


def journal(directory: Path) -> str:
    """What the sink beside stdout got; it may make its file later than that prints."""
    file = directory / "journal.jsonl"
    return file.read_text() if file.exists() else ""


def closed(directory: Path, command: list[str]) -> str:
    """Make a file, close the terminal, wait until the agent has ended and given up its port; the journal."""
    with Terminal(command, directory) as terminal:
        terminal.wait_for("resync_completed")
        process, port = terminal.agent(), int(terminal.url.rpartition(":")[2])
        (directory / "data" / "late").touch()
        eventually(lambda: "late" in journal(directory), what="the event")
        terminal.close()
        eventually(lambda: gone(process), within=60, what="its end")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
    return journal(directory)


def test_a_terminal_that_closes_ends_it_where_make_leads_the_session(tmp_path: Path) -> None:
    """
    `script -c "make run"`, closed: make alone gets SIGHUP and waits for its children, so that the agent never
    gets one. It ends all the same, with a clean stop in its other sink.
    """
    assert "stream.stopped" in closed(tmp_path, make_run(tmp_path))


def test_a_terminal_that_closes_ends_it_where_a_shell_leads_the_session(tmp_path: Path) -> None:
    """A window with a shell that is closed ends `make run` in it."""
    assert "stream.stopped" in closed(tmp_path, in_shell(make_run(tmp_path)))


@pytest.mark.parametrize("redirected", ["", " </dev/null"])
def test_ctrl_c_ends_it_with_0(tmp_path: Path, redirected: str) -> None:
    """Ctrl-C ends `make run` with 0, after a clean stop, and make complains of nothing."""
    with Terminal(in_shell(make_run(tmp_path), redirected), tmp_path) as terminal:
        terminal.wait_for("resync_completed")
        terminal.press(b"\x03")
        terminal.wait_for("ended with 0")
        assert "stream.stopped" in terminal.screen
        assert [word for word in COMPLAINTS if word in terminal.screen] == []


def test_ctrl_z_stops_it_and_fg_continues_it(tmp_path: Path) -> None:
    """Ctrl-Z stops make and the agent, `fg` continues both as one job, and Ctrl-C then ends it with 0."""
    with Terminal(["bash", "--norc", "--noprofile", "-i"], tmp_path) as terminal:
        terminal.press(f"{shlex.join(make_run(tmp_path))}\n".encode())
        terminal.wait_for("resync_completed")
        process = terminal.agent()
        terminal.press(b"\x1a")
        terminal.wait_for("Stopped")
        eventually(lambda: state(process) == "T", what="its stop")
        (tmp_path / "data" / "meanwhile").touch()
        terminal.press(b"fg\n")
        terminal.wait_for('"subject":"meanwhile"')
        terminal.press(b"\x03")
        eventually(lambda: gone(process), within=60, what="its end")
        terminal.press(b"echo the last was $?\n")
        terminal.wait_for("the last was 0\r\n")
        assert [word for word in COMPLAINTS if word in terminal.screen] == []


def state(process: int) -> str:
    """One letter, see proc(5)."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]


def test_ctrl_s_stops_what_it_prints_and_nothing_else(tmp_path: Path) -> None:
    """
    Ctrl-S holds up neither the other sink nor a reload, although each wants to print too, and SIGTERM ends
    the agent when its time for the drain is over.
    """
    make_run(tmp_path)
    (tmp_path / "data").mkdir()
    with (tmp_path / "examples" / "run.yaml").open("a") as config:
        config.write("shutdown_timeout: 1s\n")
    with Terminal(in_shell(["bin/inotify-bridge", "run", "-c", "examples/run.yaml"]), tmp_path) as terminal:
        terminal.wait_for("resync_completed")
        process = terminal.agent()
        terminal.press(b"\x13")
        eventually(lambda: terminal.halted, what="the terminal stands still")
        for number in (signal.SIGHUP, signal.SIGHUP):
            os.kill(process, number)
        (tmp_path / "data" / "late").touch()
        eventually(lambda: "late" in journal(tmp_path), what="the event")
        os.kill(process, signal.SIGTERM)
        eventually(lambda: gone(process), within=60, what="its end")
        assert "late" not in terminal.screen


def test_a_job_in_the_background_runs(tmp_path: Path) -> None:
    """`make run &` runs, and is not stopped for want of the terminal."""
    with Terminal(["bash", "--norc", "--noprofile", "-i"], tmp_path) as terminal:
        terminal.press(f"{shlex.join(make_run(tmp_path))} &\n".encode())
        terminal.wait_for("resync_completed")
        terminal.press(b"kill %1\n")
        terminal.wait_for("stream.stopped")


def test_a_terminal_that_closed_is_not_drained_to(tmp_path: Path) -> None:
    """An agent that outlives the terminal it prints to does not wait for that when it is to end."""
    file = configuration(tmp_path, shutdown_timeout="10m")
    with TerminalSession(file, "setsid -w") as session:
        session.wait_for("resync completed")
        process = Terminal.agent(session)
        session.close()
        (tmp_path / "data" / "late").touch()
        eventually(lambda: "stdout takes no more" in session.log, what="the failure")
        assert not gone(process)
        os.kill(process, signal.SIGTERM)
        eventually(lambda: gone(process), within=60, what="its end")
        assert "left undelivered, lost" in session.log
