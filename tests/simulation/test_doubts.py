"""When the model is behind, and when it is wrong."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from inotify_bridge.capture.change import Change, Notice, Stat
from inotify_bridge.capture.constants import IN_DELETE, IN_Q_OVERFLOW
from inotify_bridge.capture.port import Handle
from inotify_bridge.capture.reconciler import Options
from tests.simulation.kernel import pack, unpack
from tests.simulation.schedule import KINDS
from tests.simulation.watched import Watched


def test_a_directory_out_of_reach_waits_for_its_records() -> None:
    """However long the backlog is that explains it, a directory that was renamed is not given up."""
    watched = Watched()
    watched.chain(b"a", 3)
    watched.start()
    watched.tree.rename(b"r/a", b"r/b")
    late = watched.inotify.read(1 << 20)
    watched.tree.chmod(b"r/b/a/a", 0o700)  # its record is about a path that leads nowhere yet
    watched.reconciler.feed(watched.inotify.read(1 << 20), watched.port.monotonic(), watched.tree.now)
    told = []
    for backlog in (False, False, *[True] * 100, False):
        watched.tree.now += 60_000_000
        told.extend(watched.reconciler.close_batch(backlog).items)
        assert not watched.reconciler.settled, "it is in doubt"
    watched.reconciler.feed(late, watched.port.monotonic(), watched.tree.now)
    for batch in watched.batches():
        told.extend(batch.items)
    assert not any(isinstance(item, Notice) for item in told)
    assert {item.kind for item in told} == {"moved", "attributes_changed"}


@pytest.mark.parametrize("what", ["attributes", "move"])
def test_a_close_in_a_directory_that_is_away_is_told(what: str) -> None:
    """
    A file was written while its directory was away: it is told as written when that is back, whatever else
    happened to the file by then.
    """
    watched = Watched()
    watched.tree.mkdir(b"r/a", 0o755)
    _write(watched, b"r/a/f", os.O_CREAT)
    watched.start()
    told: list[Change] = []

    def take() -> None:
        watched.reconciler.feed(watched.inotify.read(1 << 20), watched.port.monotonic(), watched.tree.now)
        batch = watched.close(backlog=True)
        told.extend(item for item in batch.items if isinstance(item, Change))

    watched.tree.rename(b"r/a", b"o/a")
    _write(watched, b"o/a/f", os.O_TRUNC)
    take()
    watched.tree.rename(b"o/a", b"r/b")
    take()
    assert not any(change.kind == "written" for change in told), "it is not known yet where it stands"
    if what == "attributes":
        watched.tree.chmod(b"r/b/f", 0o600)
    else:
        watched.tree.rename(b"r/b/f", b"r/b/g")
    take()
    for batch in watched.batches():
        told.extend(item for item in batch.items if isinstance(item, Change))
    assert [change.path for change in told if change.kind == "written"] == [
        b"b/f" if what == "attributes" else b"b/g"
    ]


@pytest.mark.parametrize("known", [False, True])
def test_times_set_in_a_directory_that_is_away_are_told(known: bool) -> None:
    """
    The times of a file were set while the path of its directory was not known, or known to be left: they are
    told when it is back, and no comparison finds them as something new.
    """
    watched = Watched()
    watched.tree.mkdir(b"r/a", 0o755)
    _write(watched, b"r/a/f", os.O_CREAT)
    watched.start()
    watched.tree.rename(b"r/a", b"o/a")
    away = watched.inotify.read(1 << 20)
    watched.tree.utimes(b"o/a/f", 10**18)
    meanwhile = watched.inotify.read(1 << 20)
    watched.tree.rename(b"o/a", b"r/b")
    told: list[Change] = []
    for data in (away + meanwhile,) if known else (meanwhile, away):
        watched.reconciler.feed(data, watched.port.monotonic(), watched.tree.now)
        told.extend(item for item in watched.close(backlog=True).items if isinstance(item, Change))
    for batch in watched.batches():
        told.extend(item for item in batch.items if isinstance(item, Change))
    assert [change.stat.mtime for change in told if change.path == b"b/f" and change.stat] == [10**18]
    watched.reconciler.resync("reload")
    found = [item for batch in watched.batches() for item in batch.items if isinstance(item, Change)]
    assert not found


def test_a_write_in_a_directory_that_moves_is_told_for_every_name() -> None:
    """A file was written through a name whose directory is just being renamed: its other name tells too."""
    watched = Watched()
    watched.tree.mkdir(b"r/a", 0o755)
    _write(watched, b"r/a/f", os.O_CREAT)
    watched.tree.link(b"r/a/f", b"r/other")
    watched.start()
    watched.close()  # what the start found has its other names looked at in a batch of its own
    _write(watched, b"r/a/f", os.O_TRUNC)
    written = watched.inotify.read(1 << 20)
    watched.tree.rename(b"r/a", b"r/b")
    watched.reconciler.feed(written, watched.port.monotonic(), watched.tree.now)
    watched.close(backlog=True)
    for _ in watched.batches():
        pass
    assert {path: entry.size for path, entry in watched.fold.entries().items()} == {
        b"b": 0,
        b"b/f": 5,
        b"other": 5,
    }


def test_a_name_that_cannot_be_looked_at_once_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other name of a file that was written could not be looked at for a moment: it tells yet."""
    watched = Watched()
    watched.tree.mkdir(b"r/a", 0o755)
    _write(watched, b"r/a/f", os.O_CREAT)
    watched.tree.link(b"r/a/f", b"r/other")
    watched.start()
    lstat = watched.port.lstat
    failed: list[bytes] = []

    def fails_once(handle: Any, name: bytes) -> Any:
        if name == b"other" and not failed:
            failed.append(name)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return lstat(handle, name)

    monkeypatch.setattr(watched.port, "lstat", fails_once)
    _write(watched, b"r/a/f", os.O_TRUNC)
    for _ in watched.batches():
        pass
    assert failed
    assert watched.fold.entries()[b"other"].size == 5


