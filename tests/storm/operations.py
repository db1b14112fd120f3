"""
The generator of operations on a tree: seeded, one for the simulation and for the real kernel.

It looks at a model of the tree (`tests.simulation.tree.Tree`), so that what it asks for can be done; whoever
takes operations from it applies them to that model before taking more. All work goes on below two directories
at the top: ``r``, which is watched, and ``o``, which is not.
"""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.simulation.tree import Dentry, Operation, Tree

WEIRD_NAMES = (
    b"\xff\xfe",
    b"a\nb",
    "é☃".encode(),
    b" ",
    b"-rf",
    b"%41",
    b"#7",
    b"..a",
    b"q" * 255,
    b"x" * 16,
    b"\\",
)


class Mix(NamedTuple):
    """
    What kind of storm.

    Args:
        names: how many ordinary names there are: few names meet often.
        population: names in the tree from which on it rather removes than makes.
        depth: of directories, at most.
        modes: that chmod gives to directories.
        owners: (uid, gid) that chown gives; others than one's own need root.
        untold: also what no record tells of in time: truncate(2), and changes through one of several names.
        favoured: name of an action (see `ACTIONS`) that comes as often as all others together.
    """

    names: int = 6
    population: int = 30
    depth: int = 30
    modes: tuple[int, ...] = (0o755, 0o700, 0o775)
    owners: tuple[tuple[int, int], ...] = ((0, 0), (1000, 1000), (0, 65534))
    untold: bool = True
    favoured: str = ""


