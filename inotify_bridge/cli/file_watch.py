"""Whether the configuration file has changed: what `run --reload-on-change` looks at."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from inotify_bridge.capture.constants import (
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_ISDIR,
    IN_MOVED_TO,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
)
from inotify_bridge.capture.inotify import Inotify, records
from inotify_bridge.errors import UnavailableError

_DIRECTORY_MASK: Final = IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ONLYDIR
_MAX_LINKS: Final = 40
"""As many as the kernel follows: path_resolution(7)."""

_log = logging.getLogger("inotify_bridge.agent")


class FileWatch:
    """
    Tells when a file holds something else than before: written in place, replaced by a rename, or reached
    through a symbolic link that was exchanged. Kubernetes does the last: ``config.yaml`` is a link to
    ``..data/config.yaml``, and the kubelet renames a new ``..data`` over the old one, so that nothing at all
    happens to ``config.yaml``.

    Watched is every directory in which a name on the way to the file can be exchanged, and the file itself,
    because a single file that is mounted into a container has its directory outside. A file that is being
    written does not count before it is closed. Used on one thread.

    Args:
        path: of the file; what it holds now counts as known.
    Raises:
        UnavailableError: no inotify instance or watch is to be had.
    """

    def __init__(self, path: Path) -> None:
        self._path = os.path.abspath(os.fsencode(path))
        self._directories: dict[int, tuple[bytes, set[bytes]]] = {}
        self._file = -1
        try:
            self._inotify = Inotify()
            self._watch()
        except OSError as error:
            raise UnavailableError(
                f"{path} cannot be watched: {error.strerror}",
                "raise fs.inotify.max_user_instances and _watches",
            ) from error
        self._content = self._read()

    @property
    def fd(self) -> int:
        """Readable when it is time to ask `changed`."""
        return self._inotify.fd

    def changed(self) -> bool:
        """Whether the file has changed since this was asked last. Does not wait."""
        if not any(self._counts(*record) for record in records(self._inotify.read())):
            return False
        try:
            self._watch()
        except OSError as error:
            _log.warning(
                "the configuration file can no longer be watched, reload by SIGHUP: %s", error.strerror
            )
        content = self._read()
        if content is None or content == self._content:
            return False
        self._content = content
        return True

    def _counts(self, wd: int, mask: int, _: int, name: bytes) -> bool:
        if mask & IN_Q_OVERFLOW:
            return True
        if wd == self._file:
            return bool(mask & IN_CLOSE_WRITE)
        directory, names = self._directories.get(wd, (b"", set()))
        if name not in names:
            return False
        # A regular file that was made is empty yet: it counts when it is closed.
        return not mask & IN_CREATE or bool(mask & IN_ISDIR) or os.path.islink(os.path.join(directory, name))

    def _watch(self) -> None:
        """Watch what the path leads through now, before it is read: what changes from here on is told."""
        wanted: dict[int, tuple[bytes, set[bytes]]] = {}
        with contextlib.suppress(FileNotFoundError):  # exchanged this moment: the directory above tells
            for directory, name in _way(self._path):
                wd = self._inotify.add_watch(directory, _DIRECTORY_MASK)
                wanted.setdefault(wd, (directory, set()))[1].add(name)
        known = {*self._directories, self._file}
        self._directories, self._file = wanted, self._watch_file()
        for wd in known - {*wanted, self._file, -1}:
            self._inotify.remove_watch(wd)

    def _watch_file(self) -> int:
        try:
            return self._inotify.add_watch(self._path, IN_CLOSE_WRITE)
        except (FileNotFoundError, PermissionError):
            return -1

    def _read(self) -> bytes | None:
        """None: it is not there, for the moment that an exchange takes or for good; neither is a change."""
        try:
            with open(self._path, "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return str(error).encode()  # the reload that follows says why it cannot be read


def _way(path: bytes) -> Iterator[tuple[bytes, bytes]]:
    """
    The names that decide which file `path` is, each with its directory, which holds no symbolic link: the
    links on the way, and the last name, or the first that is not there.
    """
    at, ahead, links = b"/", path.split(b"/")[::-1], 0
    while ahead:
        name = ahead.pop()
        if name in (b"", b"."):
            continue
        if name == b"..":
            at = os.path.dirname(at)
            continue
        full = os.path.join(at, name)
        if os.path.islink(full) and links < _MAX_LINKS:
            yield at, name
            links += 1
            target = os.readlink(full)
            at = b"/" if target.startswith(b"/") else at
            ahead += target.split(b"/")[::-1]
        elif not os.path.isdir(full) or not ahead:
            yield at, name
            return
        else:
            at = full
