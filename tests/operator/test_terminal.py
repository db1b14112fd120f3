"""Where the terminal of an agent goes away."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.cli.test_run import configuration
from tests.operator.terminal import TerminalSession, children_of, gone
from tests.waiting import eventually


def test_closing_the_terminal_ends_it(tmp_path: Path) -> None:
    """Closing the terminal ends the agent on it, soon, although stdout was a sink: there is no orphan."""
    with TerminalSession(configuration(tmp_path)) as session:
        session.wait_for("resync completed")
        process = session.agent()
        session.close()
        eventually(lambda: gone(process), within=60, what="its end")
        log = (tmp_path / "terminal.log").read_text()
        assert "the terminal has gone: ending" in log
        assert "configuration reloaded" not in log
        assert "Traceback" not in log


def test_a_signal_of_an_operator_reloads_it_on_a_terminal(tmp_path: Path) -> None:
    """`kill -HUP` reloads an agent that has its terminal, and Ctrl-C ends it with 0."""
    with TerminalSession(configuration(tmp_path)) as session:
        session.wait_for("resync completed")
        os.kill(session.agent(), signal.SIGHUP)
        session.wait_for("configuration reloaded")
        session.press(b"\x03")
        session.wait_for("ended with 0")


@pytest.mark.parametrize("before", ["nohup", "setsid -w"])
def test_an_agent_meant_to_outlive_its_terminal_does(tmp_path: Path, before: str) -> None:
    """Under nohup or in a session of its own the agent outlives its terminal, and SIGHUP reloads it still."""
    with TerminalSession(configuration(tmp_path, "type: memory"), before) as session:
        session.wait_for("resync completed")
        process = session.agent()
        if before != "nohup":
            (process,) = children_of(process)
        session.close()
        os.kill(process, signal.SIGHUP)
        log = tmp_path / "terminal.log"
        eventually(lambda: "configuration reloaded" in log.read_text(), within=60, what="the reload")
        assert not gone(process)
        os.kill(process, signal.SIGTERM)
        eventually(lambda: gone(process), within=60, what="its end")
