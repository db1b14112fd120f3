"""How far log files were read, in the store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from inotify_bridge.outbox.database import MIGRATIONS
from inotify_bridge.outbox.store import Store

SOURCE = "inotify://host/g"


def test_offsets_and_entries_are_one_step() -> None:
    """When a commit fails neither the entries are there nor how far was read; every epoch goes on with it."""
    store = Store.open(None)
    store.mint_epoch(SOURCE)
    store.commit([b"one"], {}, {1: b"first", 2: b"second"})
    with pytest.raises(TypeError):
        store.commit([b"two", "no bytes"], {}, {1: b"further", 2: None})  # type: ignore[list-item]
    assert (store.last_sequence, store.followed()) == (1, {1: b"first", 2: b"second"})
    store.commit([b"two"], {}, {1: b"further", 2: None})
    store.mint_epoch(SOURCE)
    assert store.followed() == {1: b"further"}
    store.close()


def test_a_database_of_an_earlier_release(tmp_path: Path) -> None:
    """One without the table gets it, and keeps all else."""
    path = tmp_path / "g.db"
    store = Store.open(path)
    store.mint_epoch(SOURCE)
    store.commit([b"one"], {})
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE followed")
        connection.execute(f"UPDATE meta SET value = {len(MIGRATIONS) - 1} WHERE key = 'schema_minor'")
    connection.close()
    store = Store.open(path)
    assert (store.last_sequence, store.followed()) == (1, {})
    store.close()