class Operations:
    """
    An endless stream of operations.

    Args:
        tree: the model; must hold the directories ``r`` and ``o``.
        random: its only source of chance.
    """

    def __init__(self, tree: Tree, random: random.Random, mix: Mix) -> None:
        self._tree = tree
        self._random = random
        self._mix = mix
        self._names = [b"abcdefgh"[i : i + 1] if mix.names <= 8 else b"n%d" % i for i in range(mix.names)]
        self._next_fd = 0
        favoured = {mix.favoured: sum(_GROW.values())} if mix.favoured else {}
        self._growing = _table(_GROW | favoured)
        self._shrinking = _table(_SHRINK)

    def __iter__(self) -> Iterator[Operation]:
        while True:
            yield from self.some()

    def some(self) -> list[Operation]:
        """The operations of one action, maybe none: apply them all before the next call."""
        table = self._shrinking if self._full() and self._random.random() < 0.5 else self._growing
        return table[int(self._random.random() * len(table))](self)

    def close_all(self) -> list[Operation]:
        """Closes every file that is still open."""
        return [("close", fd) for fd in self._tree.files]

    # -- choices ---------------------------------------------------------------------------------------

    def _pick(self, live: list[Dentry]) -> Dentry | None:
        return live[int(self._random.random() * len(live))] if live else None

    def _directory(self) -> Dentry:
        """One to work in: mostly watched, seldom deep."""
        directories = self._tree.directories
        top = self._tree.find(b"r")
        for _ in range(4):
            found = directories[int(self._random.random() * len(directories))]
            wanted = found.below(top) or self._random.random() < 0.3
            if wanted and _depth(found) < self._mix.depth:
                return found
        return top

    def _subdirectory(self) -> Dentry | None:
        """One that may be moved or removed: neither ``r`` nor ``o``."""
        for _ in range(3):
            found = self._pick(self._tree.directories)
            if found is not None and found.parent is not self._tree.top:
                return found
        return None

    def _removable(self) -> Dentry | None:
        """A subdirectory; a large one only where there is too much: else the tree would never grow."""
        found = self._subdirectory()
        if found is None or self._full() or len(removal(found)) < 2 + self._mix.population // 50:
            return found
        return None

    def _full(self) -> bool:
        return len(self._tree.others) + len(self._tree.directories) > self._mix.population

    def _file(self) -> Dentry | None:
        for _ in range(3):
            found = self._pick(self._tree.others)
            if found is not None and found.inode.mode & 0o170000 == stat.S_IFREG and self._told(found):
                return found
        return None

    def _told(self, entry: Dentry) -> bool:
        """Does a change under this name tell all there is to tell?"""
        return self._mix.untold or (entry.inode.links == 1 and not entry.dead) or entry.inode.is_directory

    def _anything(self, share: float) -> Dentry | None:
        """For a change of attributes; `share` of the cases are no directories."""
        found = self._pick(self._tree.others) if self._random.random() < share else self._subdirectory()
        return found if found is not None and self._told(found) else None

    def _name(self) -> bytes:
        if self._random.random() < 0.04:
            return WEIRD_NAMES[int(self._random.random() * len(WEIRD_NAMES))]
        return self._names[int(self._random.random() * len(self._names))]

    def _vacancy(self, parent: Dentry | None = None) -> bytes | None:
        """A path where nothing is."""
        for _ in range(4):
            directory = parent or self._directory()
            name = self._name()
            if name not in directory.inode.entries:
                return directory.path() + b"/" + name
        return None

    def _fd(self) -> int:
        self._next_fd += 1
        return self._next_fd

    def _size(self) -> int:
        return 1 + int(self._random.random() * 64)

    # -- actions: files --------------------------------------------------------------------------------

    def _create(self) -> list[Operation]:
        path = self._vacancy()
        return self._fill(path, os.O_CREAT) if path is not None else []

    def _fill(self, path: bytes, flags: int) -> list[Operation]:
        fd = self._fd()
        writes: list[Operation] = [("write", fd, self._size())] * int(self._random.random() * 3)
        return [("open", fd, path, flags), *writes, ("close", fd)]

    def _rewrite(self) -> list[Operation]:
        entry = self._file()
        if entry is None:
            return []
        return self._fill(entry.path(), os.O_TRUNC if self._random.random() < 0.5 else 0)

    def _open(self) -> list[Operation]:
        """A file stays open for a while, new or not."""
        if len(self._tree.files) > 8:
            return []
        entry = self._file()
        if entry is not None and self._random.random() < 0.5:
            return [("open", self._fd(), entry.path(), 0)]
        path = self._vacancy()
        return [("open", self._fd(), path, os.O_CREAT)] if path is not None else []

    def _write(self) -> list[Operation]:
        files = [fd for fd, entry in self._tree.files.items() if self._told(entry)]
        return [("write", self._random.choice(files), self._size())] if files else []

    def _close(self) -> list[Operation]:
        files = list(self._tree.files)
        return [("close", self._random.choice(files))] if files else []

    def _tmpfile(self) -> list[Operation]:
        path = self._vacancy()
        if path is None:
            return []
        fd = self._fd()
        started: list[Operation] = [
            ("tmpfile", fd, self._directory().path()),
            ("write", fd, self._size()),
            ("linkfd", fd, path),
        ]
        if self._random.random() < 0.5 and self._mix.untold:
            started += [("write", fd, self._size()), ("chmod", path, 0o600)]
        return started if self._random.random() < 0.3 else [*started, ("close", fd)]

    def _truncate(self) -> list[Operation]:
        entry = self._file() if self._mix.untold else None
        return [("truncate", entry.path(), self._size())] if entry is not None else []

    def _link(self) -> list[Operation]:
        entry, path = self._pick(self._tree.others), self._vacancy()
        return [("link", entry.path(), path)] if entry is not None and path is not None else []

    def _unlink(self) -> list[Operation]:
        entry = self._pick(self._tree.others)
        return [("unlink", entry.path())] if entry is not None else []

    def _special(self) -> list[Operation]:
        path = self._vacancy()
        if path is None:
            return []
        chance = self._random.random()
        if chance < 0.3:
            return [("mknod", path, stat.S_IFIFO | 0o600)]
        if chance < 0.45:
            return [("mknod", path, stat.S_IFSOCK | 0o600)]
        target = self._directory().path() if chance < 0.8 else self._name()
        return [("symlink", b"/" + target, path)]

    # -- actions: directories --------------------------------------------------------------------------

    def _mkdir(self) -> list[Operation]:
        path = self._vacancy()
        return [("mkdir", path, 0o755)] if path is not None else []

    def _chain(self) -> list[Operation]:
        """mkdir -p, and filled at once."""
        path = self._vacancy()
        made: list[Operation] = []
        for _ in range(2 + int(self._random.random() * 4)):
            if path is None:
                break
            made.append(("mkdir", path, 0o755))
            if self._random.random() < 0.6:
                made += self._fill(path + b"/" + self._names[0], os.O_CREAT)
            path += b"/" + self._names[1]
        return made

    def _rmdir(self) -> list[Operation]:
        entry = self._subdirectory()
        return [("rmdir", entry.path())] if entry is not None and not entry.inode.entries else []

    def _rmtree(self) -> list[Operation]:
        entry = self._removable()
        return removal(entry) if entry is not None else []

    def _again(self) -> list[Operation]:
        """A directory is removed and made again, with an inode of the same number where those are reused."""
        entry = self._removable()
        if entry is None:
            return []
        path = entry.path()
        again: list[Operation] = [*removal(entry), ("mkdir", path, 0o755)]
        if self._random.random() < 0.7:
            again += self._fill(path + b"/" + self._name(), os.O_CREAT)
        return again

    def _turn(self) -> list[Operation]:
        """A name turns from file to directory or back."""
        if self._random.random() < 0.5:
            entry = self._pick(self._tree.others)
            if entry is None:
                return []
            return [("unlink", entry.path()), ("mkdir", entry.path(), 0o755)]
        directory = self._removable()
        return (
            [*removal(directory), *self._fill(directory.path(), os.O_CREAT)] if directory is not None else []
        )

    # -- actions: renames ------------------------------------------------------------------------------

    def _rename_file(self) -> list[Operation]:
        entry = self._pick(self._tree.others)
        if entry is None:
            return []
        target = self._pick(self._tree.others) if self._random.random() < 0.3 else None
        path = target.path() if target is not None else self._vacancy()
        return [("rename", entry.path(), path)] if path is not None else []

    def _rename_directory(self) -> list[Operation]:
        entry, parent = self._subdirectory(), self._directory()
        if entry is None or parent.below(entry):
            return []
        target = parent.inode.entries.get(self._name())
        if (
            target is not None
            and target is not entry
            and target.inode.is_directory
            and not target.inode.entries
        ):
            return [("rename", entry.path(), target.path())]
        path = self._vacancy(parent)
        return [("rename", entry.path(), path)] if path is not None and self._fits(entry, parent) else []

    def _across(self, source: bytes, target: bytes) -> list[Operation]:
        """A whole directory or a file moves between ``r`` and ``o``."""
        entry = self._subdirectory() if self._random.random() < 0.7 else self._pick(self._tree.others)
        top = self._tree.find(target)
        if entry is None or not entry.below(self._tree.find(source)):
            return []
        parent = self._directory()
        path = self._vacancy(parent if parent.below(top) else top)
        return [("rename", entry.path(), path)] if path is not None else []

    def _out(self) -> list[Operation]:
        return self._across(b"r", b"o")

    def _in(self) -> list[Operation]:
        return self._across(b"o", b"r")

    def _exchange(self) -> list[Operation]:
        one = self._subdirectory() if self._random.random() < 0.5 else self._pick(self._tree.others)
        two = self._subdirectory() if self._random.random() < 0.5 else self._pick(self._tree.others)
        if one is None or two is None or one.below(two) or two.below(one):
            return []
        return [("exchange", one.path(), two.path())]

    def _ancestor(self) -> list[Operation]:
        """mv Y Z; mv Z/d Y: a directory takes the name of its own former ancestor."""
        entry = self._subdirectory()
        parent = entry.parent if entry is not None else None
        if entry is None or parent is None or parent.parent is None or parent.parent is self._tree.top:
            return []
        path = self._vacancy(parent.parent)
        if path is None:
            return []
        return [("rename", parent.path(), path), ("rename", path + b"/" + entry.name, parent.path())]

    def _replace(self) -> list[Operation]:
        """Something is written in a directory, which then moves away, and another one takes its name."""
        entry, path = self._subdirectory(), self._vacancy()
        if entry is None or path is None or self._tree.find(path.rpartition(b"/")[0]).below(entry):
            return []
        old = entry.path()
        again: list[Operation] = [("rename", old, path), ("mkdir", old, 0o755)]
        inside = self._vacancy(entry)
        return [*self._fill(inside, os.O_CREAT), *again] if inside is not None else again

    def _fits(self, entry: Dentry, parent: Dentry) -> bool:
        """Is the tree still within its depth after the move? Only looked at where it is deep already."""
        depth = _depth(parent)
        return depth * 2 < self._mix.depth or depth + _height(entry) <= self._mix.depth

    # -- actions: attributes ---------------------------------------------------------------------------

    def _chmod(self) -> list[Operation]:
        if self._random.random() < 0.5:
            return [("chmod", self._directory().path(), self._random.choice(self._mix.modes))]
        entry = self._pick(self._tree.others)
        if entry is None or entry.inode.mode & 0o170000 == stat.S_IFLNK or not self._told(entry):
            return []
        return [("chmod", entry.path(), self._random.choice((0o600, 0o644, 0o640)))]

    def _chown(self) -> list[Operation]:
        entry = self._anything(0.6)
        if entry is None:
            return []
        return [("chown", entry.path(), *self._random.choice(self._mix.owners))]

    def _utimes(self) -> list[Operation]:
        entry = self._anything(0.6)
        if entry is None:
            return []
        return [("utimes", entry.path(), 10**18 + int(self._random.random() * 10**6) * 1000)]


