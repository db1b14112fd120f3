"""
The map: what there is, how it is chained, in which order it starts and stops.

    config ─► for each watch group:  kernel ─► notifier ─► recorder ─► outbox ─► relay ─► sink ─► broker
           └► one HTTP server: metrics, probes, status

It starts downstream first and stops upstream first: stop reading, record what was read, deliver until the
deadline. What is left then stays in the outbox.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from prometheus_client import CollectorRegistry

from inotify_bridge.config.model import Config, SinkEntry, WatchGroup
from inotify_bridge.config.token import read_token
from inotify_bridge.epochs import watched
from inotify_bridge.errors import BridgeError, ConfigError, EpochEnded, StoreError
from inotify_bridge.group import Group, MakeSink, context_of
from inotify_bridge.metrics import Metrics, register_process_metrics
from inotify_bridge.operator_signals import OperatorSignals
from inotify_bridge.outbox.directory import prepare, refuse_watched
from inotify_bridge.outbox.lock import DirectoryLock
from inotify_bridge.reload import is_changed, refuse_unreloadable
from inotify_bridge.sinks.base import Sink, SinkContext
from inotify_bridge.sinks.registry import sink_class
from inotify_bridge.status import StatusView
from inotify_bridge.tap import Taps
from inotify_bridge.web.server import WebServer

SWITCH_INTERVAL = 0.0005
"""Seconds that a thread may keep the interpreter from others: the notifier must come to its read in time."""

_RETRY = 5.0
_JOIN = 30.0

GARBAGE = (100_000, 50, 100)
"""Garbage is collected seldom: hardly anything here is in a circle, and the notifier waits for it."""

Undelivered: TypeAlias = Mapping[tuple[str, str], int]
"""How many messages a sink has not confirmed, by (group, sink); only those that have any."""

_log = logging.getLogger("inotify_bridge.agent")


class Agent:
    """
    Everything that runs. `start`, `stop` and `reload` come one after the other; `abort` from any thread.

    Args:
        config: validated.
        path: of the file that it came from, for the status; None where a program made it.
        make_sink: makes the sink of an entry; from the entry points, unless given.
        http: whether the HTTP server runs.
    """

    def __init__(
        self,
        config: Config,
        path: Path | None = None,
        make_sink: MakeSink | None = None,
        http: bool = True,
    ) -> None:
        self.config = config
        self.groups: dict[str, Group] = {}
        self.given_up: Callable[[], None] = lambda: None
        """Called when a group cannot be kept running; on the supervisor's thread."""
        self._make_sink = make_sink or sink_of
        self._dead: list[tuple[Group, str, BaseException]] = []
        self._leaving: list[Group] = []
        self._hurried = False
        self._lock = threading.Lock()
        self._lock_file: DirectoryLock | None = None
        self._news = threading.Event()
        self._stopping = False
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, *_labels(config))
        self.metrics.follow_limits(_queue_limit, _watch_limit)
        self.taps = Taps()
        self.view = StatusView(self.groups, lambda: self.config, path, self.taps.recent, _watch_limit)
        self.signals = OperatorSignals(self.groups, self._names, self.taps)
        self.web: WebServer | None = None
        if http:
            register_process_metrics(self.registry)
            self.web = WebServer(
                config.http.listen,
                self.view,
                self.registry,
                self._token,
                config.http.admin_socket,
                self.signals,
            )

    # -- start and stop

    def start(self) -> None:
        """
        Start everything: what cannot be had at once is waited for, except a port or a lock in use.

        The process is set up for it: threads change places every half millisecond, garbage is collected
        seldom. Neither is taken back by `stop`.

        Raises:
            UnavailableError: the HTTP address, the lock or an inotify instance is not to be had.
            StoreError: a store cannot be opened, for another reason than the disk.
        """
        sys.setswitchinterval(SWITCH_INTERVAL)
        if self.config.state.dir is not None:
            directory = Path(os.fsdecode(self.config.state.dir))
            prepare(directory, watched(self.config))
            self._lock_file = DirectoryLock(directory)
        try:
            if self.web is not None:
                self.web.start()
            for name in self._names():
                self._start_or_wait(name)
        except BaseException:
            self.stop(0.0)
            raise
        # What is there now is there to stay: a collection of everything would hold up the notifier.
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        self._supervisor.start()

    def _names(self) -> list[str]:
        return [group.name for group in self.config.watch_groups]

    def _start_or_wait(self, name: str) -> None:
        """Where the disk is full or broken, the group starts when it is mended; all else goes on."""
        try:
            self._start_group(self.config, name)
        except StoreError as error:
            if error.reason not in ("full", "io"):
                raise
            self._died(self.groups[name], "start", error)

    def _start_group(self, config: Config, name: str) -> None:
        wanted = config.group(name)
        group = Group(
            wanted,
            config,
            self.metrics,
            self._make_sink,
            lambda what, error: self._died(group, what, error),
            self.given_up,
        )
        group.tapped = partial(self.taps.offer, name)
        self.groups[name] = group
        group.start()
        self._insecure(wanted, config)

    def _insecure(self, group: WatchGroup, config: Config) -> None:
        for sink in group.sinks:
            self.metrics.insecure(sink, _insecure(config.sink(sink).options))

    def stop(self, timeout: float | None = None) -> Undelivered:
        """
        Drain and end. Idempotent.

        Args:
            timeout: seconds for the drain; the configured `shutdown_timeout` unless given.

        Returns:
            What is left undelivered; with a state directory it is sent after the next start, else it is lost.
        """
        self._stopping = True
        self._news.set()
        if self._supervisor.ident is not None:
            self._supervisor.join(_JOIN)
        left = self._stop_groups(list(self.groups.values()), timeout)
        self.taps.end("the agent has stopped")
        if self.web is not None:
            self.web.stop()
        if self._lock_file is not None:
            self._lock_file.close()
        return left

    @property
    def taken_over(self) -> StoreError | None:
        """Why this process may not go on, where its state directory is no longer its own."""
        return next((group.taken_over for group in list(self.groups.values()) if group.taken_over), None)

    def undelivered(self) -> Undelivered:
        """What is recorded and not confirmed at this moment. From any thread."""
        return _undelivered(list(self.groups.values()))

    def _stop_groups(self, groups: Sequence[Group], timeout: float | None = None) -> Undelivered:
        """Upstream first; all groups together, so that none waits for the broker of another."""
        deadline = time.monotonic() + (self.config.shutdown_timeout if timeout is None else timeout)
        for step in (
            lambda group: group.stop_reading(deadline),
            lambda group: group.stop_recording(deadline),
            lambda group: group.stop_relaying(deadline),
        ):
            _together(step, groups)
        left = _undelivered(groups)
        for group in groups:
            self.groups.pop(group.config.name, None)
        return left

    def abort(self) -> None:
        """Interrupt a drain: nothing more is waited for."""
        for group in list(self.groups.values()):
            group.abort()

    # -- reload

    def reload(self, config: Config) -> None:
        """
        Put another configuration in force, as far as that can be done without a restart.

        Groups that are new are started, then those that changed go on in another way, then those that are no
        longer there are drained and stopped. The others are left alone.

        Raises:
            ConfigError: something was changed that needs a restart, or a sink cannot be made.
            UnavailableError, StoreError: a new group cannot be started.
            In all these cases the old configuration stays.
        """
        refuse_unreloadable(self.config, config)
        if config.state.dir is not None:
            refuse_watched(Path(os.fsdecode(config.state.dir)), watched(config))
        self._try_sinks(config)
        wanted = [group.name for group in config.watch_groups]
        added = [name for name in wanted if name not in self.groups]
        changed = [name for name in wanted if name in self.groups and is_changed(self.config, config, name)]
        removed = [group for name, group in self.groups.items() if name not in wanted]
        self._add(config, added)
        self.config = config
        for name in changed:
            if not self._hurried:  # else the agent is about to end: the next start goes on in the new way
                self._change(self.groups[name], config)
        for group in removed:
            self.taps.end("the group is no longer configured", group.config.name)
        self._leaving = removed
        self._stop_groups(removed, 0.0 if self._hurried else None)
        self._leaving = []
        self.metrics.configure(*_labels(config))
        self.metrics.reloaded(True, time.time())
        self.view.reloaded(None)
        _log.info(
            "configuration reloaded: groups added: %d, changed: %d, removed: %d",
            len(added),
            len(changed),
            len(removed),
        )

    def hurry(self) -> None:
        """
        The agent is about to end: a reload waits for no sink of what it removes or changes. From any thread.
        """
        self._hurried = True
        for group in list(self.groups.values()):
            group.hurry()
        for group in self._leaving:
            group.abort()

    def _try_sinks(self, config: Config) -> None:
        """Make the sinks once, which opens nothing: what cannot be made is refused before all else."""
        for group in config.watch_groups:
            for name in group.sinks:
                self._make_sink(config.sink(name), context_of(config, group.name, name))

    def _add(self, config: Config, names: Sequence[str]) -> None:
        """Start groups; all of them, or none."""
        old, new = _labels(self.config), _labels(config)
        self.metrics.configure([*{*old[0], *new[0]}], [*{*old[1], *new[1]}])
        try:
            for name in names:
                self._start_group(config, name)
        except BaseException:
            self._stop_groups([self.groups[name] for name in names if name in self.groups], 0.0)
            self.metrics.configure(*old)
            raise

    def _change(self, group: Group, config: Config) -> None:
        wanted = config.group(group.config.name)
        # It has the new configuration, and told the supervisor, which tries until it runs.
        with contextlib.suppress(Exception):
            group.reconfigure(wanted, config)
        self._insecure(wanted, config)

    def reload_failed(self, error: str = "refused") -> None:
        """Note that a new configuration was not taken."""
        self.metrics.reloaded(False, time.time())
        self.view.reloaded(error)

    # -- supervision

    def _died(self, group: Group, what: str, error: BaseException) -> None:
        """On the dying thread: hand it over to the supervisor."""
        with self._lock:
            self._dead.append((group, what, error))
        self._news.set()

    def _supervise(self) -> None:
        while not self._stopping:
            self._news.wait()
            self._news.clear()
            with self._lock:
                dead, self._dead = self._dead, []
            for group, what, error in dead:
                if not self._stopping and self.groups.get(group.config.name) is group:
                    self._revive(group, what, error)

    def _revive(self, group: Group, what: str, error: BaseException) -> None:
        # What was raised on purpose is no bug: its text says it all.
        if isinstance(error, EpochEnded):
            _log.warning("%s", error, extra={"watch_group": group.config.name})
        else:
            trace = None if isinstance(error, BridgeError) else error
            _log.error("%s ended: %s: %s", what, type(error).__name__, error, exc_info=trace)
        if what.startswith("relay-"):
            group.failure = f"{what} died: {type(error).__name__}: {error}"
            return
        try:
            group.restart() if group.started else group.start()
        except Exception as again:  # whatever it was, the next attempt may do better
            if not self._stopping:
                if str(again) != str(error):
                    _log.error("group %s cannot be restarted, trying again: %s", group.config.name, again)
                threading.Timer(_RETRY, self._died, (group, what, again)).start()

    def _token(self) -> str | None:
        http = self.config.http
        if http.admin_token_file is not None:
            try:
                return read_token(Path(http.admin_token_file))
            except ConfigError as error:
                _log.warning("the admin token cannot be read: %s", error)
                return None
        return http.admin_token.get_secret_value() if http.admin_token is not None else None


