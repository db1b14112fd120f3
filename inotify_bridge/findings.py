"""What is wrong, and what to do about it, in words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from inotify_bridge.capture.tree import Root
from inotify_bridge.events.names import encode as encode_name
from inotify_bridge.group import Group
from inotify_bridge.outbox.relay import RelayStatus

SILENT_SECONDS = 5.0
"""How long a sink may say nothing before that is told: a broker at work takes a fraction of it."""

_PARKED_SHARE = 0.5
_FREE_SPACE = "free space on the disk"
_MORE_ROOM = "give the journal more room (state.max_bytes)"


class Finding(NamedTuple):
    """
    One thing that is wrong.

    Args:
        title: in a few words that stay the same for as long as it lasts: they may be read aloud.
        what: the facts of now.
        do: what an operator can do, or that there is nothing to be done.
        see: the section of docs/operations.md.
    """

    title: str
    what: str
    do: str
    see: str

    @property
    def words(self) -> str:
        """On one line."""
        return f"{self.what}: {self.do}"


def refused_reload(error: str) -> Finding:
    """The configuration was changed and is not in force."""
    return Finding(
        "The last reload was refused",
        f"the last reload was refused, the old configuration is in force: {error}",
        "mend the file (`inotify-bridge validate` says every error at once) and reload again",
        "Reload",
    )


def findings(group: Group) -> list[Finding]:
    """Of one group and its sinks, the gravest first. From any thread."""
    return [*_threads(group), *_coverage(group), *_journal(group), *_sinks(group)]


def _threads(group: Group) -> Iterator[Finding]:
    hanging = group.hanging()
    for words in hanging:
        do = "restart the agent, as its /livez asks for, and look into its log"
        yield Finding("The group does not work", words, do, "Probes")
    if hanging:
        return
    if group.trouble is not None:
        yield Finding(
            "The group does not run",
            f"the group does not run, it is being restarted: {group.trouble}",
            "mend what it says; it is tried again by itself",
            "State directory",
        )
    still = time.monotonic() - group.recorder.turned_at
    if still > SILENT_SECONDS and group.recorder.alive:
        yield Finding(
            "Nothing is recorded",
            f"nothing was recorded for {still:.0f} s, one step takes that long",
            "does the disk of the state directory answer?",
            "State directory",
        )


def lost_roots(group: Group) -> list[Root]:
    """Roots that are; a recorder that does not run has not looked yet, or no more."""
    return [root for root in group.recorder.reconciler.tree_roots if root.lost and group.recorder.alive]


def _coverage(group: Group) -> Iterator[Finding]:
    for root in lost_roots(group):
        yield Finding(
            "A root is lost",
            f"root {encode_name(root.place)} is lost",
            "mount it, let the agent read it, or make it again with what was in it (an empty directory "
            "counts as not mounted yet); the log says what it is; nothing is taken for deleted",
            "A root is lost",
        )
    if count := group.recorder.reconciler.uncovered_count:
        yield Finding(
            "Coverage is degraded",
            f"{count} directories are polled, not watched",
            "`uncovered` in `inotify-bridge status --json` says why; where it is a limit, `inotify-bridge "
            "doctor` says which one to raise",
            "Coverage is degraded",
        )
    if count := group.recorder.unreadable_logs:
        yield Finding(
            "Log files cannot be read",
            f"{count} log files cannot be read",
            "the log of the agent says which and why; it is tried again",
            "Messages of the log",
        )


def _journal(group: Group) -> Iterator[Finding]:
    books = group.recorder.books
    if books.blocked:
        short = group.store.room.disk_is_short
        yield Finding(
            "The journal is full",
            f"the journal is full{', for its disk is nearly' if short else ''}: "
            "reading waits until the slowest sink takes messages",
            f"bring that sink back, or {_FREE_SPACE if short else _MORE_ROOM}",
            "The journal is full",
        )
    parked, limit = group.store.parked_bytes, group.store.max_bytes
    if parked > limit * _PARKED_SHARE:
        yield Finding(
            "The room for parked messages is nearly used up",
            f"parked messages take {parked} of {limit} bytes (state.max_bytes), and nothing goes to a sink "
            "that refuses one more",
            "`inotify-bridge parked list`, then `parked retry` or `parked drop`",
            "A message is parked",
        )
    for words in (books.trouble, *books.unwritten):
        if words:
            do = "mend what it says; it is tried again by itself"
            yield Finding("The state directory takes nothing", words, do, "State directory")


def _sinks(group: Group) -> Iterator[Finding]:
    for name in group.not_compared:
        yield Finding(
            f"Sink {name} could not be asked what it holds",
            f"sink {name} could not be asked since the start what it holds",
            "if the state directory was put back from a backup, begin a new epoch "
            "(`inotify-bridge state new-epoch`)",
            "State directory",
        )
    for name, relay in group.relays.items():
        yield from _sink(group, name, relay.status)


def _sink(group: Group, name: str, relay: RelayStatus) -> Iterator[Finding]:
    if said := relay.error or _silent(relay, group.lag(name)):
        title = f"Sink {name} takes no messages" if relay.error else f"Sink {name} does not answer"
        yield Finding(
            title,
            f"sink {name}: {said}",
            f"`inotify-bridge test-sink {name} -c FILE` tries one message, step by step; what is not "
            "confirmed waits in the journal, and is sent by itself when the sink takes it",
            "A sink is unavailable",
        )
    if count := group.recorder.desk.parked_count.get(name, 0):
        yield Finding(
            f"Sink {name} will never take some messages",
            f"sink {name}: {count} parked",
            "`inotify-bridge parked list` says which and why, then `parked retry` or `parked drop`",
            "A message is parked",
        )


def _silent(relay: RelayStatus, lag: int) -> str:
    """That a sink has not answered for a while, long before it counts as a failure; empty: it has."""
    seconds = 0.0 if relay.asked_at is None else time.monotonic() - relay.asked_at
    if seconds < SILENT_SECONDS:
        return ""
    if relay.inflight:
        return f"{relay.inflight} messages were sent and are not confirmed for {seconds:.0f} s; {lag} wait"
    return f"it does not answer to the connection for {seconds:.0f} s; {lag} messages wait"
