"""Mutants of the store: its transaction, its numbers, its bound and its lock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.mutants.mutant import Mutant
from tests.mutants.patching import Patch

_STORE = "tests/outbox/test_store.py"
_DOUBT = "tests/outbox/test_doubt.py"


def _synchronous_normal(patch: Patch) -> None:
    """A commit returns before it is on disk: a power cut takes back what was published."""
    from inotify_bridge.outbox import store

    @patch.instead_of(store, "open_writer")
    def open_writer(original: Any, *arguments: Any, **named: Any) -> Any:
        connection = original(*arguments, **named)
        if connection.execute("PRAGMA synchronous").fetchone()[0] > 1:  # a private store waits for no disk
            connection.execute("PRAGMA synchronous = NORMAL")
        return connection


def _two_transactions(patch: Patch) -> None:
    """The index is committed first, and the messages about it in a transaction of their own."""
    from inotify_bridge.outbox.store import Store

    @patch.instead_of(Store, "commit")
    def commit(original: Any, self: Any, records: Any, writes: Any, *rest: Any, **named: Any) -> Any:
        original(self, [], writes, *rest, **named)
        return original(self, records, {}, *rest, **named)


def _sequence_recomputed(patch: Patch) -> None:
    """After a restart numbers go on from what the journal happens to hold."""
    from inotify_bridge.outbox.store import Store

    @patch.instead_of(Store, "__init__")
    def init(original: Any, self: Any, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        row = self._connection.execute("SELECT max(last) FROM batches WHERE epoch = ?", (self._epoch,))
        self._last_sequence = row.fetchone()[0] or 0


def _epoch_by_the_clock(patch: Patch) -> None:
    """An epoch's time is the clock's, whatever came before: set back, it is lower than the last one."""
    from inotify_bridge.outbox.store import Store

    @patch.instead_of(Store, "mint_epoch")
    def mint_epoch(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        self._epoch = ""
        if self._note is not None:
            self._note.facts = replace(self._note.facts, floor="")
        return original(self, *arguments, **named)


def _rollback_unnoticed(patch: Patch) -> None:
    """A database that was put back from a backup goes on in its epoch, with numbers that were given."""
    from inotify_bridge.outbox.store import Store

    @patch.instead_of(Store, "_doubt")
    def doubt(original: Any, self: Any, existed: bool) -> str:
        said = str(original(self, existed))
        return "" if said in ("note_missing", "restored", "rolled_back") else said


def _damaged_removed(patch: Patch) -> None:
    """A damaged database is removed: what could be found out from it is gone."""
    from inotify_bridge.outbox import store

    @patch.instead_of(store, "set_aside")
    def set_aside(original: Any, path: Any) -> None:
        path.unlink()


def _no_fence(patch: Patch) -> None:
    """An agent that was stopped, and replaced meanwhile, goes on writing over its successor."""
    from inotify_bridge.outbox.fence import Fence

    @patch.instead_of(Fence, "check")
    def check(original: Any, self: Any) -> None:
        """Whoever has the files now."""


def _epoch_keeps_the_index(patch: Patch) -> None:
    """A new epoch begins with a difference to the old one instead of a full snapshot."""
    from inotify_bridge.outbox.index import IndexTable

    @patch.instead_of(IndexTable, "clear")
    def clear(original: Any, self: Any) -> None:
        """The rows stay."""


def _journal_unbounded(patch: Patch) -> None:
    """The journal takes batches however full it is."""
    from inotify_bridge.outbox.store import Store

    @patch.instead_of(Store, "admits")
    def admits(original: Any, self: Any, was_full: bool = False) -> bool:
        return True


def _pruned_at_the_quickest(patch: Patch) -> None:
    """Messages are removed when one sink has confirmed them, whatever the others still wait for."""
    from inotify_bridge.outbox.store import Store

    @patch.instead_of(Store, "slowest")
    def slowest(original: Any, self: Any) -> Any:
        return max(self._watermarks.values(), default=self.end)


def _no_lock(patch: Patch) -> None:
    """The state directory is locked by nobody: a second agent writes into the same stream."""
    import os

    from inotify_bridge.outbox.lock import DirectoryLock

    @patch.instead_of(DirectoryLock, "__init__")
    def init(original: Any, self: Any, directory: Any) -> None:
        self._descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)


def _watermark_forgotten(patch: Patch) -> None:
    """After a restart every sink goes on at the end of the stream: what it had not got is skipped."""
    from inotify_bridge.outbox.store import Store

    @patch.instead_of(Store, "__init__")
    def init(original: Any, self: Any, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        self._watermarks = dict.fromkeys(self._watermarks, self.end)


def _note_not_kept(patch: Patch) -> None:
    """What is written beside the database says how it began, and not how far it has come."""
    from inotify_bridge.outbox.note import Note

    @patch.instead_of(Note, "write")
    def write(original: Any, self: Any, epoch: str, sequence: int, *rest: Any, **named: Any) -> None:
        original(self, epoch, 0, *rest, **named)


def _disk_filled(patch: Patch) -> None:
    """The journal grows as long as there is a block left on its disk."""
    from inotify_bridge.outbox.room import Room

    @patch.instead_of(Room, "_short")
    def short(original: Any, self: Any, ease: float) -> bool:
        return False


def _other_writer_unnoticed(patch: Patch) -> None:
    """A store goes on writing though somebody else has written into it."""
    from inotify_bridge.outbox.store import Store

    @patch.instead_of(Store, "_data_version")
    def data_version(original: Any, self: Any) -> int:
        return 0


def _backlog_of_one_epoch(patch: Patch) -> None:
    """What is left of the epochs before counts as delivered: the backlog looks smaller than it is."""
    from inotify_bridge.outbox.store import Store

    @patch.instead_of(Store, "behind")
    def behind(original: Any, self: Any, position: Any) -> int:
        confirmed: int = position.sequence if position.epoch == self._epoch else 0
        return int(self._last_sequence) - confirmed


MUTANTS = (
    Mutant(
        "synchronous NORMAL",
        "R4",
        _synchronous_normal,
        "tests/powerloss/test_powerloss.py::test_nothing_published_is_lost[jsonl]",
    ),
    Mutant(
        "events outside the index transaction",
        "R14",
        _two_transactions,
        f"{_STORE}::test_messages_and_index_are_one_step",
    ),
    Mutant(
        "sequence recomputed after a restart",
        "R5",
        _sequence_recomputed,
        "tests/promises/test_numbers.py::test_numbers_go_on_when_all_was_pruned",
    ),
    Mutant("epoch by the clock alone", "R5", _epoch_by_the_clock, f"{_STORE}::test_epochs_grow"),
    Mutant(
        "epoch reused after a rollback",
        "R5",
        _rollback_unnoticed,
        f"{_DOUBT}::test_a_restored_database",
    ),
    Mutant(
        "damaged database removed", "R15", _damaged_removed, f"{_DOUBT}::test_a_damaged_database_is_set_aside"
    ),
    Mutant(
        "watermark forgotten at a restart",
        "R14",
        _watermark_forgotten,
        f"{_STORE}::test_a_file_keeps_everything",
    ),
    Mutant("note not kept up", "R5", _note_not_kept, f"{_DOUBT}::test_a_restored_database"),
    Mutant(
        "other writer unnoticed", "R16", _other_writer_unnoticed, f"{_DOUBT}::test_another_writer_is_noticed"
    ),
    Mutant(
        "backlog of one epoch",
        "R2",
        _backlog_of_one_epoch,
        "tests/state/test_unrecorded.py::test_what_is_behind_spans_epochs",
    ),
    Mutant("no fence", "R16", _no_fence, f"{_DOUBT}::test_replaced_files_are_noticed"),
    Mutant(
        "new epoch keeps the index",
        "R8",
        _epoch_keeps_the_index,
        "tests/outbox/test_index.py::test_a_new_epoch_empties_the_index",
    ),
    Mutant(
        "journal unbounded",
        "R13",
        _journal_unbounded,
        "tests/promises/test_bounds.py::test_the_journal_stays_at_its_bound",
    ),
    Mutant(
        "disk filled by the journal",
        "R13",
        _disk_filled,
        "tests/state/test_faults.py::test_the_journal_leaves_room_on_its_disk",
    ),
    Mutant(
        "pruned at the quickest sink",
        "R6",
        _pruned_at_the_quickest,
        f"{_STORE}::test_pruned_is_what_all_have_confirmed",
    ),
    Mutant("no flock", "R16", _no_lock, "tests/outbox/test_lock.py::test_held_by_another_process"),
)
