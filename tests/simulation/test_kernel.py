"""The simulated kernel is held against the real one, record by record."""

from __future__ import annotations

import ctypes
import errno
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inotify_bridge.capture.constants import (
    IN_CREATE,
    IN_DELETE_SELF,
    IN_MODIFY,
    IN_MOVE_SELF,
    IN_Q_OVERFLOW,
    WATCH_MASK,
)
from tests.simulation.kernel import Inotify, pack, unpack
from tests.simulation.tree import Dentry, Operation, Tree
from tests.storm.executor import Executor
from tests.storm.operations import Mix, Operations

EVERYTHING = WATCH_MASK | IN_MODIFY | IN_DELETE_SELF | IN_MOVE_SELF

Record = tuple[int, int, int, bytes]


class Twins:
    """The same tree in memory and on the disk, both watched with the same calls in the same order."""

    def __init__(self, where: Path) -> None:
        self.root, self.outside = os.fsencode(where / "root"), os.fsencode(where / "outside")
        os.mkdir(self.root)
        os.mkdir(self.outside)
        self.inotify = Inotify()
        self.tree = Tree(self.inotify)
        self.tree.mkdir(b"r", 0o755)
        self.tree.mkdir(b"o", 0o755)
        self.executor = Executor(self.root, self.outside)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._cookies: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._temporary: dict[bytes, bytes] = {}
        self._held: dict[bytes, tuple[int, Dentry]] = {}
        self.watch(b"r")

    def close(self) -> None:
        for held in list(self._held):
            self.release(held)
        for fd in list(self.tree.files):
            self.executor.close(fd)
        os.close(self._fd)

    def _real(self, path: bytes) -> bytes:
        return (self.root if path[:1] == b"r" else self.outside) + path[1:]

    def watch(self, path: bytes, mask: int = EVERYTHING) -> int:
        """Add a watch on both; the numbers must agree."""
        wd = self.inotify.add(self.tree.find(path).inode, mask)
        assert self._libc.inotify_add_watch(self._fd, self._real(path), mask) == wd
        return wd

    def unwatch(self, wd: int) -> None:
        self.inotify.remove(wd)
        assert self._libc.inotify_rm_watch(self._fd, wd) == 0

    def hold(self, path: bytes) -> None:
        """Open a directory on both."""
        entry = self.tree.find(path)
        self.tree.pin(entry)
        self._held[path] = (os.open(self._real(path), os.O_RDONLY | os.O_DIRECTORY), entry)

    def release(self, path: bytes) -> None:
        fd, entry = self._held.pop(path)
        os.close(fd)
        self.tree.unpin_directory(entry)

    def apply(self, *operations: Operation) -> None:
        for operation in operations:
            if operation[0] == "tmpfile":
                self.compare()  # its inode number may have been another's, under whose name events are queued
            self.tree.apply(operation)
            self.executor.apply(operation)
            if operation[0] == "tmpfile":
                fd = int(operation[1:][0])
                number = os.fstat(self.executor.descriptor(fd)).st_ino
                self._temporary[b"#%d" % number] = self.tree.files[fd].name

    def compare(self) -> list[Record]:
        """Read both; they must be the same records. Returns those of the simulation."""
        simulated = self._plain(self._read_simulated(), self._cookies[0])
        real = self._plain(self._read_real(), self._cookies[1])
        assert simulated == [(*record[:3], self._temporary.get(record[3], record[3])) for record in real]
        return simulated

    def _plain(self, records: list[Record], cookies: dict[int, int]) -> list[Record]:
        """Cookies count from anywhere: only the pairing is compared."""
        return [
            (wd, mask, c and cookies.setdefault(c, len(cookies) + 1), name) for wd, mask, c, name in records
        ]

    def _read_simulated(self) -> list[Record]:
        return unpack(self.inotify.read(1 << 20)) if len(self.inotify) else []

    def _read_real(self) -> list[Record]:
        try:
            return unpack(os.read(self._fd, 1 << 20))
        except BlockingIOError:
            return []


@contextmanager
def twins(where: Path) -> Iterator[Twins]:
    where.mkdir(exist_ok=True)
    made = Twins(where)
    try:
        yield made
    finally:
        made.close()


