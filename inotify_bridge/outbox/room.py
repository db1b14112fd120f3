"""
Room for the journal: within its bound, and on its disk, which it does not fill.

SQLite needs room to make room: rows are removed by a transaction, which is written into the write-ahead log
first, and that log begins anew only when all of it was carried over into the database (sqlite.org/wal.html,
section 2.3). So a disk that a journal has filled to the last block stays full, also when every message is
confirmed.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

_SPARE_BYTES: Final = 32 << 20
"""Left free on the disk: several times a write-ahead log and a batch."""

_SHARE: Final = 4
"""Of a small disk that part is left free."""

_LEAST_BYTES: Final = 4 << 20
"""A journal of less has not filled the disk: whoever has is to be told of, by a commit that fails."""

_EASE: Final = 1.5
"""So many times as much has to be free on a disk that was short."""

_REFILL: Final = 0.9
"""The part of its bound below which a journal that was full takes batches again."""


class Room:
    """
    Used by the thread of the connection.

    Args:
        path: of the database.

    Attributes:
        disk_is_short: whether the disk was what the journal was refused for, when that was asked last.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.disk_is_short = False
        self._directory = path.parent
        self._connection = connection

    def admits(self, held: int, max_bytes: int, was_full: bool) -> bool:
        """
        Whether a journal takes another batch.

        Args:
            held: bytes of its records.
            max_bytes: its bound.
            was_full: it did not before: now there has to be so much room that it is not full again at once.
        """
        self.disk_is_short = held >= _LEAST_BYTES and self._short(_EASE if was_full else 1.0)
        within = held < max_bytes * (_REFILL if was_full else 1.0) or not held
        return within and not self.disk_is_short

    def _short(self, ease: float) -> bool:
        try:
            disk = os.statvfs(self._directory)
            # A batch may also take pages within the database that were given up.
            (pages,) = self._connection.execute("PRAGMA freelist_count").fetchone()
            (page_bytes,) = self._connection.execute("PRAGMA page_size").fetchone()
        except (OSError, sqlite3.Error):
            return False  # the next commit tells what is wrong
        wanted = min(_SPARE_BYTES, disk.f_blocks * disk.f_frsize // _SHARE)
        return bool(disk.f_bavail * disk.f_frsize + pages * page_bytes < wanted * ease)