def test_a_symbolic_link_in_the_inode_of_the_one_before_is_another() -> None:
    """A link left, and another with another target came in its place, with the number of its inode."""
    watched = Watched()
    watched.tree.symlink(b"/one", b"r/link")
    watched.start()
    inode = watched.tree.find(b"r/link").inode.number
    watched.tree.rename(b"r/link", b"o/link")
    left = watched.inotify.read(1 << 20)
    watched.tree.unlink(b"o/link")
    watched.tree.symlink(b"/two", b"r/link")
    watched.tree.find(b"r/link").inode.number = inode  # as ext4 gives it again
    came = watched.inotify.read(1 << 20)
    _late(watched, left, came)
    assert watched.fold.entries()[b"link"].target == b"/two"


def test_a_file_that_left_and_is_back_under_its_name_was_written() -> None:
    """It was written outside, and is a link to the same inode now: the new content is told."""
    watched = Watched()
    _write(watched, b"r/f", os.O_CREAT)
    watched.start()
    watched.tree.rename(b"r/f", b"o/f")
    left = watched.inotify.read(1 << 20)
    _write(watched, b"o/f", os.O_TRUNC)
    watched.tree.link(b"o/f", b"r/f")
    came = watched.inotify.read(1 << 20)
    _late(watched, left, came)
    assert watched.fold.entries()[b"f"].size == 5


def test_a_deletion_behind_an_overflow_is_not_the_last_word() -> None:
    """
    The kernel loses a creation, and tells of that before the deletion that came first: what is there stays in
    the stream.
    """
    watched = Watched()
    _write(watched, b"r/f", os.O_CREAT)
    watched.start()
    watched.inotify.queue_max = 2
    for name in (b"a", b"b", b"c"):
        watched.tree.mkdir(b"r/" + name, 0o755)
    first = watched.inotify.read(64)
    watched.tree.unlink(b"r/f")
    _write(watched, b"r/f", os.O_CREAT)
    queued = unpack(rest := watched.inotify.read(1 << 20))
    assert [mask & IN_DELETE for _, mask, _, _ in queued[-1:]] == [IN_DELETE], "and its creation is lost"
    assert any(mask & IN_Q_OVERFLOW for _, mask, _, _ in queued[:-1]), "of which this tells"
    at = len(rest) - len(pack(*queued[-1]))
    for data in (first + rest[:at], rest[at:]):
        watched.reconciler.feed(data, watched.port.monotonic(), watched.tree.now)
        watched.close()
        for _ in watched.batches():
            pass
    assert set(watched.fold.entries()) == {b"a", b"b", b"c", b"f"}


def _late(watched: Watched, left: bytes, came: bytes) -> None:
    """A name has left and something has come to it; the recorder hears of one a second before the other."""
    for data in (left, came):
        watched.reconciler.feed(data, watched.port.monotonic(), watched.tree.now)
        watched.close(backlog=data is left)
        watched.tree.now += 1_000_000_000
        watched.reconciler.tick()
    for _ in watched.batches():
        pass


def _write(watched: Watched, path: bytes, flags: int) -> None:
    watched.tree.open(3, path, flags)
    watched.tree.write(3, 5 if flags == os.O_TRUNC else 3)
    watched.tree.close(3)


def test_a_change_that_one_name_does_not_show_is_looked_for_under_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A file of two names was changed after one of them was looked at, and before the other: its record, whose
    directory is elsewhere when it comes, still has the first looked at again.
    """
    watched = Watched(Options(kinds=KINDS | {"modified"}))
    for path in (b"r/c", b"r/c/b", b"r/d"):
        watched.tree.mkdir(path, 0o755)
    watched.tree.open(1, b"r/c/a", os.O_CREAT)
    watched.tree.link(b"r/c/a", b"r/c/b/a")
    lstat = watched.port.lstat
    looks: list[bytes] = []

    def changes_before_the_last(handle: Handle, name: bytes) -> Stat:
        looks.extend([name] if name == b"a" else [])
        if len(looks) == 4 and name == b"a":
            watched.tree.truncate(b"r/c/b/a", 46)
        return lstat(handle, name)

    monkeypatch.setattr(watched.port, "lstat", changes_before_the_last)
    watched.reconciler.start()
    watched.close()
    assert [entry.size for path, entry in watched.fold.entries().items() if path[-1:] == b"a"] == [0, 46]
    watched.tree.rename(b"r/c/b", b"r/d/b")
    modified = watched.inotify.read(32)
    watched.reconciler.feed(modified, watched.port.monotonic(), watched.tree.now)
    watched.close()
    for _ in watched.batches():
        pass
    assert {path: entry.size for path, entry in watched.fold.entries().items() if path[-1:] == b"a"} == {
        b"c/a": 46,
        b"d/b/a": 46,
    }