C, T = os.O_CREAT, os.O_TRUNC
ME = os.geteuid(), os.getegid()
SCRIPTS: dict[str, list[Operation]] = {
    "create": [("open", 1, b"r/a", C), ("write", 1, 5), ("write", 1, 5), ("close", 1)],
    "create empty": [("open", 1, b"r/a", C), ("close", 1)],
    "rewrite": [("open", 1, b"r/f", 0), ("write", 1, 5), ("close", 1)],
    "rewrite truncated": [("open", 1, b"r/f", T), ("write", 1, 5), ("close", 1)],
    "truncate": [("truncate", b"r/f", 1), ("truncate", b"r/f", 100)],
    "chmod file": [("chmod", b"r/f", 0o600)],
    "chmod directory": [("chmod", b"r/d", 0o700)],
    "chmod root": [("chmod", b"r", 0o700)],
    "chown": [("chown", b"r/f", *ME), ("chown", b"r/d", *ME)],
    "utimes": [("utimes", b"r/f", 10**18), ("utimes", b"r/d", 10**18)],
    "unlink": [("unlink", b"r/f")],
    "unlink open": [("open", 1, b"r/f", 0), ("unlink", b"r/f"), ("write", 1, 5), ("close", 1)],
    "link": [("link", b"r/f", b"r/g"), ("chmod", b"r/g", 0o600), ("unlink", b"r/f")],
    "link from outside": [("link", b"o/f", b"r/g"), ("truncate", b"o/f", 3)],
    "write by another link": [
        ("link", b"r/f", b"o/g"), ("open", 1, b"o/g", 0), ("write", 1, 1), ("close", 1),
    ],
    "symlink": [("symlink", b"f", b"r/s"), ("chown", b"r/s", *ME), ("unlink", b"r/s")],
    "fifo": [("mknod", b"r/p", 0o010600), ("mknod", b"r/q", 0o140600)],
    "mkdir": [("mkdir", b"r/e", 0o755)],
    "rmdir": [("rmdir", b"r/d/k"), ("rmdir", b"r/d")],
    "rename file": [("rename", b"r/f", b"r/g")],
    "rename over file": [("rename", b"r/f", b"r/h")],
    "rename over an open file": [
        ("open", 1, b"r/h", 0), ("rename", b"r/f", b"r/h"), ("write", 1, 1), ("close", 1),
    ],
    "rename over own link": [("link", b"r/f", b"r/g"), ("rename", b"r/f", b"r/g")],
    "rename open file": [("open", 1, b"r/f", 0), ("rename", b"r/f", b"r/d/g"), ("write", 1, 1), ("close", 1)],
    "rename directory": [("rename", b"r/d", b"r/e")],
    "rename directory into another": [("rename", b"r/d/k", b"r/x/k")],
    "rename over empty directory": [("rename", b"r/d", b"r/x")],
    "move out": [("rename", b"r/d", b"o/d"), ("open", 1, b"o/d/k/f", C), ("close", 1)],
    "move in": [("rename", b"o/f", b"r/g"), ("rename", b"o/e", b"r/e")],
    "exchange files": [("exchange", b"r/f", b"r/h")],
    "exchange file and directory": [("exchange", b"r/f", b"r/d/k")],
    "exchange with outside": [("exchange", b"r/f", b"o/f"), ("exchange", b"r/d", b"o/e")],
    "tmpfile": [
        ("tmpfile", 1, b"r/d"), ("write", 1, 5), ("linkfd", 1, b"r/t"), ("write", 1, 5), ("close", 1),
    ],
    "tmpfile never linked": [("tmpfile", 1, b"r/d"), ("write", 1, 5), ("close", 1)],
    "ancestor": [("rename", b"r/d", b"r/z"), ("rename", b"r/z/k", b"r/d")],
    "hostile names": [("mkdir", b"r/" + n, 0o755) for n in (b"\xff\n", b"x" * 255, b"y" * 15, b"z" * 16)],
}  # fmt: skip


