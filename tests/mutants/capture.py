"""
Mutants of the capture: a thought of the reconciler taken out.

Every function here imports what it replaces itself: a process loads no more than its mutant needs.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from tests.mutants.mutant import Mutant
from tests.mutants.patching import Patch

_SCHEDULES = "tests/simulation/test_schedules.py::test_every_schedule_converges"
_ROOTS = "tests/kernel/test_roots.py"


def _scan_before_add(patch: Patch) -> None:
    """New directories are listed first and watched then: what is made in between is never seen."""
    from inotify_bridge.capture.judge import Judge
    from inotify_bridge.capture.scanner import Scanner

    early: dict[tuple[int, int], list[bytes]] = {}

    @patch.instead_of(Judge, "_bind")
    def bind(original: Any, self: Any, node: Any, name: bytes, kid: Any, inner: Any, *rest: Any) -> None:
        with suppress(OSError):
            early[inner.identity] = list(self._port.names(inner))
        original(self, node, name, kid, inner, *rest)

    @patch.instead_of(Scanner, "_listed")
    def listed(original: Any, self: Any, node: Any, handle: Any) -> Iterator[bytes]:
        names = early.pop((node.device, node.inode), None)
        found: Iterator[bytes] = original(self, node, handle) if names is None else iter(names)
        return found


def _no_check(patch: Patch) -> None:
    """What a look finds different from the model is left as the records told it."""
    from inotify_bridge.capture.judge import Judge

    @patch.instead_of(Judge, "doubt")
    def doubt(original: Any, self: Any, node: Any, name: bytes) -> None:
        """Nothing is doubted."""


def _close_forgotten(patch: Patch) -> None:
    """A close that was recorded while the path of its file was not certain is not kept."""
    from inotify_bridge.capture.model import Model

    @patch.instead_of(Model, "suspect")
    def suspect(original: Any, self: Any, *about: Any, **more: Any) -> None:
        """Nothing is kept for later."""


def _times_forgotten(patch: Patch) -> None:
    """That attributes were recorded while the path of a file was not certain is not kept."""
    from inotify_bridge.capture.model import Model

    @patch.instead_of(Model, "suspect")
    def suspect(original: Any, self: Any, node: Any, name: bytes, kind: str, told: bool = False) -> None:
        if kind != "attributes_changed":
            original(self, node, name, kind, told)


def _deletions_believed(patch: Patch) -> None:
    """After an overflow a deletion is the last word, though the creation behind it may have been lost."""
    from inotify_bridge.capture.hints import Hints

    @patch.instead_of(Hints, "be_wary")
    def be_wary(original: Any, self: Any) -> None:
        """Everything is believed as always."""


def _uncovered_left(patch: Patch) -> None:
    """What moves out from below a directory that is polled is left to a poll that no longer comes to it."""
    from inotify_bridge.capture.coverage import Coverage

    @patch.instead_of(Coverage, "left")
    def left(original: Any, self: Any, moved: Any) -> list[Any]:
        return []


def _late_doubts_left(patch: Patch) -> None:
    """A barrier hastens the doubts that there are, and not those that come of the looks of its own batch."""
    from inotify_bridge.capture.doubts import Doubts

    @patch.instead_of(Doubts, "hasten")
    def hasten(original: Any, self: Any) -> None:
        self._judge.doubts.update(dict.fromkeys(self._judge.doubts, float("-inf")))


def _overflow_ignored(patch: Patch) -> None:
    """The kernel said that it lost records, and nothing follows."""
    from inotify_bridge.capture.reconciler import Reconciler

    @patch.instead_of(Reconciler, "_overflowed")
    def overflowed(original: Any, self: Any) -> None:
        """No resync."""


def _unpaired_kept(patch: Patch) -> None:
    """A name that moved out of the tree stays in the model."""
    from inotify_bridge.capture.hints import Hints

    @patch.instead_of(Hints, "release")
    def release(original: Any, self: Any, now: float) -> None:
        self._renames.expired(now)


def _subtree_lost(patch: Patch) -> None:
    """What is below a renamed directory goes on under its old path."""
    from inotify_bridge.capture.tree import Tree

    @patch.instead_of(Tree, "paths_changed")
    def paths_changed(original: Any, self: Any) -> None:
        """Paths that were built before stay."""


def _subtree_left(patch: Patch) -> None:
    """A renamed directory leaves its contents behind."""
    from inotify_bridge.capture.model import Model
    from inotify_bridge.capture.tree import Directory

    @patch.instead_of(Model, "move")
    def move(original: Any, self: Any, node: Any, name: bytes, to: Any, to_name: bytes) -> None:
        original(self, node, name, to, to_name)
        kid = to.kids.get(to_name)
        if isinstance(kid, Directory):
            kid.kids = {}


def _identity_not_compared(patch: Patch) -> None:
    """Whatever directory stands at a path is taken for the one the model means."""
    from inotify_bridge.capture.doors import Doors
    from inotify_bridge.capture.hints import Hints
    from inotify_bridge.capture.judge import Judge

    @patch.instead_of(Doors, "_verified")
    def verified(original: Any, handle: Any, node: Any) -> Any:
        return handle

    @patch.instead_of(Hints, "_leads")
    def leads(original: Any, self: Any, node: Any, name: bytes, kid: Any) -> bool:
        return True

    @patch.instead_of(Judge, "_same_or_none")
    def same_or_none(original: Any, self: Any, node: Any, name: bytes, kid: Any, inner: Any) -> Any:
        return kid

    @patch.instead_of(Judge, "_same_directory")
    def same(original: Any, self: Any, node: Any, name: bytes, kid: Any, changes: Any, seen: Any) -> Any:
        seen = seen._replace(device=kid.device, inode=kid.inode) if kid.inode else seen
        return original(self, node, name, kid, changes, seen)


def _bracket_left_out(patch: Patch) -> None:
    """A resync does not say that it began: a consumer takes what it finds for news."""
    from inotify_bridge.capture.resync import Resyncs

    @patch.instead_of(Resyncs, "_begin")
    def begin(original: Any, self: Any, *arguments: Any) -> None:
        model, self._model = self._model, _Mute()
        original(self, *arguments)
        self._model = model


class _Mute:
    """A model that says nothing about itself."""

    def notice(self, *_: Any, **__: Any) -> None:
        """Dropped."""


def _limits_not_told(patch: Patch) -> None:
    """A directory for which there is no watch (ENOSPC) or no right to read is neither told of nor polled."""
    from inotify_bridge.capture.coverage import Coverage

    @patch.instead_of(Coverage, "degrade")
    def degrade(original: Any, self: Any, node: Any, code: int, now: float) -> None:
        """Swallowed."""


def _lost_root_deleted(patch: Patch) -> None:
    """Where a root's path leads nowhere, everything in it is told as deleted."""
    from inotify_bridge.capture.roots import Roots

    @patch.instead_of(Roots, "_lose")
    def lose(original: Any, self: Any, root: Any, code: int) -> None:
        for name in list(root.kids):
            self._model.drop(root, name)
        original(self, root, code)


