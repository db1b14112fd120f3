"""
Whether a database is still this process's own.

The lock of the state directory keeps a second agent out for as long as both look at the same file. A stopped
process does not see that the lock file was removed, or that the whole directory was replaced: when it goes on
it must notice before it writes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from inotify_bridge.errors import StoreError

LOCK_FILE: Final = "lock"


class Fence:
    """
    The files of one store as they were when it was opened. May be used by any thread.

    Args:
        database: its file; the lock's stands beside it where the directory is locked.
    """

    def __init__(self, database: Path) -> None:
        files = (database, database.with_name(LOCK_FILE))
        self._files: Final = {path: found for path in files if (found := _identity(path)) is not None}

    def check(self) -> None:
        """Raises: StoreError, one of the files is gone or another one."""
        wrong = [path for path, found in self._files.items() if _identity(path) != found]
        if [path.name for path in wrong] == [LOCK_FILE] and _identity(wrong[0]) is None:
            raise _unlocked(wrong[0])
        if wrong:
            raise taken_over(wrong[0])


def taken_over(path: Path) -> StoreError:
    """What there is to say where somebody else has the files."""
    return StoreError(
        f"the state directory was taken over: {path} is no longer what this process opened",
        "one agent a directory: this one records and publishes no more; end it, and look who else runs",
        "replaced",
    )


def _unlocked(lock: Path) -> StoreError:
    """Nobody else has the files, but anybody might: a new lock file would be another one."""
    return StoreError(
        f"the lock file {lock} is gone: nothing keeps a second agent from the state directory",
        "it was removed; this one records and publishes no more: start it again, and leave the file alone",
        "replaced",
    )


def _identity(path: Path) -> tuple[int, int] | None:
    """Raises: StoreError, the disk does not say what is there."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be looked at: {error.strerror}", "check the disk", "io") from error
    return found.st_dev, found.st_ino