def _furnish(pair: Twins) -> None:
    for fd, path in enumerate((b"r/f", b"r/h", b"o/f"), 100):
        pair.apply(("open", fd, path, C), ("write", fd, 9), ("close", fd))
    for path in (b"r/d", b"r/d/k", b"r/x", b"o/e"):
        pair.apply(("mkdir", path, 0o755))
    for path in (b"r/d", b"r/d/k", b"r/x"):
        pair.watch(path)
    pair.compare()


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_operation_queues_the_events_of_the_real_kernel(name: str, tmp_path: Path) -> None:
    """Each single operation gives the same records, in order, with the same wds, names and cookie pairs."""
    with twins(tmp_path) as pair:
        _furnish(pair)
        for operation in SCRIPTS[name]:
            pair.apply(operation)
            pair.compare()


@pytest.mark.parametrize("name", SCRIPTS)
def test_events_that_are_not_read_merge_as_in_the_real_kernel(name: str, tmp_path: Path) -> None:
    """The same operations without a read between them give the same records."""
    with twins(tmp_path) as pair:
        _furnish(pair)
        pair.apply(*SCRIPTS[name])
        assert pair.compare() or name.startswith("write by another")


@pytest.mark.parametrize("seed", range(12))
def test_random_operations_give_the_same_records(seed: int, tmp_path: Path) -> None:
    """Watched at once, unwatched, held open: whole storms give the very records of the real kernel."""
    with twins(tmp_path) as pair:
        chance = random.Random(seed)
        owners = (ME, (1000, 1000)) if os.geteuid() == 0 else (ME,)
        operations = Operations(pair.tree, chance, Mix(names=8, population=60, owners=owners))
        compared = 0
        for _ in range(600):
            pair.apply(*operations.some())
            _meddle(pair, chance)
            if chance.random() < 0.5:
                compared += len(pair.compare())
        assert compared > 500


def _meddle(pair: Twins, chance: random.Random) -> None:
    """What a watcher does meanwhile: adds and removes watches, opens and closes directories."""
    path = chance.choice(pair.tree.directories).path()
    action = chance.random()
    if action < 0.5:
        pair.watch(path, EVERYTHING if chance.random() < 0.8 else WATCH_MASK)
    elif action < 0.55:
        watch = pair.tree.find(path).inode.watch
        if watch is not None:
            pair.unwatch(watch.wd)
    elif action < 0.6 and path not in pair._held:
        pair.hold(path)
    elif action < 0.7 and pair._held:
        pair.release(next(iter(pair._held)))


def test_an_overflow_is_one_record_and_room_comes_with_reads() -> None:
    """A full queue takes one overflow record, drops what follows, and takes events again after two reads."""
    inotify = Inotify(queue_max=3)
    tree = Tree(inotify)
    inotify.add(tree.top.inode, EVERYTHING)
    for name in (b"a", b"b", b"c", b"d", b"e"):
        tree.mkdir(name, 0o755)
    assert [unpack(inotify.read(32))[0][3] for _ in range(1)] == [b"a"]
    tree.mkdir(b"f", 0o755)  # three events and the overflow record fill the queue by one too many
    assert [unpack(inotify.read(32))[0][3] for _ in range(1)] == [b"b"]
    tree.mkdir(b"g", 0o755)
    records = unpack(inotify.read(1 << 20))
    assert [(mask & 0xFFFF, name) for _, mask, _, name in records] == [
        (IN_CREATE, b"c"),
        (IN_Q_OVERFLOW, b""),
        (IN_CREATE, b"g"),
    ]


def test_read_gives_whole_records_padded_as_the_kernel_pads_them() -> None:
    """A name takes a multiple of 16 bytes with at least one NUL; a buffer below one record is EINVAL."""
    for length, padded in ((0, 0), (1, 16), (15, 16), (16, 32), (255, 256)):
        assert len(pack(1, IN_CREATE, 0, b"n" * length)) == 16 + padded
    inotify = Inotify()
    tree = Tree(inotify)
    inotify.add(tree.top.inode, EVERYTHING)
    tree.mkdir(b"a", 0o755)
    tree.mkdir(b"b", 0o755)
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        inotify.read(31)
    assert len(inotify.read(63)) == 32
