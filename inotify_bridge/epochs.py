"""
Opening the store of a group, and beginning an epoch where the old one cannot go on.

An epoch is the life of one index: within it numbers are given once. So another one begins whenever it is not
certain that the database is what was left, and when what the stream is about has changed.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from inotify_bridge.capture.reconciler import Reason
from inotify_bridge.config.model import Config, WatchGroup
from inotify_bridge.metrics import GroupMetrics
from inotify_bridge.outbox.directory import Watched
from inotify_bridge.outbox.store import Store
from inotify_bridge.reload import goes_on, subject_of
from inotify_bridge.wiring import identity_of

_WORDS: Final = {
    "missing": "the state database is gone",
    "corrupt": "the state database was damaged",
    "note_missing": "the note beside the state database is gone: nothing says how far that had come",
    "restored": "the state database is another file than before: restored from a backup, or moved here",
    "rolled_back": "the state database is older than what was published: restored from a backup",
    "sink_ahead": "a sink holds messages that the state database does not know: restored from a backup",
    "changed": "the configuration is about another stream than before, or promises more of it",
    "root": "a root is another directory than before",
    "requested": "an operator asked for it",
}

_log = logging.getLogger("inotify_bridge.group")


def open_store(
    whole: Config, config: WatchGroup, metrics: GroupMetrics, damaged: bool = False
) -> tuple[Store, Reason]:
    """
    Open the store of a group, with an epoch that can go on.

    Args:
        damaged: set the present database aside first.

    Returns:
        The store, and what the first resync is for.
    Raises:
        StoreError: it cannot be opened or written.
        ConfigError: a newer major version wrote it.
    """
    path, max_bytes = _database(whole, config), whole.state.max_bytes
    if damaged and path is not None:
        store = Store.instead_of(path, max_bytes)
    else:
        store = Store.open(path, max_bytes, [root.path for root in watched(whole)])
    metrics.set_aside(store.set_aside)
    try:
        new_sinks = set_sinks(store, config)
        why = store.doubt or ("changed" if new_sinks or not _goes_on(store, whole, config) else "")
        if not why:
            keep_subject(store, whole, config)
            return store, "restart"
        begin_epoch(store, whole, config, why, metrics)
        return store, "start" if why in ("new", "changed") else "state_lost"
    except BaseException:
        store.close()
        raise


def _goes_on(store: Store, whole: Config, config: WatchGroup) -> bool:
    """Whether the epoch of a store can go on under this configuration."""
    if not store.subject:  # of a release that kept no more than this
        return store.source == identity_of(whole.events.source_of(config.name), config)
    return goes_on(store.subject, subject_of(whole, config))


def keep_subject(store: Store, whole: Config, config: WatchGroup) -> None:
    """Note what an epoch that goes on is about from now on. Raises: StoreError."""
    subject = subject_of(whole, config)
    if subject != store.subject:
        store.note_subject(subject)


def set_sinks(store: Store, config: WatchGroup) -> list[str]:
    """Give the store the group's sinks, and say whose watermarks are dropped. Returns the new ones."""
    for name in store.sinks:
        if name not in config.sinks:
            fields = {"watch_group": config.name, "sink": name}
            _log.info("the sink is no longer configured: its watermark is dropped", extra=fields)
    return store.set_sinks(config.sinks)


def begin_epoch(
    store: Store, whole: Config, config: WatchGroup, why: str, metrics: GroupMetrics, later_than: str = ""
) -> str:
    """
    Mint an epoch, count it and say why.

    Args:
        why: one of `metrics.EPOCH_REASONS`.
        later_than: an epoch that is known from elsewhere.
    Raises: StoreError; the old epoch goes on.
    """
    identity = identity_of(whole.events.source_of(config.name), config)
    epoch = store.mint_epoch(identity, later_than, subject_of(whole, config))
    metrics.epoch_begun(why)
    if why in _WORDS:
        lost = why not in ("changed", "requested")
        _log.log(
            logging.WARNING if lost else logging.INFO,
            "a new epoch begins, with everything anew: %s",
            _WORDS[why],
            extra={"watch_group": config.name, "epoch": epoch},
        )
    return epoch


def watched(whole: Config) -> list[Watched]:
    """Every root of every group."""
    return [
        Watched(Path(os.fsdecode(root.path)), group.recursive)
        for group in whole.watch_groups
        for root in group.roots
    ]


def _database(whole: Config, config: WatchGroup) -> Path | None:
    directory = whole.state.dir
    return None if directory is None else Path(os.fsdecode(directory)) / f"{config.name}.db"