def _empty_root_taken(patch: Patch) -> None:
    """An empty directory in place of a lost root is taken for the tree."""
    from inotify_bridge.capture.roots import Roots

    @patch.instead_of(Roots, "_acceptable")
    def acceptable(original: Any, self: Any, root: Any, handle: Any) -> bool:
        return True


def _links_followed(patch: Patch) -> None:
    """A directory is opened by its name alone, through whatever symbolic link stands there."""
    import os

    from inotify_bridge.capture.filesystem import KernelFileSystem

    @patch.instead_of(KernelFileSystem, "_open")
    def opened(original: Any, self: Any, at: int, path: bytes) -> int:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=at)


def _root_followed(patch: Patch) -> None:
    """A root that turned into a symbolic link is followed."""
    from inotify_bridge.capture.filesystem import KernelFileSystem

    @patch.instead_of(KernelFileSystem, "open_root")
    def open_root(original: Any, self: Any, path: bytes) -> Any:
        self._plain.discard(path)
        return original(self, path)


def _queue_unbounded(patch: Patch) -> None:
    """The notifier goes on reading however much waits for the recorder."""
    from inotify_bridge.capture.notifier import Inbox

    @patch.instead_of(Inbox, "put")
    def put(original: Any, self: Any, entry: Any) -> bool:
        bound, self.max_bytes = self.max_bytes, 1 << 62
        room: bool = original(self, entry)
        self.max_bytes = bound
        return room