def sink_of(entry: SinkEntry, context: SinkContext) -> Sink:
    """The sink of a configuration entry. Opens nothing."""
    return sink_class(entry.type)(entry.options, context)


def _undelivered(groups: Sequence[Group]) -> Undelivered:
    waiting = {(group.config.name, sink): group.lag(sink) for group in groups for sink in group.relays}
    return {pair: count for pair, count in waiting.items() if count}


def _together(step: Callable[[Group], object], groups: Sequence[Group]) -> None:
    def guarded(group: Group) -> None:
        try:
            step(group)
        except Exception:
            _log.exception("group %s did not stop cleanly", group.config.name)

    threads = [
        threading.Thread(target=guarded, args=(group,), name=f"stop-{group.config.name}") for group in groups
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _labels(config: Config) -> tuple[list[str], list[tuple[str, str]]]:
    groups = [group.name for group in config.watch_groups]
    return groups, [(group.name, sink) for group in config.watch_groups for sink in group.sinks]


def _insecure(options: object) -> bool:
    return bool(getattr(options, "is_insecure", False))


def _read_limit(path: str) -> float:
    with open(path, encoding="ascii") as file:
        return float(file.read())


def _queue_limit() -> float:
    return _read_limit("/proc/sys/fs/inotify/max_queued_events")


def _watch_limit() -> float:
    """The smallest that applies: of the user in this namespace, and of the machine."""
    limits = [_read_limit("/proc/sys/fs/inotify/max_user_watches")]
    if os.path.exists("/proc/sys/user/max_inotify_watches"):
        limits.append(_read_limit("/proc/sys/user/max_inotify_watches"))
    return min(limits)
