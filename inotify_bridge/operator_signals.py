"""What an operator has a running agent do: the far side of the HTTP endpoints and of the command line."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from inotify_bridge.errors import UnavailableError
from inotify_bridge.events.names import decode as decode_name
from inotify_bridge.events.names import encode as encode_name
from inotify_bridge.events.parking import about
from inotify_bridge.group import Group
from inotify_bridge.outbox import journal
from inotify_bridge.outbox.parked import Parked
from inotify_bridge.sinks.base import Message
from inotify_bridge.status import timestamp
from inotify_bridge.tap import Tap, Taps
from inotify_bridge.web.signals import NotThere, ParkedMessage, Position

_GLANCE: Final = 0.05


class OperatorSignals:
    """
    Fulfils `web.signals.Operator`.

    Args:
        groups: those that run, by name; changed by the agent.
        configured: the names of all groups, also of those that have not begun yet.
        taps: what every recorder feeds.
    """

    def __init__(
        self, groups: Mapping[str, Group], configured: Callable[[], Sequence[str]], taps: Taps
    ) -> None:
        self.reload_file: Callable[[], None] | None = None
        """Has the configuration file read again, on the thread that may do so; None: there is none."""
        self._running = groups
        self._configured = configured
        self._snapshots: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._taps = taps

    def groups(self) -> Sequence[str]:
        """See `web.signals.Operator`, as for all the rest."""
        return self._configured()

    def reload(self) -> None:
        if self.reload_file is None:
            raise UnavailableError(
                "there is no configuration file to reload", "the program that embeds the agent"
            )
        self.reload_file()

    def resync(self, group: str, path: bytes | None) -> None:
        found = self._group(group)
        found.resync(_directory(found, path) or None if path is not None else None)

    def snapshot(self, group: str, timeout: float) -> str:
        found = self._group(group)
        # Whoever asks at once with another gets what that one asked for: a snapshot is dear.
        if not self._snapshots[group].acquire(blocking=False):
            raise UnavailableError(f"group {group}: a new epoch is being begun already", "see its status")
        try:
            return found.new_epoch(timeout)
        finally:
            self._snapshots[group].release()

    def replay(self, group: str, sequence: int, sink: str | None) -> Position:
        found = self._group(group, sink)
        return _said(found.replay(sequence, sink))

    def barrier(self, group: str, timeout: float, sink: str | None, gone: Callable[[], bool]) -> Position:
        deadline = time.monotonic() + timeout
        found = self._group(group, sink)
        passed = found.barrier(timeout, gone)
        while sink is not None:
            relay = found.relays.get(sink)
            if gone() or relay is None or self._running.get(group) is not found:
                raise UnavailableError(f"group {group} or its sink has ended")
            if relay.status.position >= passed:
                break
            if time.monotonic() >= deadline:
                raise UnavailableError(
                    f"group {group}: sink '{sink}' has not confirmed {passed.sequence} within {timeout:g} s",
                    relay.status.error or "ask with a longer timeout",
                )
            time.sleep(_GLANCE)
        return _said(passed)

    def parked(self, group: str | None) -> list[ParkedMessage]:
        names = [group] if group is not None else list(self._running)
        return [_told(name, one) for name in names for one in self._group(name).parked()]

    def retry_parked(self, group: str, sink: str | None, position: Position | None) -> int:
        return self._group(group, sink).retry_parked(sink, _place(position))

    def drop_parked(self, group: str, sink: str | None, position: Position | None) -> int:
        return self._group(group, sink).drop_parked(sink, _place(position))

    def tap(self, groups: Sequence[str], limit: int | None) -> Tap:
        for name in groups:
            self._group(name)
        tap = Tap(groups, limit)
        self._taps.add(tap)
        return tap

    def close_tap(self, tap: Tap) -> None:
        self._taps.remove(tap)

    def _group(self, name: str, sink: str | None = None) -> Group:
        found, configured = self._running.get(name), self._configured()
        if found is None and name not in configured:
            raise NotThere(f"no watch group '{name}'", _one_of(configured))
        if found is None or not found.started:
            raise UnavailableError(f"group {name} does not run yet, or not any more", "try again")
        if sink is not None and sink not in found.relays:
            raise NotThere(f"group {name} has no sink '{sink}'", _one_of(found.relays))
        return found


def _one_of(names: Collection[str]) -> str:
    return f"one of {', '.join(sorted(names))}" if names else "there is none"


def _directory(group: Group, path: bytes) -> bytes:
    """
    The path of a directory in the stream; empty for an only root.

    Args:
        path: as the stream names it, as events show it, or absolute.
    Raises:
        NotThere: there is none of this name below the roots.
    """
    wanted = path.rstrip(b"/")
    for candidate in (wanted, _decoded(wanted)):
        for root in group.config.roots:
            name, place = root.name or b"", root.path.rstrip(b"/")
            below = _below(candidate, place) if path.startswith(b"/") else _below(candidate, name)
            if below is not None and _is_directory(b"/".join((place, below))):
                return b"/".join(part for part in (name, below) if part)
    raise NotThere(
        f"group {group.config.name} has no directory {encode_name(path)}",
        "give it as the events do, relative to its root, or its absolute path",
    )


def _below(path: bytes, top: bytes) -> bytes | None:
    """What of a path is below another, which may be empty; None: it does not stand there."""
    if {b"..", b"."} & set(path.split(b"/")):
        return None
    if not top:
        return path
    if path == top:
        return b""
    return path[len(top) + 1 :] if path.startswith(top + b"/") else None


def _decoded(path: bytes) -> bytes:
    try:
        return decode_name(path.decode())
    except ValueError:
        return path


def _is_directory(path: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False


def _said(position: journal.Position) -> Position:
    return {"epoch": position.epoch, "sequence": position.sequence}


def _place(position: Position | None) -> journal.Position | None:
    return None if position is None else journal.Position(position["epoch"], position["sequence"])


def _told(group: str, one: Parked) -> ParkedMessage:
    what = about(Message.unpack(one.record).body)
    return {
        "group": group,
        "sink": one.sink,
        "id": f"{one.position.epoch}-{one.position.sequence:012d}",
        "epoch": one.position.epoch,
        "sequence": one.position.sequence,
        "parked_at": timestamp(one.time),
        "type": what.kind,
        "path": encode_name(what.paths[0]) if what.paths else None,
        "reason": one.reason,
        "detail": one.detail,
    }
