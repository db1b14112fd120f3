"""One writer for each state directory: a lock that the kernel drops with the process, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from inotify_bridge.errors import UnavailableError
from inotify_bridge.outbox.fence import LOCK_FILE


class DirectoryLock:
    """
    Holds flock(2) on the file ``lock`` of a directory until it is closed.

    The file is never removed: a second process could then lock another file of the same name.
    """

    def __init__(self, directory: Path) -> None:
        """
        Take the lock; the directory must exist.

        Raises:
            UnavailableError: another process holds it, with its process id; or the file cannot be written.
        """
        path = directory / LOCK_FILE
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise UnavailableError(
                f"state directory {directory} cannot be locked: {error.strerror}",
                "check that it exists and that this user may write there",
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            self.close()
            raise UnavailableError(
                f"state directory {directory} is in use by process {holder}",
                "stop it first: two agents on one directory are two streams with one name",
            ) from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds, only whose it is stands nowhere
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Give the lock back. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
