"""
Which file is which: the disk against what is known of a log's generations.

A name says nothing for sure. A file is taken for the one that was read by its inode and by what it holds; a
name only says where to look first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from inotify_bridge.capture.following import Places
from inotify_bridge.lines.compressed import SUFFIX, Gzip, measure
from inotify_bridge.lines.generation import Generation
from inotify_bridge.lines.marks import HEAD_BYTES
from inotify_bridge.lines.register import Register
from inotify_bridge.lines.report import Report
from inotify_bridge.lines.siblings import Listing, gone, look, open_file
from inotify_bridge.lines.splitter import Position

OPEN_OF_ONE = 32
"""Generations of one log that are open at once; the younger ones wait, for there may be thousands."""

_LINKS = 16  # names of one inode that are looked at
_TRIES = 3  # a rename may come between the list of a directory and the look at a name


class Changed(Exception):
    """The directory changed while it was looked at: look again."""


class _Key(NamedTuple):
    """A compressed file, which nobody writes again."""

    device: int
    inode: int
    mtime: int


class Search:
    """
    Used by the recorder's thread.

    Args:
        start_of: where a log is read from that was met at the first start; None: it came after it.
        concerns: called with the name of another log that has to be looked at.
    """

    def __init__(
        self,
        places: Places,
        register: Register,
        report: Report,
        start_of: Callable[[bytes, os.stat_result], Position | None],
        concerns: Callable[[bytes], None],
    ) -> None:
        self._places = places
        self._register = register
        self._report = report
        self._start_of = start_of
        self._concerns = concerns
        self._since = register.alive_at or time.time_ns()
        self._counted: set[_Key] = set()
        self._listings: dict[tuple[int, int], Listing] = {}

    def settle(self, log: bytes) -> None:
        """
        Make the chain of a log what the disk shows, with its generations open that are read next.

        Raises:
            Changed: look again.
            OSError: nothing is known.
        """
        place = self._places.at(log)
        seen = look(*place) if place is not None else None
        if place is None or seen is None:
            if (stood := self._register.by_path.get(log)) is not None:
                self._register.place(stood, b"")
            self._find_missing(log, place)
            return
        known = self._register.known((seen.st_dev, seen.st_ino))
        if known is None or known.fd < 0:
            fd = open_file(*place, seen)
            if fd is None:
                raise Changed
            try:
                known = self._recognised(log, place, seen, fd)
            finally:
                if all(generation.fd != fd for generation in self._register.by_inode.get(seen.st_ino, ())):
                    os.close(fd)
        self._stands(known, log)
        self._find_missing(log, place)

    def recall(self, generation: Generation) -> None:
        """A file that is not open and stands elsewhere than its log may have changed. Raises: as `settle`."""
        if generation.fd >= 0 or not generation.path or self._places.at(generation.path) is None:
            return
        place = self._places.at(generation.log)
        if not self._found(generation, place):
            self._gone(generation, place)
        elif generation.finished:
            self._register.join(generation, 0)

    def replaced(self, generation: Generation) -> None:
        """
        An open file does not hold any more what was read of it.

        Raises: as `settle`.
        """
        log, since = generation.log, generation.mtime
        place = self._places.at(log)
        if place is not None and self._go_on_in_copy(generation, place):
            return
        if place is not None:
            self._adopt(log, place, since, generation)
        self._report.entries(generation, generation.flush())
        lost = max(0, generation.size - generation.read_to)
        self._report.lost(log, generation.read_to, lost, "truncated")
        generation.restart()
        self._register.renew(generation)

    # -- what stands at the name

    def _recognised(self, log: bytes, place: tuple[int, bytes], seen: os.stat_result, fd: int) -> Generation:
        """The generation of a file that was opened; a new one where it is none that is known."""
        identity = (seen.st_dev, seen.st_ino)
        for generation in self._register.by_inode.get(seen.st_ino, ()):
            if generation.fd < 0 and generation.fits(fd):
                if not (generation.seen or generation.headed or generation.log != log):
                    self._adopt(log, place, generation.mtime, generation, (fd,))
                generation.open(fd, time.monotonic())
                self._register.identify(generation, identity)
                return generation
        if (stood := self._register.by_path.get(log)) is not None:
            self._register.place(stood, b"")
        chain = self._register.chains.get(log)
        since = chain[-1].mtime if chain else max(self._since, self._register.left.get(log, 0))
        other = self._register.known(identity)  # truncated, or its inode was given to another file
        if other is not None:
            self._register.identify(other, (0, 0))
            self._register.place(other, b"")
        return self._arrived(log, place, seen, fd, since)

    def _arrived(
        self, log: bytes, place: tuple[int, bytes], seen: os.stat_result, fd: int, since: int
    ) -> Generation:
        start = self._start_of(log, seen)
        if start is not None:
            self._know_beside(log, place)
            generation = self._register.new(log, log, (seen.st_dev, seen.st_ino), start)
        else:
            self._find_missing(log, place)
            self._adopt(log, place, since, None, (fd,))
            generation = self._register.new(log, log, (seen.st_dev, seen.st_ino))
        generation.open(fd, time.monotonic())
        return generation

    def _stands(self, generation: Generation, log: bytes) -> None:
        self._register.place(generation, log)
        if generation.log != log:
            if generation.finished:
                self._register.join(generation, 0)
            self._concerns(generation.log)
        elif self._register.chains.get(log, [])[-1:] != [generation]:
            self._register.join(generation)

    # -- where the others went

    def _find_missing(self, log: bytes, place: tuple[int, bytes] | None) -> None:
        """Find every generation again that is not open and may hold something; what is gone is lost."""
        room = OPEN_OF_ONE - self._open_of(log)
        for generation in list(self._register.chains.get(log, ())):
            idle = generation.seen and not generation.unread
            if generation.fd >= 0 or (generation.path and (idle or place is None)):
                continue  # without the directory nothing is known
            if room <= 0:
                return
            room -= 1
            if not any(self._found(generation, place) for _ in range(_TRIES)):
                self._gone(generation, place)

    def _open_of(self, log: bytes) -> int:
        return sum(generation.fd >= 0 for generation in self._register.chains.get(log, ()))

    def _found(self, generation: Generation, place: tuple[int, bytes] | None) -> bool:
        if generation.path and self._reopened(generation, generation.path):
            return True
        if place is not None and generation.identity[1]:
            name = self._listing(place[0]).by_inode.get(generation.identity[1])
            path = b"" if name is None else self._beside(place, name, generation.log)
            if name is not None and self._reopened_at(generation, place[0], name, path):
                return True
        paths = self._places.known_at(*generation.identity) if generation.identity[1] else []
        if any(self._reopened(generation, path) for path in paths[:_LINKS]):
            return True
        return place is not None and self._go_on_in_copy(generation, place)

    def _reopened(self, generation: Generation, path: bytes) -> bool:
        place = self._places.at(path)
        return place is not None and self._reopened_at(generation, *place, path)

    def _reopened_at(self, generation: Generation, directory: int, name: bytes, path: bytes) -> bool:
        seen = look(directory, name)
        if seen is None or seen.st_ino != generation.identity[1]:
            return False
        fd = open_file(directory, name, seen)
        if fd is None:
            return False
        if not _is_its(generation, fd):
            return False
        generation.open(fd, time.monotonic())
        self._register.identify(generation, (seen.st_dev, seen.st_ino))
        self._register.place(generation, path)
        return True

    def _go_on_in_copy(self, generation: Generation, place: tuple[int, bytes]) -> bool:
        """copytruncate: what was read, and what comes after it, stands in a copy beside the log."""
        if not (generation.read_to or generation.headed):
            return False
        for name, seen, fd in self._rotated(place):
            if _is_its(generation, fd):
                generation.open(fd, time.monotonic())
                generation.copied = True
                self._register.identify(generation, (seen.st_dev, seen.st_ino))
                self._register.place(generation, self._beside(place, name, generation.log))
                self._concerns(generation.log)
                return True
        return False

    def _gone(self, generation: Generation, place: tuple[int, bytes] | None) -> None:
        """It is not to be found: what of it is known to have been there is lost."""
        reason, unread = "truncated" if generation.identity[1] == 0 else "deleted", generation.unread
        for gzip, key in self._compressed(place):
            if generation.begins(gzip.head):
                self._counted.add(key)
                reason, unread = "compressed", max(unread, gzip.size - generation.offset)
                break
        if unread or reason == "truncated":
            self._report.lost(generation.log, generation.offset, unread, reason)
        self._register.drop(generation)

    # -- those that came and went unseen

    def _adopt(
        self,
        log: bytes,
        place: tuple[int, bytes],
        since: int,
        before: Generation | None,
        others: tuple[int, ...] = (),
    ) -> None:
        """
        Files with rotated names that nobody knows, and that were written after `since` (Unix nanoseconds).

        Args:
            before: in whose chain they stand, in front of it; None: at the end.
            others: descriptors of files that are known otherwise.
        """
        chain = self._register.chains.get(log, [])
        known = [*others, *(generation.fd for generation in chain if generation.fd >= 0)]
        room = OPEN_OF_ONE - self._open_of(log)
        for name, seen in sorted(self._unknown(place, since, known), key=lambda one: one[1].st_mtime_ns):
            fd = open_file(place[0], name, seen)
            if fd is None:
                raise Changed
            path = self._beside(place, name, log)
            generation = self._register.new(log, path, (seen.st_dev, seen.st_ino))
            generation.open(fd, time.monotonic())
            self._register.join(generation, chain.index(before) if before in chain else None)
            if room <= 0:
                generation.close()  # its turn comes, see `_find_missing`
            room -= 1
        self._count_compressed(log, place, since)

    def _unknown(
        self, place: tuple[int, bytes], since: int, known: list[int]
    ) -> Iterator[tuple[bytes, os.stat_result]]:
        """Those of them that are no copies of what is open; none stays open."""
        for name, seen, fd in self._rotated(place):
            try:
                if seen.st_mtime_ns > since and seen.st_size and not any(_is_copy(fd, one) for one in known):
                    yield name, seen
            finally:
                os.close(fd)

    def _count_compressed(self, log: bytes, place: tuple[int, bytes], since: int) -> None:
        """Those that also were compressed: what they hold is lost, unless it is known otherwise."""
        known = self._register.chains.get(log, ())
        for gzip, key in self._compressed(place):
            if key.mtime > since and gzip.size and not any(one.begins(gzip.head) for one in known):
                self._counted.add(key)
                self._report.lost(log, 0, gzip.size, "compressed")

    def _compressed(self, place: tuple[int, bytes] | None) -> Iterator[tuple[Gzip, _Key]]:
        """Rotated and compressed files beside a log of which nothing is counted yet."""
        if place is None:
            return
        directory, log = place
        for name in self._listing(directory).rotated(log, SUFFIX):
            seen = look(directory, name)
            try:
                fd = None if seen is None else open_file(directory, name, seen)
            except PermissionError:
                continue
            if fd is None or seen is None:
                continue
            try:
                gzip = measure(fd)
            finally:
                os.close(fd)
            key = _Key(seen.st_dev, seen.st_ino, seen.st_mtime_ns)
            if gzip is not None and key not in self._counted:
                yield gzip, key

    def _know_beside(self, log: bytes, place: tuple[int, bytes]) -> None:
        """
        What rotation has left before the first start is not read; it is known from now on. What is a log of
        its own, though it has the name of a rotated one, is none of that.
        """
        for name, seen, fd in self._rotated(place):
            position = Position(seen.st_size, None)
            path = self._beside(place, name, log)
            try:
                if not path or self._start_of(path, seen) is None:
                    generation = self._register.new(log, path, (seen.st_dev, seen.st_ino), position)
                    generation.remember(fd)
            finally:
                os.close(fd)

    def _rotated(self, place: tuple[int, bytes]) -> Iterator[tuple[bytes, os.stat_result, int]]:
        """Files beside a log that have a rotated name and that nobody knows, open; the caller's to close."""
        directory, log = place
        for name in self._listing(directory).rotated(log):
            seen = look(directory, name)
            if seen is not None and self._register.known((seen.st_dev, seen.st_ino)) is not None:
                continue
            try:
                fd = None if seen is None else open_file(directory, name, seen)
            except PermissionError:
                continue
            if seen is None or fd is None:
                if gone(directory, name):
                    self._listings.clear()
                    raise Changed
                continue
            yield name, seen, fd

    # -- places

    def _listing(self, directory: int) -> Listing:
        """At the first start one serves all logs of a directory: there may be thousands."""
        if self._register.begun:
            self._listings.clear()
            return Listing(directory)
        seen = os.fstat(directory)
        key = (seen.st_dev, seen.st_ino)
        if key not in self._listings:
            self._listings[key] = Listing(directory)
        return self._listings[key]

    def _beside(self, place: tuple[int, bytes], name: bytes, log: bytes) -> bytes:
        """The path of a name beside a log; empty where it has none in the stream."""
        top, slash, _ = log.rpartition(b"/")
        path = top + slash + name
        return path if self._places.at(path) == (place[0], name) else b""


def _is_its(generation: Generation, fd: int) -> bool:
    """Whether a descriptor is of a generation's file; if not, or if that cannot be read, it is closed."""
    fits = False
    try:
        fits = generation.fits(fd)
    finally:
        if not fits:
            os.close(fd)
    return fits


def _is_copy(fd: int, other: int) -> bool:
    """Whether two files begin alike, as far as the shorter of them goes."""
    head, other_head = os.pread(fd, HEAD_BYTES, 0), os.pread(other, HEAD_BYTES, 0)
    length = min(len(head), len(other_head))
    return length > 0 and head[:length] == other_head[:length]
