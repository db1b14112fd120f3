"""
Renames whose second half has not come yet.

The kernel queues MOVED_FROM and MOVED_TO as two records with one cookie; others may stand between them, a
read may end there, and where a name leaves the watched tree the second never comes (inotify(7)).
"""

from __future__ import annotations

from dataclasses import dataclass

from inotify_bridge.capture.tree import Directory, Kid

WAIT = 0.05
"""Seconds after which the second half is not to be expected: the kernel queues it right after the first."""


@dataclass(slots=True)
class Held:
    """
    A name that was moved away, whereto is not known yet.

    Args:
        read_at: monotonic seconds of the notifier's read.
        reoccupied: something else has taken the name since, so what was there has surely left.
    """

    node: Directory
    name: bytes
    kid: Kid
    read_at: float
    reoccupied: bool = False


class Renames:
    """The held names, by cookie and by place."""

    def __init__(self) -> None:
        self._by_cookie: dict[int, Held] = {}
        self._by_place: dict[tuple[Directory, bytes], int] = {}
        self._directories = 0

    def __len__(self) -> int:
        return len(self._by_cookie)

    def hold(self, cookie: int, held: Held) -> None:
        """Wait for the second half."""
        self._by_cookie[cookie] = held
        self._by_place[held.node, held.name] = cookie
        self._directories += isinstance(held.kid, Directory)

    def take(self, cookie: int) -> Held | None:
        """The second half came, or nobody waits any longer."""
        held = self._by_cookie.pop(cookie, None)
        if held is not None:
            self._by_place.pop((held.node, held.name), None)
            self._directories -= isinstance(held.kid, Directory)
        return held

    def at(self, node: Directory, name: bytes) -> Held | None:
        """What is held at a place."""
        cookie = self._by_place.get((node, name))
        return None if cookie is None else self._by_cookie[cookie]

    def take_at(self, node: Directory, name: bytes) -> Held | None:
        """Take what is held at a place."""
        cookie = self._by_place.get((node, name))
        return None if cookie is None else self.take(cookie)

    def over(self, node: Directory | None) -> bool:
        """Whether a directory, or one above it, is held: its path is not what the model says."""
        if not self._directories:
            return False
        while node is not None and node.parent is not None:
            held = self.at(node.parent, node.name)
            if held is not None and held.kid is node:
                return True
            node = node.parent
        return False

    def expired(self, now: float) -> list[Held]:
        """Take all that were read `WAIT` or more before `now` (monotonic seconds)."""
        due = [cookie for cookie, held in self._by_cookie.items() if now - held.read_at >= WAIT]
        return [held for cookie in due if (held := self.take(cookie)) is not None]

    def deadline(self) -> float | None:
        """Monotonic time at which the oldest expires."""
        return min((held.read_at + WAIT for held in self._by_cookie.values()), default=None)