def _calls_behind_reads(patch: Patch) -> None:
    """Calls wait behind reads: a recorder that takes none serves nobody, and the relays wait for it."""
    from inotify_bridge.capture.notifier import Inbox

    @patch.instead_of(Inbox, "call")
    def call(original: Any, self: Any, act: Any) -> None:
        self.put(act)


def _barrier_at_once(patch: Patch) -> None:
    """A barrier passes when it is asked for."""
    from inotify_bridge.capture.notifier import Notifier

    @patch.instead_of(Notifier, "barrier")
    def barrier(original: Any, self: Any) -> Any:
        asked = original(self)
        asked.passed.set()
        return asked


def _barrier_without_drain(patch: Patch) -> None:
    """A barrier does not wait for what the kernel has queued and nobody has read."""
    from inotify_bridge.capture.notifier import Notifier

    @patch.instead_of(Notifier, "_serve_barriers")
    def serve(original: Any, self: Any) -> None:
        while self._barriers:
            self._inbox.put(self._barriers.popleft())


def _barrier_without_settling(patch: Patch) -> None:
    """A barrier does not wait for renames whose other half may come, nor for names in doubt."""
    from inotify_bridge.capture.reconciler import Reconciler

    @patch.instead_of(Reconciler, "settle")
    def settle(original: Any, self: Any) -> None:
        """What waits goes on waiting."""


def _barrier_while_listing(patch: Patch) -> None:
    """A barrier passes while a directory that came in is still being listed."""
    from inotify_bridge.capture.reconciler import Reconciler

    @patch.instead_of(Reconciler, "adopting")
    def adopting(original: Any, self: Any) -> bool:
        return False


def _barrier_while_repairing(patch: Patch) -> None:
    """A barrier passes although the resync that finds what an overflow lost is still to come."""
    from inotify_bridge.capture.resync import Resyncs

    @patch.instead_of(Resyncs, "hasten")
    def hasten(original: Any, self: Any) -> None:
        """It has time."""


def _emptied_root_waited_for(patch: Patch) -> None:
    """A root that was emptied while the agent was down counts as not mounted yet, for ever."""
    from inotify_bridge.capture.roots import Roots

    @patch.instead_of(Roots, "_was")
    def was(original: Any, self: Any, root: Any, handle: Any) -> bool:
        return False


def _root_known_by_number(patch: Patch) -> None:
    """A root whose watch has ended counts as covered where a directory with its inode's number stands."""
    from inotify_bridge.capture.roots import Roots

    @patch.instead_of(Roots, "_unwatched")
    def unwatched(original: Any, self: Any, root: Any, handle: Any, code: int) -> None:
        if root.lost or (root.device, root.inode) != handle.identity:
            original(self, root, handle, code)


def _attributes_of_one_name(patch: Patch) -> None:
    """Times set through one name of a file are told for none of its names."""
    from inotify_bridge.capture import judge

    @patch.instead_of(judge, "difference")
    def difference(original: Any, before: Any, seen: Any, audit: bool, times: bool = False) -> Any:
        return original(before, seen, audit)


def _replacement_untold(patch: Patch) -> None:
    """A directory that was replaced while nobody looked keeps the inode of the old one in the stream."""
    from inotify_bridge.capture import judge

    @patch.instead_of(judge, "difference")
    def difference(original: Any, before: Any, seen: Any, *rest: Any) -> Any:
        if before is not None and stat.S_ISDIR(seen.mode):
            before = before._replace(inode=seen.inode)
        return original(before, seen, *rest)


