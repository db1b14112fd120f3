"""`inotify-bridge top` on a terminal of its own, and piped."""

from __future__ import annotations

import copy
import io
import re
import sys
from pathlib import Path
from typing import Final

import pytest
from rich.console import Console

from inotify_bridge.cli.board import board
from inotify_bridge.cli.pace import Pace, look
from inotify_bridge.web.server import WebServer
from tests.brokers.ports import free_port
from tests.cli.running import Running
from tests.operator.terminal import Terminal
from tests.waiting import eventually
from tests.web.conftest import ServerFactory
from tests.web.view import GivenView, finding

# What the terminal is set to before and after, and how it ended, stands beside.
_SCRIPT: Final = (
    'stty cols {columns} rows {rows}; stty -g >before; "$0" -m inotify_bridge top --interval 0.1 --url "$1"; '
    'echo "ended with $?"; stty -g >after'
)
_HOME: Final = "\x1b[H"


class Screen(Terminal):
    """A terminal on which `top` shows a server."""

    def __init__(self, server: WebServer, directory: Path, columns: int = 80, rows: int = 24) -> None:
        script = _SCRIPT.format(columns=columns, rows=rows)
        super().__init__(["env", "TERM=xterm", "bash", "-c", script, sys.executable, server.url], directory)

    def lines(self) -> list[str]:
        """What stands on it now: the last picture but one, which is whole."""
        pictures = self.screen.split(_HOME)
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", pictures[-2] if len(pictures) > 2 else "")
        return plain.splitlines()

    def shows(self, words: str) -> bool:
        """Whether it can be read, across the ends of lines."""
        return words in " ".join(" ".join(self.lines()).split())

    def wait_for(self, words: str) -> None:
        """Until it can be read."""
        eventually(lambda: self.shows(words), within=60, what=words)


def troubled(view: GivenView) -> None:
    """A group with a sink that is away, and one that is well."""
    group = view.figures["groups"][0]
    away = copy.deepcopy(group["sinks"][0])
    away["name"], away["connected"], away["last_error"] = "lake", False, "Connection refused"
    group["sinks"].append(away)
    group["findings"] = [finding("Sink lake takes no messages", "sink lake: \x1b[2JConnection refused")]


def test_nothing_in_a_cell_is_markup(view: GivenView) -> None:
    """Whatever has the agent's address and answers: no word of it moves the cursor or becomes a link."""
    evil = "[link=https://example.com]x[/link]\x1b[2J\x9b2J\u202e"
    group = view.figures["groups"][0]
    group["name"] = group["sinks"][0]["name"] = group["sinks"][0]["type"] = evil
    group["state"] = evil  # type: ignore[typeddict-item]  # from a stranger
    group["resync"]["last"] = {"reason": evil, "completed_at": "", "entries": 0, "duration_seconds": 0.0}
    said = io.StringIO()
    console = Console(file=said, force_terminal=True, color_system=None, width=400, height=50)
    console.print(board(Pace(None, look(view.figures)), evil, console.size))
    assert not {"\x1b", "\x9b", "\u202e"} & set(said.getvalue())
    assert said.getvalue().count(r"[link=https://example.com]x[/link]\x1b[2J\x9b2J\u202e") == 7


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_it_fits(server: WebServer, view: GivenView, tmp_path: Path, columns: int) -> None:
    """However wide the terminal is: problems first, what is wrong above what is well, no line is too long."""
    troubled(view)
    with Screen(server, tmp_path, columns) as screen:
        screen.wait_for("! 1 problem")
        screen.wait_for("Do: ask `inotify-bridge doctor`")
        lines = screen.lines()
        assert max(map(len, lines)) <= columns
        assert len(lines) <= 24
        order = ["Sink lake takes no messages", "GROUP", "SINK", "! not connected", "✓ connected"]
        text = "\n".join(lines)
        assert sorted(order, key=text.index) == order
        assert screen.shows(r"\x1b[2JConnection refused")
        assert (columns < 80) == ("SEQUENCE" not in text)


def test_many_groups(server: WebServer, view: GivenView, tmp_path: Path) -> None:
    """50 groups with 10 sinks: both have room, what is wrong comes first, what is left out is counted."""
    troubled(view)
    group = view.figures["groups"][0]
    for number in range(50):
        well = copy.deepcopy(group)
        well["name"], well["findings"] = f"a{number}" * 15, []
        well["sinks"] = [{**group["sinks"][0], "name": f"s{sink}"} for sink in range(10)]
        view.figures["groups"].append(well)
    with Screen(server, tmp_path, 80, 24) as screen:
        screen.wait_for("groups more")
        lines = screen.lines()
        assert len(lines) <= 24
        text = "\n".join(lines)
        assert text.index("uploads") < text.index("a0a0")
        assert text.index("lake") < text.index("a0a0")
        assert "sinks more" in text


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_a_key_ends_it(server: WebServer, tmp_path: Path, key: bytes) -> None:
    """q and Ctrl-C end it at once with 0, and the terminal is as it was."""
    with Screen(server, tmp_path) as screen:
        screen.wait_for("No problems")
        screen.press(key)
        eventually(lambda: "ended with 0" in screen.screen, within=60)
        assert screen.screen.rindex("\x1b[?1049l") < screen.screen.index("ended with 0")
        assert "Traceback" not in screen.screen
        after = tmp_path / "after"
        eventually(lambda: after.exists() and after.read_text(), within=60)
        assert after.read_text() == (tmp_path / "before").read_text()


def test_an_agent_that_has_gone_is_asked_again(serve: ServerFactory, view: GivenView, tmp_path: Path) -> None:
    """It says since when there is no answer, keeps what it saw, and goes on when there is one."""
    listen = f"127.0.0.1:{free_port()}"
    server = serve(listen)
    with Screen(server, tmp_path) as screen:
        screen.wait_for("No problems")
        server.stop()
        screen.wait_for("these figures are old; asked again: no agent answers")
        assert screen.shows("orders")
        view.figures["groups"][0]["sequence"] = 987654
        serve(listen)
        screen.wait_for("987,654")
        assert not screen.shows("no answer")


def test_piped_it_asks_again_too(serve: ServerFactory, tmp_path: Path) -> None:
    """Without a terminal there are no escape sequences, a line says that nobody answers, and it goes on."""
    listen = f"127.0.0.1:{free_port()}"
    server = serve(listen)
    with Running("top", "--url", server.url, "--interval", "0.1", directory=tmp_path) as child:
        eventually(lambda: "No problems." in child.out, within=60)
        server.stop()
        eventually(lambda: "inotify-bridge: no answer since " in child.out, within=60)
        told = child.out.count("No problems.")
        serve(listen)
        eventually(lambda: child.out.count("No problems.") > told, within=60)
        assert "\x1b" not in child.out
