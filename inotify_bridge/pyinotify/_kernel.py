"""The system calls and limits of inotify, in the form that programs for pyinotify know."""

from __future__ import annotations

import errno
import os

from inotify_bridge.capture import inotify


class INotifyWrapper:
    """The three system calls. A refusal is -1, and its reason is kept for `get_errno` until the next one."""

    def __init__(self) -> None:
        self._errno: int | None = None

    @staticmethod
    def create() -> INotifyWrapper:
        """A wrapper of what the C library has."""
        return INotifyWrapper()

    def get_errno(self) -> int | None:
        """The number of the last refusal, None before the first."""
        return self._errno

    def str_errno(self) -> str:
        """The last refusal in words: ``Errno=No such file or directory (ENOENT)``."""
        code = self._errno
        if code is None:
            return "Errno: no errno support"
        return f"Errno={os.strerror(code)} ({errno.errorcode.get(code, code)})"

    def inotify_init(self) -> int:
        """A new instance's descriptor, which blocks and is not inherited by other programs; or -1."""
        try:
            return inotify.create(os.O_CLOEXEC)
        except OSError as error:
            return self._refused(error.errno)

    def inotify_add_watch(self, fd: int, pathname: str, mask: int) -> int:
        """The number of the watch, or -1."""
        path = os.fsencode(pathname)
        if b"\0" in path:  # the system call would end the path there, and watch something else
            return self._refused(errno.EINVAL)
        try:
            return inotify.add_watch(fd, path, mask)
        except OSError as error:
            return self._refused(error.errno)

    def inotify_rm_watch(self, fd: int, wd: int) -> int:
        """0, or -1."""
        try:
            inotify.remove_watch(fd, wd)
        except OSError as error:
            return self._refused(error.errno)
        return 0

    def _refused(self, code: int | None) -> int:
        self._errno = code
        return -1


class ProcINotify:
    """A limit of the kernel: the file of that name in /proc/sys/fs/inotify, read at each use."""

    def __init__(self, attr: str) -> None:
        self._base = "/proc/sys/fs/inotify"
        self._attr = attr

    def get_val(self) -> int:
        """The limit. Raises OSError."""
        with open(os.path.join(self._base, self._attr)) as file:
            return int(file.read())

    def set_val(self, nval: int) -> None:
        """Set the limit. Raises OSError: only root may."""
        with open(os.path.join(self._base, self._attr), "w") as file:
            file.write(f"{nval}\n")

    value = property(get_val, set_val)

    def __repr__(self) -> str:
        return f"<{self._attr}={self.get_val()}>"
