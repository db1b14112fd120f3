"""The command line: watch paths and print what happens to them."""

from __future__ import annotations

import optparse
import subprocess
import sys
from typing import Any

import inotify_bridge.pyinotify as module
from inotify_bridge.pyinotify._flags import ALL_EVENTS, EventsCodes
from inotify_bridge.pyinotify._format import ColoredOutputFormat
from inotify_bridge.pyinotify._handlers import PrintAllEvents, Stats
from inotify_bridge.pyinotify._manager import WatchManager
from inotify_bridge.pyinotify._notifier import Callback, Notifier

DEFAULT_PATH = "/tmp"
STATS_SECONDS = 5


def command_line() -> None:
    """
    Run with the arguments of the process until interrupted. Without a path, /tmp is watched.

    Raises:
        SystemExit: 0 for ``--help``, 2 for wrong arguments.
    """
    parser = _parser()
    options, paths = parser.parse_args()
    if options.verbose:
        module.log.setLevel(10)
    if options.version:
        sys.stdout.write(f"{module.__version__}\n")
    if not options.raw_format:
        module.output_format = ColoredOutputFormat()
    mask = _mask(parser, options.events_list)
    manager = WatchManager()
    if options.stats:
        notifier = Notifier(manager, default_proc_fun=Stats(), read_freq=STATS_SECONDS)
    else:
        notifier = Notifier(manager, default_proc_fun=PrintAllEvents())
    watched = paths or DEFAULT_PATH
    module.log.debug("Start monitoring %s, (press c^c to halt pyinotify)", watched)
    manager.add_watch(watched, mask, rec=options.recursive, auto_add=options.auto_add, do_glob=options.glob)
    notifier.loop(callback=_callback(options))


def _parser() -> optparse.OptionParser:
    parser = optparse.OptionParser(prog="pyinotify", usage="usage: %prog [options] [path1] [path2] [pathn]")
    switch: dict[str, Any] = {"action": "store_true", "default": False}
    parser.add_option("-v", "--verbose", help="Tell more on standard error", **switch)
    parser.add_option("-r", "--recursive", help="Watch all directories below the paths too", **switch)
    parser.add_option("-a", "--auto_add", help="Watch directories that appear later too", **switch)
    parser.add_option("-g", "--glob", help="Take the paths as patterns", **switch)
    parser.add_option(
        "-e", "--events-list", metavar="EVENT[,...]", help="Watch for these events only (default: all)"
    )
    parser.add_option("-s", "--stats", help="Print counts of events instead of events", **switch)
    parser.add_option("-V", "--version", help="Print the version", **switch)
    parser.add_option("-f", "--raw-format", help="Print without colours", **switch)
    parser.add_option("-c", "--command", metavar="CMD", help="Start this command after each batch")
    return parser


def _mask(parser: optparse.OptionParser, names: str | None) -> int:
    if not names:
        return ALL_EVENTS
    mask = 0
    for name in names.split(","):
        if name not in EventsCodes.ALL_FLAGS:
            parser.error(f"The event '{name}' specified with option -e is not valid")
        mask |= EventsCodes.ALL_FLAGS[name]
    return mask


def _callback(options: optparse.Values) -> Callback | None:
    """What is called after each batch. A command comes in the place of the statistics."""
    if options.command:
        return _starter(options.command)
    return _print_statistics if options.stats else None


def _starter(command: str) -> Callback:
    running: list[subprocess.Popen[bytes]] = []

    def start(notifier: Notifier) -> None:
        # Nobody waits for a command, but one that has ended is told so to the kernel.
        running[:] = [process for process in running if process.poll() is None]
        running.append(subprocess.Popen(command, shell=True))

    return start


def _print_statistics(notifier: Notifier) -> None:
    statistics = notifier.proc_fun()
    sys.stdout.write(f"{statistics!r}\n{statistics}\n")
    sys.stdout.flush()
