"""
All generations that are followed: by log, by path, by identity; and what of them has to be written down.

Pure: nothing here looks at the disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from inotify_bridge.lines.generation import NEW, Generation, MakeSplitter
from inotify_bridge.lines.splitter import Position

_BEGUN = 0
"""The number under which it is kept that there was a first start."""


class Register:
    """
    Used by the recorder's thread.

    Args:
        states: as they were committed.
    """

    def __init__(self, states: Mapping[int, bytes], split: MakeSplitter) -> None:
        self.begun = _BEGUN in states
        """Whether the files that were present at the first start are known."""
        self.alive_at = int(states.get(_BEGUN) or 0)
        """When the life before noted something last, Unix nanoseconds; 0 at the first start."""
        self.chains: dict[bytes, list[Generation]] = {}
        """By log: the generations of which something is expected, the oldest first."""
        self.by_path: dict[bytes, Generation] = {}
        self.by_inode: dict[int, list[Generation]] = {}
        self.left: dict[bytes, int] = {}
        """By log: when that was written last of which nothing is expected any more, Unix nanoseconds."""
        self._split = split
        self._all: dict[int, Generation] = {}
        self._changed: dict[int, Generation | None] = {}
        self._begun_now = False
        self._next = max(states, default=_BEGUN) + 1
        for number in sorted(states.keys() - {_BEGUN}):
            generation = Generation.load(number, states[number], split)
            self._add(generation)
            if not generation.finished:
                self.chains.setdefault(generation.log, []).append(generation)

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Generation]:
        return iter(list(self._all.values()))

    def begin(self) -> None:
        """The first start is over."""
        if not self.begun:
            self.begun = self._begun_now = True

    @property
    def noted(self) -> bool:
        """Whether that was given to be written."""
        return self.begun and not self._begun_now

    def new(self, log: bytes, path: bytes, identity: tuple[int, int], position: Position = NEW) -> Generation:
        """Follow a file from now on; the caller puts it into its chain."""
        generation = Generation(self._take_number(), log, b"", identity, self._split, position)
        self._add(generation)
        self.place(generation, path)
        self.touch(generation)
        return generation

    def _take_number(self) -> int:
        self._next += 1
        return self._next - 1

    def _add(self, generation: Generation) -> None:
        self._all[generation.number] = generation
        self.by_inode.setdefault(generation.identity[1], []).append(generation)
        if generation.path:
            self.by_path[generation.path] = generation

    def drop(self, generation: Generation) -> None:
        """Follow a file no more."""
        generation.close()
        self.leave(generation)
        self.place(generation, b"")
        self._forget_inode(generation)
        self._all.pop(generation.number, None)
        self._changed[generation.number] = None

    def _forget_inode(self, generation: Generation) -> None:
        same = self.by_inode[generation.identity[1]]
        same.remove(generation)
        if not same:
            del self.by_inode[generation.identity[1]]

    def join(self, generation: Generation, place: int | None = None) -> None:
        """Something is expected of it: at a place of its chain, or at the end."""
        generation.finished = False
        chain = self.chains.setdefault(generation.log, [])
        if generation in chain:
            chain.remove(generation)
        chain.insert(len(chain) if place is None else place, generation)
        self.touch(generation)

    def leave(self, generation: Generation) -> None:
        """Nothing more is expected of it."""
        self.left[generation.log] = max(generation.mtime, self.left.get(generation.log, 0))
        chain = self.chains.get(generation.log, [])
        if generation in chain:
            chain.remove(generation)
        if not chain:
            self.chains.pop(generation.log, None)

    def place(self, generation: Generation, path: bytes) -> None:
        """Note where a file is now; empty: not known."""
        if generation.path == path:
            return
        if self.by_path.get(generation.path) is generation:
            del self.by_path[generation.path]
        other = self.by_path.get(path)
        if other is not None:
            other.path = b""
            self._changed[other.number] = other
        generation.path = path
        if path:
            self.by_path[path] = generation
        self.touch(generation)

    def renew(self, generation: Generation) -> None:
        """It begins anew, and stands behind all that have a number now."""
        self._all.pop(generation.number)
        self._changed[generation.number] = None
        generation.number = self._take_number()
        self._all[generation.number] = generation
        self.touch(generation)

    def identify(self, generation: Generation, identity: tuple[int, int]) -> None:
        """Note under which device a file is found: after a boot that may be another."""
        if generation.identity != identity:
            self._forget_inode(generation)
            generation.identity = identity
            self.by_inode.setdefault(identity[1], []).append(generation)
            self.touch(generation)

    def touch(self, generation: Generation) -> None:
        """Its state is to be written."""
        if generation.number in self._all:
            self._changed[generation.number] = generation

    def known(self, identity: tuple[int, int]) -> Generation | None:
        """The generation that is this very file, as far as its number tells."""
        return next((one for one in self.by_inode.get(identity[1], ()) if one.identity == identity), None)

    def below(self, directory: bytes) -> list[Generation]:
        """Those whose path is below a directory."""
        prefix = directory + b"/"
        return [one for path, one in self.by_path.items() if path.startswith(prefix)]

    @property
    def changed(self) -> bool:
        """Whether there is something to write."""
        return bool(self._changed) or self._begun_now

    def changes(self, now: int) -> dict[int, bytes | None]:
        """
        What is to be written with the next batch: it counts as written from now on.

        Args:
            now: Unix nanoseconds.
        """
        states = {number: None if one is None else one.state() for number, one in self._changed.items()}
        self._changed.clear()
        if self.begun and (states or self._begun_now):
            self._begun_now = False
            states[_BEGUN] = b"%d" % now
        return states
