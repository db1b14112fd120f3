"""
The store of one watch group: its index, its journal and its watermarks, in one SQLite database.

Messages and index change in one transaction; nothing can be read by a relay before its commit. The store sees
bytes and keys only: what a message says is the business of others.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from inotify_bridge.capture.index import Key, Row, Writes
from inotify_bridge.capture.port import Volume
from inotify_bridge.errors import StoreError
from inotify_bridge.outbox.database import damage, explained, open_writer
from inotify_bridge.outbox.directory import set_aside
from inotify_bridge.outbox.fence import Fence, taken_over
from inotify_bridge.outbox.followed import NONE_FOLLOWED, FollowedTable, States
from inotify_bridge.outbox.index import IndexTable
from inotify_bridge.outbox.journal import Journal, Position, Reader
from inotify_bridge.outbox.note import Doubt, Facts, Note, new_epoch
from inotify_bridge.outbox.parked import Parked, ParkedTable
from inotify_bridge.outbox.private import PrivateDirectory
from inotify_bridge.outbox.room import Room

_DATABASE: Final = "group.db"
_NOTE_SECONDS: Final = 1.0

BEYOND_RETRY: Final = frozenset(("fsync", "corrupt", "replaced"))
"""Reasons of a StoreError after which trying again is wrong: what is known of the database may not be so."""


class Store:
    """
    Implements `capture.index.Index`, and takes what is to be published.

    Used by one thread at a time: the one that opens it, then the recorder's. Relays read by `reader`. Every
    method may raise StoreError; a `commit` that raised has changed nothing and may be repeated.
    """

    def __init__(
        self, path: Path, max_bytes: int, durable: bool, private: PrivateDirectory | None = None
    ) -> None:
        self.path: Final = path
        self.max_bytes = max_bytes
        self.set_aside = 0
        """How many databases were set aside to open this one."""
        self._private = private
        existed = path.exists()
        self._note = Note(path) if durable else None
        self._closed, self._noted_at = False, 0.0
        self._moved: set[str] = set()
        self._connection = open_writer(path, durable)
        self._index = IndexTable(self._connection)
        self._journal = Journal(self._connection)
        self._parked = ParkedTable(self._connection)
        self._followed = FollowedTable(self._connection)
        self.room: Final = Room(path, self._connection)
        try:
            with explained(path):
                self._load()
            self.doubt: Doubt = self._doubt(existed)
            """Why a new epoch has to be minted before anything is recorded; see `mint_epoch`."""
        except BaseException:
            self._connection.close()
            raise
        self._fence = Fence(path)

    def _load(self) -> None:
        self._live_bytes = self._journal.total_bytes()
        self._parked_bytes = self._parked.total_bytes()
        meta = dict(self._connection.execute("SELECT key, value FROM meta"))
        self._watermarks = {
            sink: Position(epoch, sequence)
            for sink, epoch, sequence in self._connection.execute("SELECT * FROM watermarks")
        }
        self._epoch: str = meta["epoch"]
        self._last_sequence: int = meta["last_sequence"]
        self._source: str = meta["source"]
        epoch, _, subject = meta.get("subject", "\n").partition("\n")
        # A release that keeps none may have minted the present epoch.
        self._subject: str = subject if epoch == self._epoch else ""
        self._earlier = tuple(end for end in self._journal.ends() if end.epoch < self._epoch)
        self._version = self._data_version()

    def _data_version(self) -> int:
        """Another number means that another connection has written."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def check_ours(self) -> None:
        """
        Whether the files are still those that were opened. From any thread.

        Raises: StoreError, whose reason is ``replaced``.
        """
        self._fence.check()

    @classmethod
    def open(cls, path: Path | None, max_bytes: int = 64 * 1024**2, away_from: Sequence[Path] = ()) -> Store:
        """
        Open the database file, or make it.

        Args:
            path: of the file, whose directory exists; what is committed there is on disk. One that is
                damaged is set aside, and a new one made. None: a private file that `close` removes, for a
                group without a state directory; no commit waits for a disk.
            max_bytes: of records in the journal; see `admits`.
            away_from: directories that a private file must not be below.
        Raises:
            StoreError: it cannot be opened.
            ConfigError: a newer major version wrote it.
        """
        if path is not None:
            try:
                return cls(path, max_bytes, durable=True)
            except StoreError as error:
                if error.reason != "corrupt":
                    raise
                return cls.instead_of(path, max_bytes)
        private = PrivateDirectory(away_from)
        try:
            return cls(private.path / _DATABASE, max_bytes, durable=False, private=private)
        except BaseException:
            private.close()
            raise

    @classmethod
    def instead_of(cls, path: Path, max_bytes: int) -> Store:
        """Set the damaged database at `path` aside, and make a new one. Raises: StoreError."""
        try:
            set_aside(path)
        except OSError as error:
            raise StoreError(
                f"the damaged state database {path} cannot be set aside: {error.strerror}",
                "check the permissions of the state directory",
                "corrupt",
            ) from error
        made = cls(path, max_bytes, durable=True)
        made.set_aside, made.doubt = 1, "corrupt"
        return made

    def _doubt(self, existed: bool) -> Doubt:
        note = self._note
        if note is None:
            return "new"
        if not existed:
            note.sync_directory()
        elif note.after_power_loss:
            with explained(self.path):
                found = damage(self._connection)
            if found:
                raise StoreError(f"state database {self.path}: {found}", "", "corrupt")
        return note.doubt(self._epoch, self._last_sequence)

    def close(self) -> None:
        """Close the database; remove it where it was private. Readers are closed before. Idempotent."""
        if self._note is not None and not self.doubt and not self._closed:
            # Where it is not written the next start finds a database that is further than it says.
            with contextlib.suppress(StoreError):
                self._fence.check()
                self._note.write(self._epoch, self._last_sequence, clean=True)
        self._closed = True
        self._connection.close()
        if self._private is not None:
            self._private.close()

    def reader(self, sink: str) -> Reader:
        """A reader for one sink's relay; call it on the thread that will use it."""
        return Reader(self.path, sink)

    # The index

    def row(self, directory: int, name: bytes) -> Row | None:
        """The row of one entry, as committed."""
        with explained(self.path):
            return self._index.row(directory, name)

    def rows(self, directory: int, names: Sequence[bytes]) -> dict[bytes, Row]:
        """The rows of these names of one directory, as far as there are any."""
        with explained(self.path):
            return self._index.rows(directory, names)

    def names(self, device: int, inode: int) -> list[Key]:
        """Where an inode is known to stand."""
        with explained(self.path):
            return self._index.names(device, inode)

    def entries(self) -> Iterator[tuple[int, bytes, int, int]]:
        """Every row as (directory, name, type, node), in any order. Read it out before the next commit."""
        with explained(self.path):
            yield from self._index.entries()

    def followed(self) -> dict[int, bytes]:
        """How far log files were read, as committed: see `followed.States`. Every epoch goes on with it."""
        with explained(self.path):
            return self._followed.load()

    # The stream

    @property
    def epoch(self) -> str:
        """The present epoch; empty until the first was minted."""
        return self._epoch

    @property
    def last_sequence(self) -> int:
        """Of the last message committed in the present epoch; 0: none yet."""
        return self._last_sequence

    @property
    def end(self) -> Position:
        """Where the next message will come."""
        return Position(self._epoch, self._last_sequence)

    @property
    def source(self) -> str:
        """The source for which the present epoch was minted."""
        return self._source

    @property
    def subject(self) -> str:
        """What the present epoch is about, as noted last; empty where a release before this one minted it."""
        return self._subject

    def note_subject(self, subject: str) -> None:
        """Keep what the present epoch is about from now on; committed when it returns."""
        with self._transaction():
            self._set_meta(subject=f"{self._epoch}\n{subject}")
        self._subject = subject

    def note_down(self) -> bool:
        """
        Write beside the database how far it has come, at most once a second. Raises: StoreError.

        Returns whether that is written now. What a sink was handed since then is not known to the next start
        if the database is replaced by an older one meanwhile; a sink that can tell what it holds knows it.
        """
        note = self._note
        if note is None or (note.facts.epoch, note.facts.sequence) == (self._epoch, self._last_sequence):
            return True
        if (now := time.monotonic()) - self._noted_at < _NOTE_SECONDS:
            return False
        self._noted_at = now
        self._fence.check()
        note.write(self._epoch, self._last_sequence)
        return True

    def volumes(self) -> dict[bytes, Volume]:
        """What the roots were when they were noted last, by their keys."""
        with explained(self.path):
            rows = self._connection.execute("SELECT key, file_system, inode FROM roots").fetchall()
        return {key: Volume(file_system, int(inode)) for key, file_system, inode in rows}

    def note_volumes(self, volumes: Mapping[bytes, Volume]) -> None:
        """Keep what the roots are; committed when it returns."""
        with self._transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO roots (key, file_system, inode) VALUES (?,?,?)",
                [(key, volume.file_system, str(volume.inode)) for key, volume in volumes.items()],
            )

    def mint_epoch(self, source: str, later_than: str = "", subject: str = "") -> str:
        """
        Begin a new epoch with an empty index. What the journal holds of older ones is still delivered first;
        not where the stream has gone on in a later one already, after which consumers drop it.

        Args:
            later_than: an epoch that is known from elsewhere.
            subject: see `subject`.

        Returns:
            The epoch: 12 hex digits of Unix milliseconds, later than any before it, and 8 random ones.
        """
        noted = self._note.facts if self._note is not None else Facts()
        epoch = new_epoch((self._epoch, later_than, noted.floor))
        if max(later_than, noted.epoch) > self._epoch:
            self.skip_all()
        if self._note is not None:  # before the database knows it: it is never minted again, whatever comes
            self._note.write(self._epoch, self._last_sequence, floor=epoch)
        with self._transaction():
            self._index.clear()
            self._connection.execute("DELETE FROM roots")
            self._set_meta(epoch=epoch, last_sequence=0, source=source, subject=f"{epoch}\n{subject}")
        self._earlier = (*self._earlier, self.end)
        self._epoch, self._last_sequence, self._source, self._subject = epoch, 0, source, subject
        self.doubt = ""
        if self._note is not None:
            self._note.write(epoch, 0)
        return epoch

    def commit(self, records: Sequence[bytes], writes: Writes, followed: States = NONE_FOLLOWED) -> None:
        """
        Record one batch: the messages, and the index that they leave, in one transaction.

        Args:
            records: packed messages; the first has the sequence ``last_sequence + 1``, the next one more.
            writes: rows of the index to store or remove.
            followed: how far log files were read, by these messages.
        """
        last, size = self._last_sequence + len(records), 0
        with self._transaction():
            self._index.write(writes)
            self._followed.write(followed)
            if records:
                size = self._journal.append(self._epoch, self._last_sequence + 1, records)
                self._set_meta(last_sequence=last)
        self._last_sequence, self._live_bytes = last, self._live_bytes + size

    def behind(self, position: Position) -> int:
        """How many messages come after a position, over all epochs. From any thread."""
        ends = [end for end in (*self._earlier, self.end) if end.epoch >= position.epoch]
        return sum(end.sequence - (position.sequence if end.epoch == position.epoch else 0) for end in ends)

    def waiting(self) -> list[tuple[Position, float]]:
        """When what some sink has not confirmed was committed, Unix seconds; of very much a part."""
        with explained(self.path):
            return self._journal.since(self.slowest())

    @property
    def live_bytes(self) -> int:
        """Bytes of all records in the journal."""
        return self._live_bytes

    def admits(self, was_full: bool = False) -> bool:
        """
        Whether there is room for a batch of any length, in the journal and on its disk; see `Room.admits`.

        A batch may go beyond the bound, once; else one that is larger could never be recorded.
        """
        return self.room.admits(self._live_bytes, self.max_bytes, was_full)

    def prune(self, retain: float = 0.0) -> int:
        """
        Remove batches that every sink has confirmed, and that were committed at least `retain` seconds ago.

        Returns:
            Bytes that came free; a large backlog goes in several calls.
        """
        confirmed = self.slowest()
        with self._transaction():
            before = self._journal.front()
            freed = self._journal.prune(confirmed, retain)
            settled = 0
            if freed and before and self._parked_bytes:
                settled = self._parked.prune(before, self._journal.front() or self.end)
        self._live_bytes, self._parked_bytes = self._live_bytes - freed, self._parked_bytes - settled
        return freed

    # The sinks

    @property
    def sinks(self) -> list[str]:
        """Those that have a watermark."""
        return sorted(self._watermarks)

    def set_sinks(self, names: Iterable[str]) -> list[str]:
        """
        Say which sinks there are from now on.

        A new one starts at the end of the stream: it has to be given a new epoch and its snapshot, with whose
        transaction it is written; a crash in between leaves it new. The watermark of one that is gone is
        forgotten.

        Returns:
            The new ones.
        """
        wanted = set(names)
        new = sorted(wanted - self._watermarks.keys())
        gone = sorted(self._watermarks.keys() - wanted)
        self._moved.difference_update(gone)
        with self._transaction():
            self._connection.executemany("DELETE FROM watermarks WHERE sink = ?", [(name,) for name in gone])
        for name in gone:
            del self._watermarks[name]
        self._watermarks.update(dict.fromkeys(new, self.end))
        self._moved.update(new)
        return new

    def watermark(self, sink: str) -> Position:
        """How far a sink has confirmed. Raises: KeyError, there is no such sink."""
        return self._watermarks[sink]

    def acknowledge(self, sink: str, position: Position) -> None:
        """
        Note that a sink has confirmed everything up to and with a position; an older one changes nothing.

        It is written with the next transaction: a watermark that is behind after a crash means repeats only.
        A sink that is gone by now has none.
        """
        if position > self._watermarks.get(sink, position):
            self._watermarks[sink] = position
            self._moved.add(sink)

    def rewind(self, sink: str, position: Position) -> None:
        """
        A sink has confirmed no more than this: what comes after it is kept until it is confirmed again.

        It is written with the next transaction. The caller makes sure that the journal still has it.
        """
        if position < self._watermarks[sink]:
            self._watermarks[sink] = position
            self._moved.add(sink)

    def skip_all(self) -> None:
        """Nothing that is recorded is to be sent any more; written with the next transaction."""
        for sink in self._watermarks:
            self.acknowledge(sink, self.end)

    def oldest(self) -> int:
        """Sequence of the first message of the present epoch that the journal has; else the next one's."""
        with explained(self.path):
            return self._journal.oldest(self._epoch) or self._last_sequence + 1

    def slowest(self) -> Position:
        """How far every sink has confirmed; the end of the stream where there is none."""
        return min(self._watermarks.values(), default=self.end)

    def park(
        self, sink: str, position: Position, record: bytes, replacement: bytes, reason: str, detail: str
    ) -> bool:
        """
        Set a message aside for one sink and put another in its place; committed when it returns.

        From then on readers of that sink get the replacement. A message parked before is left as it was:
        False.
        """
        with self._transaction():
            new = self._parked.add(sink, position, record, replacement, reason, detail)
        if new:
            self._parked_bytes += len(record) + len(replacement)
        return new

    def parked_counts(self) -> dict[str, int]:
        """How many wait for an operator, of each sink that has any."""
        with explained(self.path):
            return self._parked.counts()

    @property
    def parked_bytes(self) -> int:
        """Bytes of all parked messages and of what stands in their places; see `takes_parked`."""
        return self._parked_bytes

    def takes_parked(self) -> bool:
        """Whether there is room for one more parked message: they have a bound as long as the journal's."""
        return self._parked_bytes < self.max_bytes

    def parked(self) -> list[Parked]:
        """Every message that waits for an operator, in the order of the stream."""
        with explained(self.path):
            return self._parked.all()

    def settle_parked(self, parked: Iterable[Parked]) -> None:
        """
        An operator has dealt with these messages; committed when it returns.

        What stands in their places stays for as long as the journal keeps their batches.
        """
        with self._transaction():
            freed = self._parked.settle(parked, self._journal.front() or self.end)
        self._parked_bytes -= freed

    # Transactions

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """One transaction, which also takes along the watermarks that moved."""
        with explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._check_alone()
                yield
                self._write_watermarks({sink: self._watermarks[sink] for sink in self._moved})
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors (disk full, I/O error).
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        self._moved.clear()

    def _check_alone(self) -> None:
        """Within a transaction: nobody else has written, and from now on nobody can."""
        self._fence.check()
        if self._data_version() != self._version:
            raise taken_over(self.path)

    def _write_watermarks(self, watermarks: dict[str, Position]) -> None:
        rows = [(sink, *position) for sink, position in watermarks.items()]
        self._connection.executemany(
            "INSERT OR REPLACE INTO watermarks (sink, epoch, sequence) VALUES (?,?,?)", rows
        )

    def _set_meta(self, **values: Any) -> None:
        self._connection.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?,?)", values.items())
