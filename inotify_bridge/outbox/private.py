"""The directory of a store that has to survive nothing: made for it, removed with it."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Final

from inotify_bridge.errors import UnavailableError
from inotify_bridge.outbox.lock import DirectoryLock

_PREFIX: Final = "inotify-bridge-store-"
# A directory that was just made may not be locked yet.
_YOUNG_SECONDS: Final = 60.0


class PrivateDirectory:
    """
    A directory in the place for temporary files, for this user alone, locked while this process lives.

    Making one removes what processes of this user have left behind that were killed.
    """

    def __init__(self) -> None:
        """Raises: OSError, UnavailableError, it cannot be made."""
        self.path: Final = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = DirectoryLock(self.path)
        _remove_abandoned(self.path.parent)

    def close(self) -> None:
        """Remove it. Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _remove_abandoned(parent: Path) -> None:
    for entry in parent.glob(f"{_PREFIX}*"):
        if not _ours_and_old(entry):
            continue
        try:
            lock = DirectoryLock(entry)
        except UnavailableError:
            continue
        shutil.rmtree(entry, ignore_errors=True)
        lock.close()


def _ours_and_old(entry: Path) -> bool:
    try:
        found, lock = os.lstat(entry), os.lstat(entry / "lock")
    except OSError:
        return False
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == lock.st_uid == os.geteuid()
    return ours and time.time() - lock.st_mtime > _YOUNG_SECONDS
