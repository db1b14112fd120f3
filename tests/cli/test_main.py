"""The frame of the command line: help, lazy imports, errors on one line with their exit codes."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from inotify_bridge import cli
from inotify_bridge.errors import BridgeError, ConfigError, UnavailableError, UsageError
from tests.cli.program import run

# The modules of these appear with the agent; their names are in the table from the start.
PRESENT = [
    name for name in cli.COMMANDS if importlib.util.find_spec(f"inotify_bridge.cli.{cli.COMMANDS[name][0]}")
]


def failing(error: BaseException) -> click.Command:
    """A command that raises."""

    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize("name", PRESENT)
def test_every_command_has_help_with_an_example(name: str) -> None:
    """`COMMAND --help` shows an example of the very command, and begins with the line of the group's list."""
    command = cli.LazyGroup().get_command(click.Context(cli.group), name)
    assert command is not None
    assert command.help is not None
    text = command.get_help(click.Context(command, info_name=f"inotify-bridge {name}"))
    assert f"  inotify-bridge {name}" in text.partition("Example:")[2]
    assert command.help.strip().partition("\n")[0] == cli.COMMANDS[name][1]


def test_help_imports_no_command() -> None:
    """`--help` and `version` import neither pydantic nor a driver nor the database."""
    code = (
        "import sys; from inotify_bridge.cli import main; main(sys.argv[1:2]);"
        "print(sorted(set(sys.argv[2].split()) & set(sys.modules)))"
    )
    slow = "pydantic yaml pika kafka sqlite3 pathspec waitress"
    for argument in ("--help", "version"):
        done = subprocess.run(
            [sys.executable, "-c", code, argument, slow], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]"


def test_help_lists_all_commands() -> None:
    """`--help` lists every command with its line, and names the exit codes."""
    ended = run("--help")
    assert ended.code == 0
    for name in cli.COMMANDS:
        assert f"\n  {name} " in ended.out
    assert "78 bad configuration" in " ".join(ended.out.split())


def test_version() -> None:
    """`version` names the version, alone on stdout."""
    ended = run("version")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("inotify-bridge ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nope"], "No such command 'nope'"),
        (["version", "--nope"], "No such option"),
        (["healthcheck", "--probe", "nope"], "'nope' is not one of"),
        (["validate"], "Missing argument"),
    ],
)
def test_wrong_usage(arguments: list[str], said: str) -> None:
    """A wrong command line is one line on stderr that leads to the help, and exit code 2."""
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("inotify-bridge: error: ")
    assert ended.err.count("\n") == 1
    assert said in ended.err
    assert "--help'" in ended.err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BridgeError("it broke", "mend it"), 1, "inotify-bridge: error: it broke (mend it)\n"),
        (BridgeError("it broke"), 1, "inotify-bridge: error: it broke\n"),
        (UsageError("not so"), 2, "inotify-bridge: error: not so\n"),
        (UnavailableError("away"), 69, "inotify-bridge: error: away\n"),
        (ConfigError("wrong"), 78, "inotify-bridge: error: wrong\n"),
        (BridgeError("a\nb\x1b[0m"), 1, "inotify-bridge: error: a\\nb\\x1b[0m\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_are_one_line(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An error is one line with its hint and its exit code, whatever stands in it; an interrupt is quiet."""
    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: failing(error))
    assert cli.main(["version"]) == code
    assert capsys.readouterr() == ("", said)


def test_unexpected_errors_show_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody foresaw is one line too; with --log-level debug the traceback stands in the log."""
    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: failing(RuntimeError("odd")))
    assert cli.main(["version"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("inotify-bridge: error: unexpected RuntimeError: odd (")
    assert err.count("\n") == 1
    assert cli.main(["--log-level", "debug", "version"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_closed_stdout_ends_quietly() -> None:
    """When the reader of stdout has gone, the command ends with 0 and says nothing."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "inotify_bridge", "schema", "event"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("command", ["version", "watch --snapshot ."])
def test_no_stdout(tmp_path: Path, command: str) -> None:
    """A command that was started with stdout closed (``>&-``) prints into no other file, and ends quietly."""
    (tmp_path / "file").touch()
    program = f"exec {sys.executable} -m inotify_bridge {command} >&-"
    done = subprocess.run(
        ["sh", "-c", program], cwd=tmp_path, stderr=subprocess.PIPE, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_arguments() -> None:
    """Without a command the help stands on stderr, and the exit code is 2."""
    ended = run()
    assert (ended.code, ended.out) == (2, "")
    assert "Commands:" in ended.err


def test_completion_in_the_shell() -> None:
    """The shell's completion knows the commands and the values of options."""
    ended = run(COMP_WORDS="inotify-bridge health", COMP_CWORD="1", _INOTIFY_BRIDGE_COMPLETE="bash_complete")
    assert (ended.code, ended.out) == (0, "plain,healthcheck\n")