_Action = Callable[[Operations], list[Operation]]
_CHANGE: dict[str, int] = {
    "_rewrite": 8,
    "_open": 3,
    "_write": 5,
    "_close": 3,
    "_truncate": 2,
    "_turn": 2,
    "_again": 3,
    "_rename_file": 8,
    "_rename_directory": 8,
    "_exchange": 3,
    "_ancestor": 2,
    "_replace": 3,
    "_chmod": 3,
    "_chown": 1,
    "_utimes": 4,
}
_GROW = _CHANGE | {
    "_create": 14,
    "_tmpfile": 3,
    "_link": 4,
    "_special": 3,
    "_mkdir": 8,
    "_chain": 4,
    "_rmdir": 2,
    "_unlink": 5,
    "_rmtree": 1,
    "_out": 2,
    "_in": 4,
}
ACTIONS = tuple(_GROW)
_SHRINK = _CHANGE | {"_unlink": 25, "_rmdir": 10, "_rmtree": 6, "_out": 4, "_in": 1}


def _table(weights: dict[str, int]) -> list[_Action]:
    return [getattr(Operations, name) for name, weight in weights.items() for _ in range(weight)]


def _depth(entry: Dentry) -> int:
    depth, at = 0, entry.parent
    while at is not None:
        depth += 1
        at = at.parent
    return depth


def _height(entry: Dentry) -> int:
    highest, level = 0, [entry]
    while level:
        level = [kid for at in level for kid in at.inode.entries.values() if kid.inode.is_directory]
        highest += 1
    return highest


def removal(entry: Dentry) -> list[Operation]:
    """rm -r: what is below first."""
    found = [entry]
    for at in found:
        found.extend(at.inode.entries.values())
    return [("rmdir" if at.inode.is_directory else "unlink", at.path()) for at in reversed(found)]
