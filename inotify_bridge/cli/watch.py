"""``inotify-bridge watch``: what happens below a path, on stdout; no configuration and no broker."""

from __future__ import annotations

import json
import logging
import os
import re
import select
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import click

from inotify_bridge.capture.change import Kind
from inotify_bridge.capture.filters import Filters
from inotify_bridge.errors import BridgeError, SinkUnavailable, UsageError
from inotify_bridge.log import escaped
from inotify_bridge.sinks.base import ACCEPTED, Message, Outcome, SinkContext
from inotify_bridge.sinks.stdout import LineWriter, StdoutSink

if TYPE_CHECKING:
    from inotify_bridge.config import Config, SinkEntry, WatchGroup

_log = logging.getLogger(__name__)

_DEFAULT_KINDS = "created,written,attributes_changed,moved,deleted"
_QUIET_NOTICES = ("stream.started", "stream.stopped", "stream.resync_started", "stream.resync_completed")


def _kinds(_: click.Context, __: click.Parameter, value: str) -> list[str]:
    kinds = [kind.strip() for kind in value.split(",") if kind.strip()]
    unknown = sorted(set(kinds) - set(get_args(Kind)))
    if unknown or not kinds:
        raise click.BadParameter(
            f"{', '.join(unknown) or 'nothing'}: choose from {', '.join(get_args(Kind))}"
        )
    return kinds


