"""An agent that is killed around a commit of its first log entries: for `tests.patched`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

from inotify_bridge.group import Group
from inotify_bridge.outbox.store import Store
from inotify_bridge.sinks.base import Message, Outcome
from inotify_bridge.sinks.sql import SqlSink


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _around(before: Callable[[], None], after: Callable[[], None]) -> None:
    commit = Store.commit

    def patched(self: Store, records: Any, writes: Any, followed: Any = None) -> None:
        with_entries = any(b".log.entry.v1" in record for record in records)
        if with_entries:
            before()
        commit(self, records, writes, followed or {})
        if with_entries:
            after()

    Store.commit = patched  # type: ignore[method-assign]


def before_commit() -> None:
    """The entries are read, and nothing is written."""
    _around(_die, lambda: None)


def after_commit() -> None:
    """They are written, and nobody is told."""
    _around(lambda: None, _die)


def after_publish() -> None:
    """The relays have them."""
    committed = Group._committed

    def patched(self: Group, epoch: str, messages: Any) -> None:
        committed(self, epoch, messages)
        if any(message.kind == "log.entry" for message in messages):
            _die()

    Group._committed = patched  # type: ignore[method-assign]


def after_rows() -> None:
    """A database has their rows, and the relay does not know it."""
    publish = SqlSink.publish

    def patched(self: SqlSink, batch: Sequence[Message]) -> list[Outcome]:
        outcomes = publish(self, batch)
        if any(message.kind == "log.entry" for message in batch):
            _die()
        return outcomes

    SqlSink.publish = patched  # type: ignore[method-assign]
