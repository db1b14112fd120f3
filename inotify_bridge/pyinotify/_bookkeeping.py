"""What is done with a raw event before its handler: follow moves, add new directories, make the event."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import inotify_bridge.pyinotify as module
from inotify_bridge.capture.constants import (
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_IGNORED,
    IN_ISDIR,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_Q_OVERFLOW,
)
from inotify_bridge.pyinotify._errors import ProcessEventError
from inotify_bridge.pyinotify._events import Event, _RawEvent, pathname
from inotify_bridge.pyinotify._flags import EventsCodes
from inotify_bridge.pyinotify._handlers import _ProcessEvent

if TYPE_CHECKING:
    from inotify_bridge.pyinotify._manager import WatchManager
    from inotify_bridge.pyinotify._notifier import Notifier
    from inotify_bridge.pyinotify._watches import Watch

MOVES_KEPT_SECONDS = 60.0
UNKNOWN_PATH = "-unknown-path"

_ABOUT_THE_WATCHED = IN_DELETE_SELF | IN_MOVE_SELF


class _SysProcessEvent(_ProcessEvent):
    """
    Makes the `Event` of each raw event, and keeps the manager's watches true to what it tells.

    Args:
        wm: whose watches these are.
        notifier: where made-up creations are appended.
    """

    def __init__(self, wm: WatchManager, notifier: Notifier) -> None:
        self._watch_manager = wm
        self._notifier = notifier
        # Cookie to source path, and source path to destination; each with the time, oldest first.
        self._mv_cookie: dict[int, tuple[str, float]] = {}
        self._mv: dict[str, tuple[str, float]] = {}
        # What was told of new directories by a look into them: (wd, name) to the last read in which the
        # kernel may tell the same, and whether the made-up event has been delivered.
        self.told: dict[tuple[int, str], tuple[int, bool]] = {}
        # New directories that were not where their creation said, because one above was renamed at once: path
        # to the last read in which the kernel may tell that, and the watch that they are to inherit from.
        self._missed: dict[str, tuple[int, Watch]] = {}
        self.by_mask: dict[int, Callable[[_RawEvent, Watch], Event]] = {
            IN_CREATE | IN_ISDIR: self.process_IN_CREATE,
            IN_MOVED_FROM: self.process_IN_MOVED_FROM,
            IN_MOVED_FROM | IN_ISDIR: self.process_IN_MOVED_FROM,
            IN_MOVED_TO: self.process_IN_MOVED_TO,
            IN_MOVED_TO | IN_ISDIR: self.process_IN_MOVED_TO,
            IN_MOVE_SELF: self.process_IN_MOVE_SELF,
            IN_MOVE_SELF | IN_ISDIR: self.process_IN_MOVE_SELF,
            IN_Q_OVERFLOW: self.process_IN_Q_OVERFLOW,
            IN_IGNORED: self.process_IN_IGNORED,
            IN_IGNORED | IN_ISDIR: self.process_IN_IGNORED,
        }
        """Masks that need more than an event, to what they need."""

    def __call__(self, event: _RawEvent, watch: Watch) -> Event:  # type: ignore[override]
        """The event of a raw one at `watch`, after what it tells about watches was done."""
        special = self.by_mask.get(event.mask)
        return made(event, watch) if special is None else special(event, watch)

    def cleanup(self) -> None:
        """Forget moves that are older than a minute, and what the kernel would have repeated by now."""
        if self._mv_cookie or self._mv:
            oldest = time.monotonic() - MOVES_KEPT_SECONDS
            _drop_older(self._mv_cookie, oldest)
            _drop_older(self._mv, oldest)
        reads = self._notifier.reads_done()
        if self.told:
            self.told = {key: told for key, told in self.told.items() if told[0] > reads}
        if self._missed:
            self._missed = {path: missed for path, missed in self._missed.items() if missed[0] > reads}

    def process_IN_CREATE(self, raw_event: _RawEvent, watch: Watch) -> Event:
        """Watch a new directory as its parent is, if that is wanted, and tell what is in it already."""
        if raw_event.mask & IN_ISDIR and watch.auto_add:
            path = os.path.join(watch.path, raw_event.name)
            if not watch.exclude_filter(path):
                self._adopt(path, watch)
        return made(raw_event, watch)

    def process_IN_MOVED_FROM(self, raw_event: _RawEvent, watch: Watch) -> Event:
        """Remember the source of a move by its cookie."""
        source = os.path.normpath(os.path.join(watch.path, raw_event.name))
        self._mv.pop(source, None)  # what was there before went elsewhere
        self._mv_cookie.pop(raw_event.cookie, None)
        self._mv_cookie[raw_event.cookie] = (source, time.monotonic())
        return made(raw_event, watch, {"cookie": raw_event.cookie})

    def process_IN_MOVED_TO(self, raw_event: _RawEvent, watch: Watch) -> Event:
        """Tell the source, if it is known; watch a directory that came from elsewhere, if that is wanted."""
        path = os.path.normpath(os.path.join(watch.path, raw_event.name))
        more: dict[str, Any] = {"cookie": raw_event.cookie}
        source = self._mv_cookie.get(raw_event.cookie)
        if source is not None:
            self._mv.pop(source[0], None)
            self._mv[source[0]] = (path, time.monotonic())
            more["src_pathname"] = source[0]
        if raw_event.mask & IN_ISDIR and watch.auto_add and not watch.exclude_filter(path):
            self._moved_in(path, None if source is None else source[0], watch)
        return made(raw_event, watch, more)

    def process_IN_MOVE_SELF(self, raw_event: _RawEvent, watch: Watch) -> Event:
        """Rename the watch and all below it, if the destination is known; else mark its path as wrong."""
        destination = self._mv.get(watch.path)
        if destination is not None:
            above = os.path.join(watch.path, "")
            watch.path = destination[0]
            for other in list(self._watch_manager.watches.values()):
                if other.path.startswith(above):
                    other.path = os.path.join(destination[0], other.path[len(above) :])
            for path in [path for path in self._missed if path.startswith(above)]:
                _, parent = self._missed.pop(path)
                self._adopt(os.path.join(destination[0], path[len(above) :]), parent)
        else:
            module.log.error(
                "The pathname '%s' of this watch %s has probably changed and couldn't be updated, so it"
                " cannot be trusted anymore. To fix this error move directories/files only between watched"
                " parents directories, in this case e.g. put a watch on '%s'.",
                watch.path,
                watch,
                os.path.normpath(os.path.join(watch.path, os.path.pardir)),
            )
            if self._watch_manager.report_all:
                # Below, nothing shows that a path is wrong; and if it comes back, it is new.
                self._watch_manager.rm_watch(watch.wd, rec=True)
            if not watch.path.endswith(UNKNOWN_PATH):
                watch.path += UNKNOWN_PATH
        return made(raw_event, watch)

    def process_IN_Q_OVERFLOW(self, raw_event: _RawEvent, watch: Watch) -> Event:
        """An overflow belongs to no watch."""
        return Event({"mask": raw_event.mask})

    def process_IN_IGNORED(self, raw_event: _RawEvent, watch: Watch) -> Event:
        """The kernel has ended the watch: so does the manager."""
        event = made(raw_event, watch)
        if raw_event.wd in self._watch_manager.watches:  # else another thread has removed it just now
            self._watch_manager.del_watch(raw_event.wd)
        return event

    def _moved_in(self, path: str, source: str | None, watch: Watch) -> None:
        manager = self._watch_manager
        if not manager.report_all:
            if source is None:
                self._add(path, watch, rec=True)
        elif source is None or (manager.get_wd(source) is None and manager.get_wd(path) is None):
            self._adopt(path, watch)

    def _add(self, path: str, watch: Watch, rec: bool) -> int:
        added = self._watch_manager.add_watch(
            path,
            watch.mask,
            proc_fun=watch.proc_fun,
            rec=rec,
            auto_add=watch.auto_add,
            exclude_filter=watch.exclude_filter,
        )
        return added.get(path, -1)

    def _adopt(self, path: str, watch: Watch) -> None:
        """Watch a directory, then tell what was in it before: its own watch tells the rest."""
        wd = self._add(path, watch, rec=False)
        report_all, reads = self._watch_manager.report_all, self._notifier.reads_until_now()
        if wd <= 0 and report_all:
            self._missed[path] = (reads, watch)
        if wd <= 0 or not os.path.isdir(path):
            return
        try:
            for name, mask in _contents(path, self._watch_manager, report_all):
                if report_all:
                    self.told[wd, name] = (reads, False)
                self._notifier.append_event(_RawEvent(wd, mask, 0, name))
        except OSError as error:
            module.log.debug("Cannot list the new directory %s: %s", path, error)

    def repeats(self, raw_event: _RawEvent, watch: Watch) -> bool:
        """Whether the kernel tells of a creation what a look into the new directory has told already."""
        key, kind = (raw_event.wd, raw_event.name), raw_event.mask & ~IN_ISDIR
        told = self.told.get(key)
        if told is None or kind not in {IN_CREATE, IN_DELETE, IN_MOVED_FROM, IN_MOVED_TO}:
            return False
        if kind == IN_CREATE and not told[1]:
            self.told[key] = (told[0], True)
            return False
        del self.told[key]
        return kind == IN_CREATE and not (raw_event.mask & IN_ISDIR and self._is_another(raw_event, watch))

    def _is_another(self, raw_event: _RawEvent, watch: Watch) -> bool:
        """Whether a directory is not the one that is watched under its path."""
        path = os.path.join(watch.path, raw_event.name)
        known = self._watch_manager.get_wd(path)
        return known is not None and self._add(path, watch, rec=False) != known


def made(raw: _RawEvent, watch: Watch, more: dict[str, Any] | None = None) -> Event:
    """The event of `raw` at `watch`: what `Event` would make, in a fraction of the time."""
    mask, name, path = raw.mask, raw.name, watch.path
    attributes = {
        "wd": raw.wd,
        "mask": mask,
        "path": path,
        "name": name,
        "dir": watch.dir if mask & _ABOUT_THE_WATCHED else mask & IN_ISDIR != 0,
    }
    if module.COMPATIBILITY_MODE:
        attributes["is_dir"] = attributes["dir"]
    if more:
        attributes.update(more)
    maskname = _MASKNAMES.get(mask)
    if maskname is None:
        maskname = _maskname(mask)
    attributes["maskname"] = maskname
    if module.COMPATIBILITY_MODE:
        attributes["event_name"] = maskname
    attributes["pathname"] = pathname(path, name)
    event = _new(Event)
    event.__dict__ = attributes
    return event


def _maskname(mask: int) -> str:
    try:
        name = _MASKNAMES[mask] = EventsCodes.maskname(mask)
    except KeyError:
        raise ProcessEventError(f"Unknown mask 0x{mask & ~IN_ISDIR:08x}") from None
    return name


_MASKNAMES: dict[int, str] = {}
_new = Event.__new__


def _contents(path: str, manager: WatchManager, report_all: bool) -> Iterator[tuple[str, int]]:
    """Names in a directory that are to be told, with the mask of their creation."""
    with os.scandir(path) as entries:
        found = list(entries)
    # What is watched was told of, unless it moved in during the walk of `rec`, which met it then.
    known = manager.watches.values() if found and not report_all else ()
    watched = {watch.path for watch in list(known)}
    for entry in found:
        if os.path.normpath(entry.path) in watched:
            continue
        # The kernel tells of a link as of a file, wherever it leads.
        if entry.is_dir(follow_symlinks=False):
            yield entry.name, IN_CREATE | IN_ISDIR
        elif report_all or os.path.isfile(entry.path) or os.path.isdir(entry.path):
            yield entry.name, IN_CREATE


def _drop_older(moves: dict[Any, tuple[str, float]], oldest: float) -> None:
    """Drop what is older than `oldest`: the items stand in the order of their times."""
    for key in [key for key, _ in itertools.takewhile(lambda item: item[1][1] < oldest, moves.items())]:
        del moves[key]
