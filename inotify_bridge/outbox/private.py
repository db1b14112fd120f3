"""The directory of a store that has to survive nothing: made for it, removed with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from inotify_bridge.errors import UnavailableError
from inotify_bridge.outbox.lock import DirectoryLock

_PREFIX: Final = "inotify-bridge-store-"
# A directory that was just made may not be locked yet.
_YOUNG_SECONDS: Final = 60.0
_OTHER_PLACES: Final = (Path("/var/tmp"), Path("/dev/shm"), Path("/run"))


class PrivateDirectory:
    """
    A directory in the place for temporary files, for this user alone, locked while this process lives.

    Making one removes what processes of this user have left behind that were killed.
    """

    def __init__(self, away_from: Sequence[Path] = ()) -> None:
        """
        Args:
            away_from: directories that it must not be below: an agent would watch itself write.

        Raises: OSError, UnavailableError, it cannot be made.
        """
        self.path: Final = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_place(away_from)))
        self._lock = DirectoryLock(self.path)
        _remove_abandoned(self.path.parent)

    def close(self) -> None:
        """Remove it. Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _place(away_from: Sequence[Path]) -> Path:
    """
    The usual place for temporary files, or where that is below one of `away_from` the next best.

    Whoever watches the whole machine finds the agent's files too.
    """
    avoided = [path.resolve() for path in away_from]
    usable = [place.resolve() for place in _places() if os.access(place, os.W_OK | os.X_OK)]
    for place in usable:
        if not any(place.is_relative_to(path) for path in avoided):
            return place
    if not usable:
        raise UnavailableError(
            "no directory for temporary files can be written", "set TMPDIR to one, or state.dir"
        )
    return usable[0]


def _places() -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):  # none of its candidates can be written
        yield Path(tempfile.gettempdir())
    yield from _OTHER_PLACES


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
