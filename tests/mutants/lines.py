"""Mutants of the log monitor: its transaction, its identities, its order and what it tells of losses."""

from __future__ import annotations

import os
from typing import Any

from tests.mutants.mutant import Mutant
from tests.mutants.patching import Patch

_AGENT = "tests/agent/test_lines.py"


def _offsets_first(patch: Patch) -> None:
    """How far a file was read is committed before the entries are: a crash between them loses entries."""
    from inotify_bridge.outbox.store import Store

    @patch.instead_of(Store, "commit")
    def commit(original: Any, self: Any, records: Any, writes: Any, followed: Any = None) -> None:
        with self._transaction():
            self._followed.write(followed or {})
        original(self, records, writes, {})


def _entries_first(patch: Patch) -> None:
    """The entries are committed before it is known how far was read: a crash after them gives some twice."""
    from inotify_bridge.outbox.store import Store

    late: list[Any] = []

    @patch.instead_of(Store, "commit")
    def commit(original: Any, self: Any, records: Any, writes: Any, followed: Any = None) -> None:
        original(self, records, writes, late.pop() if late else {})
        if followed:
            late.append(followed)


def _inode_is_identity(patch: Patch) -> None:
    """What a file holds is not compared: the inode alone says that it is the one that was read."""
    from inotify_bridge.lines.generation import Generation

    @patch.instead_of(Generation, "fits")
    def fits(original: Any, self: Any, fd: int) -> bool:
        return bool(os.fstat(fd).st_size >= self.offset)


def _truncation_by_size(patch: Patch) -> None:
    """A file counts as truncated only where it is shorter than what was read of it."""
    from inotify_bridge.lines.generation import Generation

    @patch.instead_of(Generation, "read")
    def read(original: Any, self: Any, limit: int, now: float) -> Any:
        if self.fd >= 0 and limit >= self.read_to:
            self._before = b""
        return original(self, limit, now)


def _unseen_ignored(patch: Patch) -> None:
    """What was rotated twice between two looks is not looked for."""
    from inotify_bridge.lines.search import Search

    @patch.instead_of(Search, "_adopt")
    def adopt(original: Any, self: Any, *arguments: Any) -> None:
        return None


def _loss_is_silent(patch: Patch) -> None:
    """What is gone unread is not told."""
    from inotify_bridge.lines.report import Report

    @patch.instead_of(Report, "lost")
    def lost(original: Any, self: Any, *arguments: Any) -> None:
        return None


def _cut_with_the_next(patch: Patch) -> None:
    """A line that is too long counts to the entry before it, although it begins another."""
    from inotify_bridge.lines.splitter import Splitter

    @patch.instead_of(Splitter, "_cut")
    def cut(original: Any, self: Any, found: Any) -> None:
        starts, self._starts = self._starts, lambda line: False
        original(self, found)
        self._starts = starts


def _line_without_a_bound(patch: Patch) -> None:
    """A line is kept until its end comes, however long that takes."""
    from inotify_bridge.lines.splitter import Splitter

    @patch.instead_of(Splitter, "_cut")
    def cut(original: Any, self: Any, found: Any) -> None:
        """It may end soon."""


def _logs_stay_open(patch: Patch) -> None:
    """Every log that was ever read keeps its descriptor."""
    from inotify_bridge.lines.follower import Follower

    @patch.instead_of(Follower, "_let_go")
    def let_go(original: Any, self: Any, generation: Any) -> None:
        """It may be written again."""


MUTANTS = (
    Mutant(
        "offsets before entries",
        "R14",
        _offsets_first,
        "tests/outbox/test_followed.py::test_offsets_and_entries_are_one_step",
    ),
    Mutant(
        "entries before offsets",
        "R14",
        _entries_first,
        f"{_AGENT}::test_killed_around_a_commit[after_commit]",
    ),
    Mutant(
        "inode taken for identity",
        "R14",
        _inode_is_identity,
        f"{_AGENT}::test_rotated_while_it_was_down[copy]",
    ),
    Mutant(
        "truncation told by size", "R14", _truncation_by_size, f"{_AGENT}::test_truncated_and_written_again"
    ),
    Mutant(
        "unseen generations ignored",
        "R14",
        _unseen_ignored,
        f"{_AGENT}::test_rotated_while_it_was_down[rename]",
    ),
    Mutant("lost lines not told", "R2", _loss_is_silent, f"{_AGENT}::test_what_is_lost_is_told"),
    Mutant(
        "entry cut with the one before",
        "R2",
        _cut_with_the_next,
        "tests/lines/test_splitter.py::test_reads_make_no_difference",
    ),
    Mutant(
        "line without a bound",
        "R13",
        _line_without_a_bound,
        "tests/lines/test_splitter.py::test_no_line_at_all_takes_no_memory",
    ),
    Mutant("logs stay open", "R13", _logs_stay_open, f"{_AGENT}::test_many_files"),
)
