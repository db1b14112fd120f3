"""
The manual page, made of the command line: ``python -m tests.manual > man/inotify-bridge.1`` (`make man`).

One page has all commands. What stands in `--help` stands in it, as roff, see groff_man(7).
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator

import click

from inotify_bridge import __version__
from inotify_bridge.cli import PROGRAM, group

_DATE = "2026-11-21"  # of the last change that readers of an older page should know of

_WIDTH = 72
_AS_IT_STANDS = "\b"  # click's mark of a paragraph whose lines stay as they are

_SIGNALS = {
    "SIGTERM, SIGINT": "End the agent: what happened before is recorded and delivered, within "
    "shutdown_timeout. A second one interrupts that.",
    "SIGHUP": "The agent reads its configuration again. One that is wrong, or changes what needs a restart, "
    "is refused with a line in the log, and the old one stays.",
}

_CODES = {
    "0": "Done.",
    "1": "Failure. Of run: messages were not delivered, and no state.dir keeps them.",
    "2": "Wrong usage.",
    "69": "A service, port or lock that is needed is not to be had.",
    "78": "The configuration is wrong.",
}

_FILES = {
    "/etc/inotify-bridge/config.yaml": "The configuration of the agent, unless -c names another one.",
    "/var/lib/inotify-bridge": "Its state directory in the samples (state.dir).",
}


def page() -> str:
    """The manual page in roff."""
    lines = [
        f'.\\" Made of {PROGRAM} --help by `make man`: change the commands, not this file.',
        f'.TH {PROGRAM.upper()} 1 {_DATE} "{PROGRAM} {__version__}" "User Commands"',
        ".SH NAME",
        f"{PROGRAM} \\- changes of directories as CloudEvents",
        ".SH SYNOPSIS",
        *_usage(group, [PROGRAM]),
        ".SH DESCRIPTION",
        *_prose(group.help or ""),
        ".SH OPTIONS",
        *_options(group, [PROGRAM]),
        ".SH COMMANDS",
    ]
    for name, command in _below(group, [PROGRAM]):
        lines += _command(command, [PROGRAM, name])
    lines += [".SH SIGNALS", *_table(_SIGNALS), ".SH EXIT STATUS", *_table(_CODES)]
    lines += [".SH ENVIRONMENT", *_table(dict(_environment())), ".SH FILES", *_table(_FILES)]
    return "\n".join([*lines, ".SH SEE ALSO", ".BR inotify (7)"]) + "\n"


def _command(command: click.Command, names: list[str]) -> Iterator[str]:
    yield f'.SS "{_text(" ".join(names[1:]))}"'
    yield from _usage(command, names)
    yield ".PP"
    yield from _prose(command.help or "")
    yield from _options(command, names)
    if command.epilog:
        yield ".PP"
        yield from _prose(command.epilog)
    for name, below in _below(command, names):
        yield from _command(below, [*names, name])


def _usage(command: click.Command, names: list[str]) -> Iterator[str]:
    yield f".B {_text(' '.join(names))}"
    yield _text(" ".join(command.collect_usage_pieces(_context(command, names))))


def _options(command: click.Command, names: list[str]) -> Iterator[str]:
    """Every option but ``--help``, which all commands have; that one stands with the options of the whole."""
    context = _context(command, names)
    for option in command.get_params(context):
        shown = option.get_help_record(context)
        if isinstance(option, click.Option) and shown and (len(names) == 1 or "--help" not in option.opts):
            yield from _table({shown[0]: shown[1]})


def _environment() -> Iterator[tuple[str, str]]:
    """Variables that stand for options, and the options."""
    found: dict[str, set[str]] = {}
    for command in _all_commands(group, [PROGRAM]):
        for option in command.params:
            if isinstance(option.envvar, str):
                found.setdefault(option.envvar, set()).add(option.opts[-1])
    for name, options in sorted(found.items()):
        yield name, f"In place of {' and '.join(sorted(options))}."
    yield "NOTIFY_SOCKET, WATCHDOG_USEC", "Of a service manager: see sd_notify(3). For run."


def _all_commands(command: click.Command, names: list[str]) -> Iterator[click.Command]:
    yield command
    for name, below in _below(command, names):
        yield from _all_commands(below, [*names, name])


def _below(command: click.Command, names: list[str]) -> Iterator[tuple[str, click.Command]]:
    """The commands of a group, in its order."""
    if isinstance(command, click.Group):
        context = _context(command, names)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield name, found


def _context(command: click.Command, names: list[str]) -> click.Context:
    return click.Context(command, info_name=" ".join(names), **group.context_settings)


def _table(entries: dict[str, str]) -> Iterator[str]:
    for name, meaning in entries.items():
        yield ".TP"
        yield f".B {_text(name)}"
        yield from _filled(meaning)


def _prose(help_text: str) -> Iterator[str]:
    """Paragraphs; an example keeps its lines."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", inspect.cleandoc(help_text))):
        if number:
            yield ".PP"
        if not paragraph.startswith(_AS_IT_STANDS):
            yield from _filled(paragraph)
            continue
        title, *lines = paragraph.removeprefix(_AS_IT_STANDS).strip().splitlines()
        yield _text(title)
        yield from (".PP", ".RS 4", ".nf", *(_text(line.strip()) for line in lines), ".fi", ".RE")


def _filled(text: str) -> Iterator[str]:
    """Lines of a sentence or less, as roff likes them."""
    yield from map(_text, textwrap.wrap(" ".join(text.split()), _WIDTH, break_on_hyphens=False))


def _text(text: str) -> str:
    """Nothing in it is a request or an escape sequence, and hyphens can be copied into a shell."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe


if __name__ == "__main__":
    click.echo(page(), nl=False)
