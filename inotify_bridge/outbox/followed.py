"""
Followed log files in the database: how far each was read.

What is written here belongs to the transaction of the messages that were made of what was read. The store
sees numbers and bytes only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

States: TypeAlias = Mapping[int, bytes | None]
"""Number of a followed file to its state; None: it is not followed any more."""

NONE_FOLLOWED: Final[States] = MappingProxyType({})


class FollowedTable:
    """Used by the thread of the connection. Raises sqlite3.Error; the store explains it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def load(self) -> dict[int, bytes]:
        """Every state, by its number."""
        return dict(self._connection.execute("SELECT id, state FROM followed"))

    def write(self, states: States) -> None:
        """Store and remove states, within the transaction of the caller."""
        if not states:
            return
        gone = [(number,) for number, state in states.items() if state is None]
        kept = [(number, state) for number, state in states.items() if state is not None]
        self._connection.executemany("DELETE FROM followed WHERE id = ?", gone)
        self._connection.executemany("INSERT OR REPLACE INTO followed (id, state) VALUES (?,?)", kept)
