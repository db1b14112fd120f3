"""The index in a dict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inotify_bridge.capture.index import Key, Row, Writes


class MemoryIndex:
    """Shows what was applied, like the outbox what was committed."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[bytes, Row]] = {}

    def apply(self, writes: Writes) -> None:
        """Store a batch."""
        for (directory, name), row in writes.items():
            if row is not None:
                self._rows.setdefault(directory, {})[name] = row
            else:
                self._rows.get(directory, {}).pop(name, None)

    def row(self, directory: int, name: bytes) -> Row | None:
        return self._rows.get(directory, {}).get(name)

    def rows(self, directory: int, names: Sequence[bytes]) -> dict[bytes, Row]:
        rows = self._rows.get(directory, {})
        return {name: rows[name] for name in names if name in rows}

    def names(self, device: int, inode: int) -> list[Key]:
        return [
            (directory, name)
            for directory, rows in self._rows.items()
            for name, row in rows.items()
            if row.stat is not None and (row.stat.device, row.stat.inode) == (device, inode)
        ]

    def entries(self) -> Iterator[tuple[int, bytes, int, int]]:
        for directory, rows in self._rows.items():
            for name, row in rows.items():
                yield directory, name, row.type, row.node