@click.command("watch", epilog="SIGINT and SIGTERM print everything that happened before them, then end it.")
@click.argument("paths", metavar="[PATH]…", nargs=-1, type=click.Path())
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "text", "auto"]),
    default="auto",
    show_default=True,
    help="auto: text on a terminal, else json.",
)
@click.option("--kinds", default=_DEFAULT_KINDS, show_default=True, callback=_kinds, help="Kinds of events.")
@click.option("--include", multiple=True, metavar="PATTERN", help="gitignore pattern of files; repeatable.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="gitignore pattern; repeatable.")
@click.option("--no-recursive", is_flag=True, help="Leave subdirectories alone.")
@click.option("--snapshot", is_flag=True, help="Begin with everything that is there.")
@click.option(
    "--lines",
    metavar="PATTERN_OR_NAME",
    help="Print the entries of the files instead, as this pattern extracts them: "
    "combined, syslog, json, logfmt, or a regular expression with named groups.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), help="End after so many file or directory events, or entries."
)
def command(
    paths: tuple[str, ...],
    form: str,
    kinds: list[str],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    no_recursive: bool,
    snapshot: bool,
    lines: str | None,
    limit: int | None,
) -> int:
    """
    Print what happens below PATH (default /tmp).

    \b
    Example:
      inotify-bridge watch --format json --snapshot /srv/uploads
      inotify-bridge watch --lines combined /var/log/nginx/access.log
    """
    paths = paths or ("/tmp",)
    for path in paths:
        _check(path)
        if lines is not None and os.path.islink(path) and os.path.isfile(path):
            raise BridgeError(
                f"{path}: is a symbolic link, which is not followed", f"name {os.path.realpath(path)}"
            )
    as_text = form == "text" or (form == "auto" and sys.stdout.isatty())
    group = {
        "name": "watch",
        "paths": [{"path": path} for path in paths],
        "kinds": kinds,
        "include": include,
        "exclude": exclude,
        "recursive": not no_recursive,
        "snapshot": "initial" if snapshot else "never",
        "sinks": ["stdout"],
    }
    if lines is not None:
        start_at = "beginning" if snapshot else "end"
        group["lines"] = {"pattern": lines, "files": include or ("*",), "start_at": start_at}
    return _watch(group, as_text, limit)


def _check(path: str) -> None:
    """A path that cannot be watched ends the command: here nobody waits for it."""
    try:
        os.path.abspath(path)
    except FileNotFoundError as error:
        raise BridgeError(
            f"{path}: the current directory has been deleted", "go elsewhere, or name an absolute path"
        ) from error
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise BridgeError(f"{path}: {error.strerror}", "name a directory or a file that exists") from error
    kind = mode & 0o170000
    if kind not in (0o040000, 0o100000):
        raise BridgeError(f"{path}: is neither a directory nor a regular file")
    if not os.access(path, os.R_OK | (os.X_OK if kind == 0o040000 else 0)):
        raise BridgeError(f"{path}: Permission denied", "inotify needs read permission")


def _config(group: dict[str, Any]) -> Config:
    from pydantic import ValidationError

    from inotify_bridge.config import Config

    try:
        return Config.model_validate(
            {"watch_groups": [group], "sinks": [{"name": "stdout", "type": "stdout"}], "shutdown_timeout": 30}
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = next((one for one in ("lines", "include", "exclude") if one in first["loc"]), "")
        option = f"--{name} {first['input']!r}: " if name else ""
        hint = str(first.get("ctx", {}).get("suggestion", ""))
        raise UsageError(option + first["msg"].removeprefix("Value error, "), hint) from error


def _own_output(group: WatchGroup) -> list[str]:
    """
    Patterns for the file that stdout is, where it stands below a root: each event would make the next.

    Raises:
        UsageError: no pattern can leave it out.
    """
    if not stat.S_ISREG(os.fstat(1).st_mode):
        return []
    file = os.readlink(b"/proc/self/fd/1")
    patterns = []
    for root in group.roots:
        top = os.path.realpath(root.path)
        below = file.removeprefix(top.rstrip(b"/") + b"/")
        path = below if root.name is None else root.name + b"/" + below
        if (below == file and file != top) or not Filters(group.include, group.exclude).admits(path, False):
            continue
        pattern = "/" + re.sub(r"([\\*?\[\]!# ])", r"\\\1", os.fsdecode(path))
        if file == top or Filters(exclude=[pattern]).admits(path, False):
            raise UsageError(
                f"{os.fsdecode(file)}: is where the output goes, and would be watched",
                "send the output elsewhere",
            )
        _log.warning("not watched, for it is where the output goes: %s", file)
        patterns.append(pattern)
    return patterns


def _watch(group: dict[str, Any], as_text: bool, limit: int | None) -> int:
    from inotify_bridge.agent import Agent
    from inotify_bridge.cli.process import Signals

    config = _config(group)
    if own_output := _own_output(config.watch_groups[0]):
        config = _config({**group, "exclude": (*group["exclude"], *own_output)})
    printers: list[Printer] = []

    def make_sink(_: SinkEntry, context: SinkContext) -> Printer:
        family = "" if config.watch_groups[0].lines is None else "log."
        printers.append(Printer(as_text, limit, context, signals.wake, family))
        return printers[-1]

    agent = Agent(config, make_sink=make_sink, http=False)
    signals = Signals(agent)
    gone = threading.Event()
    _when_nobody_reads(gone, signals.wake)
    agent.given_up = signals.wake
    agent.start()
    signals.wait()
    failures = [group.failure for group in agent.groups.values() if group.failure]
    if failures:
        agent.abort()
        signals.stop(0.0)
        raise BridgeError(failures[0], "what happened after that is not printed")
    if gone.is_set() or any(printer.ended for printer in printers):
        agent.abort()
        signals.stop(0.0)
    elif left := signals.stop():
        raise BridgeError(
            f"{sum(left.values())} events were not printed in time", "whoever reads stdout is too slow"
        )
    return 0


def _when_nobody_reads(gone: threading.Event, end: Callable[[], None]) -> None:
    """
    Set `gone` and call `end` when the reader of the pipe on stdout goes away, or its terminal closes, also
    while there is nothing to print.
    """
    if stat.S_ISREG(os.fstat(1).st_mode):
        return

    def wait() -> None:
        poll = select.poll()
        poll.register(1, 0)  # POLLERR and POLLHUP come unasked: poll(2)
        poll.poll()
        gone.set()
        end()

    threading.Thread(target=wait, name="stdout", daemon=True).start()


class Printer:
    """
    A sink that prints for people or for programs; used by one relay thread.

    Args:
        limit: ends after so many file or directory events; None: never.
        end: called once when the limit is reached or nobody reads stdout any more.
        family: what the kinds of events begin with that are printed; empty: all. What the stream says of
            itself is printed in either case, but for what only machines need.
    """

    def __init__(
        self,
        as_text: bool,
        limit: int | None,
        context: SinkContext,
        end: Callable[[], None],
        family: str = "",
    ) -> None:
        self.ended = False
        self._writer = LineWriter(1)
        self._sink = StdoutSink(StdoutSink.Options(), context, self._writer)
        self._as_text = as_text
        self._left = limit
        self._end = end
        self._family = family

    def connect(self) -> None:
        """See `sinks.base.Sink`."""
        self._sink.connect()

    def publish(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        """
        Print the messages up to the limit; what comes after it, or after the reader has gone, goes nowhere.
        """
        try:
            self._sink.publish(list(self._chosen(batch)))
        except SinkUnavailable:
            if not self._writer.reader_gone.is_set():
                raise
            self._left = 0
        if self._left == 0 and not self.ended:
            self.ended = True
            self._end()
        return [ACCEPTED] * len(batch)

    def _chosen(self, batch: Sequence[Message]) -> Iterator[Message]:
        for message in batch:
            if self._left == 0:
                return
            if not message.kind.startswith(self._family) and not _is_news(message):
                continue
            line = _text(message) if self._as_text else message.body
            if line:
                yield message._replace(body=line)
            if self._left is not None and not message.kind.startswith("stream."):
                self._left -= 1

    def close(self) -> None:
        """See `sinks.base.Sink`."""
        self._sink.close()


def _is_news(message: Message) -> bool:
    return message.kind.startswith("stream.") and message.kind not in _QUIET_NOTICES


def _text(message: Message) -> bytes:
    """One line for people: kind and path, or what a log says; empty for what only machines need."""
    if message.kind in _QUIET_NOTICES:
        return b""
    event = json.loads(message.body)
    data = event["data"]
    family, _, word = message.kind.partition(".")
    if family == "log":
        return escaped(_log_text(event["time"], word, data)).encode()
    file = data.get("file", data)
    path = file.get("path", "")
    if family == "stream":
        return f"{event['time']} {word} {path} {data.get('error', '')}".rstrip().encode()
    slash = "/" if family == "directory" else ""
    moved = f" from {data['move']['from']}{slash}" if "move" in data else ""
    return escaped(f"{event['time']} {word:<18} {path}{slash}{moved}").encode()


def _log_text(time: str, word: str, data: Mapping[str, Any]) -> str:
    said = {
        "entry": lambda: json.dumps(data["fields"], ensure_ascii=False),
        "rejected": lambda: f"{data['reason']}: {data['message']}",
        "truncated": lambda: f"{data['lost_bytes']} bytes lost: {data['reason']}",
    }[word]()
    return f"{time} {word:<18} {data['log']['file']['path']} {said}"
