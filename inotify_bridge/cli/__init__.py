"""
The command line: one file a command, each with a click command named `command`.

A command's module is imported only when the command is used, so that ``--help`` and the shell's completion
answer at once. Errors for people are written here and nowhere else: one line on stderr, never a traceback.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from inotify_bridge.errors import BridgeError
from inotify_bridge.log import escaped

PROGRAM: Final = "inotify-bridge"
_COMPLETION: Final = "_INOTIFY_BRIDGE_COMPLETE"
_LOG_LEVEL: Final = f"{__name__}.log_level"
_INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it

# Name to module and the first line of its help.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "run": ("run", "Run the agent."),
    "watch": ("watch", "Print what happens below PATH (default /tmp)."),
    "validate": ("validate", "Check configuration files and report every error at once."),
    "test-sink": ("test_sink", "Connect a configured sink and publish one probe message."),
    "doctor": ("doctor", "Check this machine: limits, permissions, file systems, state directory, clock."),
    "status": ("status", "Print the figures of a running agent: its groups, their sinks and what is wrong."),
    "top": ("top", "Show the figures of a running agent, and how fast they change, until q or Ctrl-C."),
    "tap": ("tap", "Print the events of a running agent as they are recorded."),
    "resync": ("resync", "Have a group compared with what was published, or begin it anew."),
    "replay": ("replay", "Have a group's events sent again."),
    "parked": ("parked", "List, publish anew or drop the messages that a sink will never take."),
    "barrier": ("barrier", "Wait until everything that has happened is recorded."),
    "state": ("state", "Act on the state of an agent's groups."),
    "schema": ("schema", "Print a published schema."),
    "sinks": ("sinks", "List the types of sinks and their options."),
    "healthcheck": ("healthcheck", "Ask a running agent whether it is well."),
    "version": ("version", "Print the version."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order of their use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"{__name__}.{COMMANDS[cmd_name][0]}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, short) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 failure, 2 usage, 69 a needed service is unavailable, 78 bad configuration.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    envvar="INOTIFY_BRIDGE_LOG_LEVEL",
    help="Overrides log.level of the configuration; debug also shows tracebacks.",
)
@click.pass_context
def group(ctx: click.Context, log_level: str | None) -> None:
    """
    Change data capture for directories: a file-event stream that never lies.

    \b
    Example:
      inotify-bridge watch /srv/uploads
    """
    ctx.meta[_LOG_LEVEL] = log_level
    configure_log()


def configure_log(level: str = "warning", format: str = "auto") -> None:
    """Send the log to stderr as configured; ``--log-level`` comes first."""
    from inotify_bridge import log

    chosen: Any = click.get_current_context().meta[_LOG_LEVEL] or level
    how: Any = format
    log.configure(chosen, how)


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Args:
        arguments: without the program's name; those of the process, unless given.
    Returns:
        The exit code; whatever goes wrong has been said on stderr.
    """
    _fill_standard_descriptors()
    if _COMPLETION in os.environ:
        group.main(prog_name=PROGRAM, complete_var=_COMPLETION)
    try:
        # Not group.main: it ends the process where stdout is closed, and writes to stderr at an interrupt.
        with group.make_context(PROGRAM, list(sys.argv[1:] if arguments is None else arguments)) as context:
            status = group.invoke(context)
        sys.stdout.flush()
    except Exception as error:  # the last stop
        return _explain(error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    return status if isinstance(status, int) else 0


def _fill_standard_descriptors() -> None:
    """Where one is closed (``>&-``), no file opened later may get its number: output would go there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # the lowest free number: this one; a write to it fails
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))


def _explain(error: Exception) -> int:
    """Say what went wrong; returns the exit code."""
    if isinstance(error, BrokenPipeError):
        _let_go_of_stdout()
        return 0
    if isinstance(error, click.exceptions.Exit):  # --help
        return error.exit_code
    if isinstance(error, click.Abort):
        return _INTERRUPTED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return error.exit_code
    if isinstance(error, click.ClickException):
        _say(error.format_message(), _usage_hint(error))
        return error.exit_code
    if isinstance(error, BridgeError):
        _say_bridge_error(error)
        return error.exit_code
    return _unexpected(error)


def _say_bridge_error(error: BridgeError) -> None:
    problems: Sequence[object] = getattr(
        error, "problems", ()
    )  # config.ConfigErrors: each with file and line
    for problem in problems:
        click.echo(str(problem), err=True)
    if not problems:
        _say(error.message, error.hint)
    logging.getLogger(__name__).debug("raised from here", exc_info=error)


def _unexpected(error: Exception) -> int:
    _say(
        f"unexpected {type(error).__name__}: {error}",
        f"this is a bug; `{PROGRAM} --log-level debug …` shows where",
    )
    logging.getLogger(__name__).debug("raised from here", exc_info=error)
    return 1


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"try '{context.command_path} --help'" if context is not None else ""


def _say(message: str, hint: str) -> None:
    text = f"{message.rstrip('.')} ({hint})" if hint else message
    click.echo(f"{PROGRAM}: error: {escaped(text)}", err=True)


def _let_go_of_stdout() -> None:
    """The reader has gone: without this the interpreter would complain when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