MUTANTS = (
    Mutant("scan before add", "R9", _scan_before_add, _SCHEDULES, 500),
    Mutant("no check after the batch", "R1", _no_check, _SCHEDULES, 500),
    Mutant("overflow ignored", "R2", _overflow_ignored, _SCHEDULES, 500),
    Mutant("unpaired MOVED_FROM kept", "R10", _unpaired_kept, _SCHEDULES, 500),
    Mutant("subtree rename lost", "R10", _subtree_lost, _SCHEDULES, 500),
    Mutant("subtree left behind", "R10", _subtree_left, _SCHEDULES, 500),
    Mutant("identity not compared", "R9", _identity_not_compared, _SCHEDULES, 1500),
    Mutant("resync bracket left out", "R2", _bracket_left_out, _SCHEDULES, 500),
    Mutant(
        "emptied root waited for",
        "R1",
        _emptied_root_waited_for,
        "tests/state/test_roots.py::test_emptied_while_it_was_down",
    ),
    Mutant(
        "attributes told for one name",
        "R1",
        _attributes_of_one_name,
        "tests/kernel/test_scenarios.py::test_attributes_of_a_file_with_two_names",
    ),
    Mutant("close while away forgotten", "R1", _close_forgotten, "tests/simulation/test_doubts.py"),
    Mutant(
        "times while away forgotten",
        "R1",
        _times_forgotten,
        "tests/simulation/test_doubts.py::test_times_set_in_a_directory_that_is_away_are_told",
    ),
    Mutant(
        "deletions behind an overflow believed",
        "R1",
        _deletions_believed,
        "tests/simulation/test_doubts.py::test_a_deletion_behind_an_overflow_is_not_the_last_word",
    ),
    Mutant(
        "moves out of uncovered directories forgotten",
        "R1",
        _uncovered_left,
        "tests/simulation/test_scans.py::test_a_directory_that_leaves_one_out_of_reach_is_compared_too",
    ),
    Mutant(
        "late doubts left by a barrier",
        "R20",
        _late_doubts_left,
        "tests/promises/test_barriers.py::test_what_comes_into_doubt_in_its_own_batch_stands_before_it",
    ),
    Mutant(
        "replaced directory not told",
        "R14",
        _replacement_untold,
        "tests/state/test_roots.py::test_a_directory_replaced_while_it_was_down",
    ),
    Mutant("limits not told", "R11", _limits_not_told, "tests/kernel/test_limits.py::test_no_watch_left"),
    Mutant(
        "root known by its number",
        "R11",
        _root_known_by_number,
        "tests/simulation/test_scans.py::test_a_root_made_again_beyond_the_limit_of_watches_is_polled",
    ),
    Mutant("lost root as deletions", "R12", _lost_root_deleted, f"{_ROOTS}::test_root_renamed_away"),
    Mutant(
        "empty root taken",
        "R12",
        _empty_root_taken,
        "tests/promises/test_roots.py::test_an_empty_directory_says_nothing",
    ),
    Mutant(
        "symlink followed on open",
        "R18",
        _links_followed,
        "tests/promises/test_confinement.py::test_no_link_is_followed",
    ),
    Mutant(
        "root followed through a link",
        "R18",
        _root_followed,
        "tests/attack/test_names.py::test_a_root_that_becomes_a_link_is_lost",
    ),
    Mutant(
        "unbounded queue",
        "R13",
        _queue_unbounded,
        "tests/promises/test_bounds.py::test_reading_pauses_at_the_bound",
    ),
    Mutant(
        "blocked recorder serves nobody",
        "R13",
        _calls_behind_reads,
        "tests/promises/test_parking.py::test_a_full_journal_takes_parked_messages",
    ),
    Mutant(
        "barrier answered at once",
        "R20",
        _barrier_at_once,
        "tests/agent/test_barrier.py::test_everything_before_it_is_in_the_journal",
    ),
    Mutant(
        "barrier before renames are settled",
        "R20",
        _barrier_without_settling,
        "tests/promises/test_barriers.py::test_a_move_out_of_the_tree_stands_before_it",
    ),
    Mutant(
        "barrier while listing",
        "R20",
        _barrier_while_listing,
        "tests/promises/test_barriers.py::test_a_moved_in_directory_stands_before_it_to_its_last_file",
    ),
    Mutant(
        "barrier while repairing",
        "R20",
        _barrier_while_repairing,
        "tests/promises/test_barriers.py::test_what_an_overflow_lost_stands_before_it",
    ),
    Mutant(
        "barrier without the kernel's queue",
        "R20",
        _barrier_without_drain,
        "tests/promises/test_barriers.py::test_it_stands_behind_what_only_the_kernel_holds",
    ),
)
