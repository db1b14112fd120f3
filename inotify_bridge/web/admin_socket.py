"""The Unix socket on which the server answers its own user without a token: made, taken over, removed."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from typing import Final

from inotify_bridge.errors import UnavailableError

MODE: Final = 0o600
PROBE_SECONDS: Final = 2.0

_HINTS: Final = {
    errno.ENOENT: "make its directory first",
    errno.ENOTDIR: "its directory is none: set http.admin_socket",
    errno.EACCES: "its directory must be writable for this user",
    errno.EROFS: "its directory must be writable for this user",
}


class AdminSocket:
    """
    A socket file that only its owner may connect to.

    Args:
        path: where it is made.

    `bind` and `remove` come from one thread.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._made: tuple[int, int] | None = None

    def bind(self, backlog: int) -> socket.socket:
        """
        Make the file, with mode 0600 from its first moment, and listen. The caller closes the socket.

        A socket file that nobody listens on was left by a process that died: it is replaced.

        Raises:
            UnavailableError: another process listens there, a file is in the way, or it cannot be made.
        """
        self._clear_the_way()
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Linux gives the file the mode of the socket, so that it never has a wider one.
            os.fchmod(bound.fileno(), MODE)
            bound.bind(self.path)
            made = os.lstat(self.path)
            self._made = (made.st_dev, made.st_ino)
            bound.listen(backlog)
        except OSError as error:
            bound.close()
            self.remove()
            raise self._unavailable(error) from error
        return bound

    def remove(self) -> None:
        """Remove the file, if it is still the one that `bind` made. Idempotent."""
        with contextlib.suppress(OSError):
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) == self._made:
                os.unlink(self.path)
        self._made = None

    def _clear_the_way(self) -> None:
        try:
            mode = os.lstat(self.path).st_mode
        except OSError:
            return  # nothing there, or nothing to be had: `bind` says which
        if not stat.S_ISSOCK(mode):
            raise UnavailableError(
                f"http: {self.path} is there and no socket", "remove it, or set http.admin_socket"
            )
        if not self._abandoned():
            raise UnavailableError(
                f"http: another process listens on {self.path}", "stop it, or set http.admin_socket"
            )
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        except OSError as error:
            raise self._unavailable(error) from error

    def _abandoned(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            asked.settimeout(PROBE_SECONDS)
            try:
                asked.connect(self.path)
            except OSError as error:
                return error.errno in (errno.ECONNREFUSED, errno.ENOENT)
        return False

    def _unavailable(self, error: OSError) -> UnavailableError:
        return UnavailableError(
            f"http: cannot listen on {self.path}: {error.strerror or error}",
            _HINTS.get(error.errno or 0, "set http.admin_socket"),
        )
