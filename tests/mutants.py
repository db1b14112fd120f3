"""
Mutants: the capture with one of its thoughts taken out. The schedules must catch every one of them.

A mutant names the methods it replaces; where one of them is renamed, it fails loudly and is to be mended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pytest

from inotify_bridge.capture.change import Stat
from inotify_bridge.capture.doors import Doors
from inotify_bridge.capture.hints import Hints
from inotify_bridge.capture.judge import Judge
from inotify_bridge.capture.model import Model
from inotify_bridge.capture.port import Handle
from inotify_bridge.capture.reconciler import Reconciler
from inotify_bridge.capture.scanner import Scanner
from inotify_bridge.capture.tree import Directory, Tree


class Mutant(NamedTuple):
    """
    One mutant.

    Args:
        name: what it leaves out.
        apply: replaces methods until the patch is undone.
        schedules: within so many it must be caught.
    """

    name: str
    apply: Callable[[pytest.MonkeyPatch], None]
    schedules: int = 500


def _nothing(*_: object) -> None:
    """Does nothing."""


def _scan_before_add(patch: pytest.MonkeyPatch) -> None:
    """New directories are listed first and watched then: what is made in between is never seen."""
    early: dict[tuple[int, int], list[bytes]] = {}
    bind: Any = Judge._bind
    listed: Any = Scanner._listed

    def mutated_bind(self: Judge, node: Directory, name: bytes, kid: Any, inner: Handle, *rest: Any) -> None:
        with suppress(OSError):
            early[inner.identity] = list(self._port.names(inner))
        bind(self, node, name, kid, inner, *rest)

    def mutated_listed(self: Scanner, node: Directory, handle: Handle) -> Iterator[bytes]:
        names = early.pop((node.device, node.inode), None)
        found: Iterator[bytes] = listed(self, node, handle) if names is None else iter(names)
        return found

    patch.setattr(Judge, "_bind", mutated_bind)
    patch.setattr(Scanner, "_listed", mutated_listed)


def _no_check(patch: pytest.MonkeyPatch) -> None:
    """What a look finds different from the model is left as the records told it."""
    patch.setattr(Judge, "doubt", _nothing)


def _overflow_ignored(patch: pytest.MonkeyPatch) -> None:
    """The kernel said that it lost records, and nothing follows."""
    patch.setattr(Reconciler, "_overflowed", _nothing)


def _unpaired_kept(patch: pytest.MonkeyPatch) -> None:
    """A name that moved out stays in the model."""

    def release(self: Hints, now: float) -> None:
        self._renames.expired(now)

    patch.setattr(Hints, "release", release)


def _subtree_lost(patch: pytest.MonkeyPatch) -> None:
    """What is below a renamed directory goes on under its old path."""
    patch.setattr(Tree, "paths_changed", _nothing)


def _subtree_left(patch: pytest.MonkeyPatch) -> None:
    """A renamed directory leaves its contents behind."""
    move: Any = Model.move

    def mutated(self: Model, node: Directory, name: bytes, to: Directory, to_name: bytes) -> None:
        move(self, node, name, to, to_name)
        kid = to.kids.get(to_name)
        if isinstance(kid, Directory):
            kid.kids = {}

    patch.setattr(Model, "move", mutated)


def _identity_not_compared(patch: pytest.MonkeyPatch) -> None:
    """Whatever directory stands at a path is taken for the one the model means."""
    patch.setattr(Doors, "_verified", staticmethod(lambda handle, node: handle))
    patch.setattr(Hints, "_leads", lambda self, node, name, kid: True)
    patch.setattr(Judge, "_same_or_none", lambda self, node, name, kid, inner: kid)
    same: Any = Judge._same_directory

    def mutated(self: Judge, node: Directory, name: bytes, kid: Directory, changes: Any, seen: Stat) -> bool:
        seen = seen._replace(device=kid.device, inode=kid.inode) if kid.inode else seen
        agrees: bool = same(self, node, name, kid, changes, seen)
        return agrees

    patch.setattr(Judge, "_same_directory", mutated)


MUTANTS = (
    Mutant("scan before add", _scan_before_add),
    Mutant("no check after the batch", _no_check),
    Mutant("overflow ignored", _overflow_ignored),
    Mutant("unpaired MOVED_FROM kept", _unpaired_kept),
    Mutant("subtree rename lost", _subtree_lost),
    Mutant("subtree left behind", _subtree_left),
    Mutant("identity not compared", _identity_not_compared, schedules=1500),
)
