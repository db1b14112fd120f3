"""The watches of one inotify instance: added, changed and removed by path or by number."""

from __future__ import annotations

import glob
import os
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import inotify_bridge.pyinotify as module
from inotify_bridge.capture.constants import IN_CREATE, IN_DELETE
from inotify_bridge.pyinotify._errors import WatchManagerError
from inotify_bridge.pyinotify._events import Event
from inotify_bridge.pyinotify._handlers import ChainIfTrue, Handler
from inotify_bridge.pyinotify._kernel import INotifyWrapper
from inotify_bridge.pyinotify._watches import PathFilter, Watch

NOT_A_PATH = -3
EXCLUDED = -2


def _excludes_nothing(path: str) -> bool:
    return False


class WatchManager:
    """
    One inotify instance and its watches. Every method may be called from any thread, and from handlers.

    Args:
        exclude_filter: true for paths that get no watch; a call's own filter comes in its place.
        report_all: with `auto_add`, also tell by IN_CREATE what is in a directory that was moved in, entries
            of every type, and each entry once where that can be known. False is what pyinotify does.

    Raises:
        OSError: the kernel gives no instance (fs.inotify.max_user_instances).
    """

    def __init__(self, exclude_filter: PathFilter = _excludes_nothing, *, report_all: bool = False) -> None:
        self._ignore_events = False
        self._exclude_filter = exclude_filter
        self.report_all = report_all
        self._wmd: dict[int, Watch] = {}
        # Names beginning with _ib_ are free of those that subclasses give to what is theirs.
        self._ib_closed = False
        # A watch is in the dict before anybody can ask for the events that it has already.
        self._ib_lock = threading.RLock()
        self._inotify_wrapper = wrapper = INotifyWrapper.create()
        self._fd = wrapper.inotify_init()
        if self._fd < 0:
            raise OSError(f"Cannot initialize new instance of inotify, {wrapper.str_errno()}")

    def close(self) -> None:
        """Close the descriptor, which ends all watches in the kernel. Idempotent."""
        with self._ib_lock:
            if not self._ib_closed:
                self._ib_closed = True
                os.close(self._fd)

    def get_fd(self) -> int:
        """The descriptor to be polled for events."""
        return self._fd

    def get_watch(self, wd: int) -> Watch | None:
        """The watch of that number."""
        return self._wmd.get(wd)

    def del_watch(self, wd: int) -> None:
        """Forget a watch, without a word to the kernel."""
        if self._wmd.pop(wd, None) is None:
            module.log.error("Cannot delete unknown watch descriptor %s", wd)

    @property
    def watches(self) -> dict[int, Watch]:
        """All watches by their numbers: the dict itself, not a copy."""
        return self._wmd

    def get_wd(self, path: str) -> int | None:
        """The number of the watch on `path`, found by going through all."""
        path = os.path.normpath(path)
        return next((wd for wd, watch in list(self._wmd.items()) if watch.path == path), None)

    def get_path(self, wd: int) -> str | None:
        """The path of a watch."""
        watch = self.get_watch(wd)
        return None if watch is None else watch.path

    def get_ignore_events(self) -> bool:
        """Whether events are dropped."""
        return self._ignore_events

    def set_ignore_events(self, nval: bool) -> None:
        """Drop all events while true, with what they would tell about watches."""
        self._ignore_events = nval

    ignore_events = property(get_ignore_events, set_ignore_events)

    def add_watch(
        self,
        path: str | Iterable[str],
        mask: int,
        proc_fun: Handler | None = None,
        rec: bool = False,
        auto_add: bool = False,
        do_glob: bool = False,
        quiet: bool = True,
        exclude_filter: PathFilter | None = None,
    ) -> dict[str, int]:
        """
        Watch one path or several.

        Args:
            path: what to watch. Anything but a string is refused.
            mask: which events; the or of IN_* flags.
            proc_fun: a handler in place of the notifier's.
            rec: also all directories below, symbolic links not followed.
            auto_add: also directories that appear in it later; IN_CREATE is added to `mask`.
            do_glob: `path` is a pattern.
            quiet: log what the kernel refuses, and go on.
            exclude_filter: true for paths that get no watch, in place of the manager's.

        Returns:
            Path to watch descriptor, in the order reached; -1 where the kernel refused, -2 where the filter
            excluded the path, -3 where it is none.

        Raises:
            WatchManagerError: the kernel refused a path, and `quiet` is false. What was added stays.
        """
        excluded = self._exclude_filter if exclude_filter is None else exclude_filter
        added: dict[str, int] = {}
        for given in _several(path):
            if not isinstance(given, str):
                added[given] = NOT_A_PATH
                continue
            for top in self.__glob(given, do_glob):
                for found in self.__walk_rec(top, rec):
                    if excluded(found):
                        added[found] = EXCLUDED
                        continue
                    added[found], refusal = self.__add_watch(found, mask, proc_fun, auto_add, excluded)
                    if refusal:
                        self.__refused(f"add_watch: cannot watch {found} {refusal}", added, quiet)
        return added

    def __add_watch(
        self, path: str, mask: int, proc_fun: Handler | None, auto_add: bool, exclude_filter: PathFilter
    ) -> tuple[int, str]:
        """The number of the new watch and an empty text, or -1 and the refusal."""
        path = os.path.normpath(path)
        if auto_add:
            mask |= IN_CREATE
        with self._ib_lock:
            wd = self._inotify_wrapper.inotify_add_watch(self.__descriptor(), path, mask)
            if wd < 0:
                return wd, f"WD={wd}, {self._inotify_wrapper.str_errno()}"
            watch = Watch(wd, path, mask, proc_fun, auto_add, exclude_filter)
            self._wmd[wd] = watch
        module.log.debug("New %s", watch)
        return wd, ""

    def __descriptor(self) -> int:
        """The instance, or -1 once it is closed: its number may be another file's by then."""
        return -1 if self._ib_closed else self._fd

    def __refused(self, sentence: str, so_far: dict[str, int] | dict[int, bool], quiet: bool) -> None:
        if not quiet:
            raise WatchManagerError(sentence, so_far)
        module.log.error(sentence)

    def __glob(self, path: str, do_glob: bool) -> Iterable[str]:
        return glob.iglob(path) if do_glob else [path]

    def __walk_rec(self, top: str, rec: bool) -> Iterator[str]:
        """`top`, and with `rec` all directories below; each is given before it is listed."""
        waiting = [top]
        if not rec or os.path.islink(top) or not os.path.isdir(top):
            yield from waiting
            return
        while waiting:
            path = waiting.pop()
            yield path
            try:
                with os.scandir(path) as entries:
                    below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
            except OSError:
                continue  # gone, or not to be read: its own watch tells
            waiting.extend(reversed(below))

    def __get_sub_rec(self, wds: Iterable[int]) -> Iterator[int]:
        """Known numbers of `wds`, each followed by those of all watches below its path."""
        for wd in wds:
            watch = self._wmd.get(wd)
            if watch is None:
                continue
            yield wd
            above = os.path.join(watch.path, "")
            for other, candidate in list(self._wmd.items()):
                if other != wd and candidate.path.startswith(above):
                    yield other

    def __numbers(self, wd: int | Iterable[int], rec: bool) -> list[int]:
        wds: Iterable[int] = list(wd) if isinstance(wd, Iterable) else [wd]
        return list(dict.fromkeys(self.__get_sub_rec(wds) if rec else wds))

    def update_watch(
        self,
        wd: int | Iterable[int],
        mask: int | None = None,
        proc_fun: Handler | None = None,
        rec: bool = False,
        auto_add: bool = False,
        quiet: bool = True,
    ) -> dict[int, bool]:
        """
        Change watches.

        Args:
            wd: one number or several.
            mask: takes the place of the old one, unless 0 or None.
            proc_fun: takes the place of the old handler, unless None.
            rec: also every watch below the paths of these.
            auto_add: switch it on; IN_CREATE is added to the mask. It cannot be switched off.
            quiet: log what fails, and go on.

        Returns:
            Number to whether it was changed. Numbers of no watch are left out.

        Raises:
            WatchManagerError: one could not be changed, and `quiet` is false.
        """
        updated: dict[int, bool] = {}
        for number in self.__numbers(wd, rec):
            watch = self.get_watch(number)
            if watch is None:
                self.__refused(f"update_watch: invalid WD={number}", updated, quiet)
                continue
            refusal = self.__update(watch, mask or 0, auto_add)
            updated[number] = not refusal
            if refusal:
                self.__refused(f"update_watch: cannot update {watch.path} {refusal}", updated, quiet)
                continue
            watch.proc_fun = proc_fun or watch.proc_fun
            watch.auto_add = auto_add or watch.auto_add
            module.log.debug("Updated %s", watch)
        return updated

    def __update(self, watch: Watch, mask: int, auto_add: bool) -> str:
        """Set the mask in the kernel. Gives the refusal, or an empty text."""
        if auto_add:
            mask = (mask or watch.mask) | IN_CREATE
        if not mask:
            return ""
        with self._ib_lock:
            wrapper = self._inotify_wrapper
            wd = wrapper.inotify_add_watch(self.__descriptor(), watch.path, mask)
            if wd < 0:
                return f"WD={wd}, {wrapper.str_errno()}"
            if wd == watch.wd:
                watch.mask = mask
                return ""
            # Another file stands at the path by now, and the call has watched it.
            other = self._wmd.get(wd)
            if other is None:
                wrapper.inotify_rm_watch(self.__descriptor(), wd)
            else:
                wrapper.inotify_add_watch(self.__descriptor(), watch.path, other.mask)
        return f"WD={watch.wd}, another file is there"

    def rm_watch(self, wd: int | Iterable[int], rec: bool = False, quiet: bool = True) -> dict[int, bool]:
        """
        End watches. Events of them that are queued reach no handler.

        Args:
            wd: one number or several.
            rec: also every watch below the paths of these; numbers of no watch are left out then.
            quiet: log what the kernel refuses, and go on.

        Returns:
            Number to whether it was removed.

        Raises:
            WatchManagerError: the kernel refused one, and `quiet` is false.
        """
        removed: dict[int, bool] = {}
        for number in self.__numbers(wd, rec):
            with self._ib_lock:
                code = self._inotify_wrapper.inotify_rm_watch(self.__descriptor(), number)
                refusal = self._inotify_wrapper.str_errno() if code < 0 else ""
                watch = None if refusal else self._wmd.pop(number, None)
            removed[number] = not refusal
            if refusal:
                self.__refused(f"rm_watch: cannot remove WD={number}, {refusal}", removed, quiet)
            elif watch is not None:
                module.log.debug("Watch WD=%d (%s) removed", number, watch.path)
        return removed

    def watch_transient_file(self, filename: str, mask: int, proc_class: type[Any]) -> dict[str, int]:
        """
        Watch a file that comes and goes, by its directory.

        Args:
            filename: with its directory.
            mask: which events, besides IN_CREATE and IN_DELETE.
            proc_class: a subclass of ProcessEvent; an instance of it gets the events of this file only.

        Returns:
            What `add_watch` gives for the directory; empty where `filename` names none.
        """
        directory, base = os.path.split(filename)
        if not directory:
            return {}

        def concerns(event: Event) -> bool:
            return getattr(event, "name", None) == base

        return self.add_watch(
            directory,
            mask | IN_CREATE | IN_DELETE,
            proc_fun=proc_class(ChainIfTrue(func=concerns)),
            exclude_filter=_excludes_nothing,
        )


def _several(given: Any) -> Iterable[Any]:
    """The items of a collection; one thing alone as a list of itself."""
    alone = isinstance(given, str | bytes) or not isinstance(given, Iterable)
    return [given] if alone else given
