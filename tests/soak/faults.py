"""
What is done to the agent. Blows come and are over; sieges last while blows go on, and end.

Each counts in `Arena.happened` what really happened, under its own name; what shows in the stream is counted
there (overflows, clocks), or when the stream has told all (`Arena.expect`).
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from tests.soak.arena import Arena
from tests.soak.ground import MANY_WATCHES
from tests.soak.link import Way

Blow = Callable[[Arena], None]
Siege = Callable[[Arena], AbstractContextManager[None]]

_QUEUE_LIMIT: Final = Path("/proc/sys/fs/inotify/max_queued_events")
_HOUR: Final = 3600
_FELT_SECONDS: Final = 10.0
_FULL_SECONDS: Final = 20.0
_FULL: Final = "cannot be committed"


# -- blows


def killed(arena: Arena) -> None:
    """SIGKILL at some moment of work or of a start; what happens while it is down is found later."""
    arena.pause(0.1, 2.0)
    _kill(arena)
    arena.pause(0.0, 1.0)
    arena.agent.start(ready=False)


def _kill(arena: Arena) -> None:
    arena.live()
    if arena.end_agent(signal.SIGKILL, -signal.SIGKILL):
        arena.happened["SIGKILL"] += 1


def state_lost(arena: Arena) -> None:
    """The database is gone when the agent starts: a new epoch."""
    _other_state(arena, "state lost", arena.ground.lose_database)


def state_damaged(arena: Arena) -> None:
    """The database is garbage when the agent starts: a new epoch."""
    _other_state(arena, "state damaged", arena.ground.damage_database)


def state_rolled_back(arena: Arena) -> None:
    """The database is an older one when the agent starts, kept the last time: a new epoch."""
    _kill(arena)
    if arena.ground.keep_database():
        _other_state(arena, "state rolled back", arena.ground.restore_database)
    else:
        arena.agent.start(ready=False)


def _other_state(arena: Arena, name: str, change: Callable[[], None]) -> None:
    if arena.agent.alive:
        _kill(arena)
    arena.expect(name, lambda: len(arena.oracle.epochs))
    change()
    arena.agent.start(ready=False)


def restarted(arena: Arena) -> None:
    """SIGTERM: it drains, as far as it can, and ends with 0."""
    if not arena.answers():
        return  # a signal that comes before its handlers just ends it
    if arena.end_agent(signal.SIGTERM, 0):
        arena.happened["clean restart"] += 1
    arena.pause(0.0, 0.5)
    arena.agent.start(ready=False)


def overflow(arena: Arena) -> None:
    """More happens than the kernel's queue holds while the agent stands still; the stream tells of it."""
    if not arena.answers(watching=True):
        return
    before = arena.overflows()
    with arena.agent.paused():
        arena.work.burst(arena.chance.randint(50, 500))
        arena.work.fill(int(_QUEUE_LIMIT.read_text()) + 100)
        arena.work.burst(arena.chance.randint(200, 2000))
    deadline = time.monotonic() + arena.chance.choice((0.0, _FELT_SECONDS))
    while time.monotonic() < deadline and arena.overflows() == before:
        arena.pause(0.1, 0.1)


def reloaded(arena: Arena) -> None:
    """SIGHUP with another configuration: the group's threads are built anew. The stream tells of it."""
    if arena.answers():
        arena.reload()


def connection_reset(arena: Arena) -> None:
    """Every connection to the broker is reset, with whatever is on its way."""
    if arena.far.link.cut():
        arena.happened["broker: connections reset"] += 1


def clock_jumped(arena: Arena) -> None:
    """The wall clock jumps by hours, forwards or back; where it can."""
    arena.set_clock(arena.chance.choice((-1, 1)) * arena.chance.randint(2, 72) * _HOUR)


def burst(arena: Arena) -> None:
    """A lot of work at full speed, without any fault."""
    arena.work.burst(arena.chance.randint(1000, 4000))


# -- sieges: the broker


@contextlib.contextmanager
def broker_stopped(arena: Arena) -> Iterator[None]:
    """An operator stops it."""
    with _away(arena, "broker: stopped", arena.far.broker.stop, arena.far.broker.start):
        yield


@contextlib.contextmanager
def broker_killed(arena: Arena) -> Iterator[None]:
    """It crashes."""
    with _away(arena, "broker: SIGKILL", arena.far.broker.kill, arena.far.broker.start):
        yield


@contextlib.contextmanager
def broker_frozen(arena: Arena) -> Iterator[None]:
    """It stays connected and does nothing."""
    with _away(arena, "broker: frozen", arena.far.broker.freeze, arena.far.broker.thaw):
        yield


@contextlib.contextmanager
def link_mute(arena: Arena) -> Iterator[None]:
    """The broker takes everything, and its confirms reach nobody; then the connections are reset."""
    with _away(
        arena, "broker: answers swallowed", lambda: arena.far.link.set(Way.MUTE), lambda: _open(arena)
    ):
        yield


@contextlib.contextmanager
def link_silent(arena: Arena) -> Iterator[None]:
    """Nothing passes, and nobody hears of it: half-open connections."""
    with _away(arena, "broker: half-open", lambda: arena.far.link.set(Way.SILENT), lambda: _open(arena)):
        yield


@contextlib.contextmanager
def link_refusing(arena: Arena) -> Iterator[None]:
    """No connection is to be had."""
    with _away(arena, "broker: refused", lambda: arena.far.link.set(Way.REFUSING), lambda: _open(arena)):
        yield


def _open(arena: Arena) -> None:
    arena.far.link.cut()
    arena.far.link.set(Way.OPEN)


@contextlib.contextmanager
def _away(arena: Arena, name: str, begin: Callable[[], None], end: Callable[[], None]) -> Iterator[None]:
    begin()
    try:
        if _felt(arena):
            arena.happened[name] += 1
        yield
    finally:
        end()


def _felt(arena: Arena) -> bool:
    """Whether the sink says that it is not connected, or nothing of what waits is confirmed any more."""
    deadline = time.monotonic() + _FELT_SECONDS
    before = None
    while time.monotonic() < deadline:
        group = arena.group()
        for sink in group["sinks"] if group is not None else ():
            acknowledged = sink["acked_sequence"]
            if not sink["connected"] or sink["last_error"]:
                return True
            if sink["lag_events"] and acknowledged == before:
                return True
            before = acknowledged
        arena.pause(0.5, 0.5)
    return False


# -- sieges: the machine


@contextlib.contextmanager
def state_full(arena: Arena) -> Iterator[None]:
    """No block is left where the journal lies; while the broker is away it has to grow."""
    arena.live()
    arena.far.link.set(Way.REFUSING)
    arena.state_is_full = True
    before = len(arena.agent.log)
    arena.ground.fill_state()
    try:
        if _journal_is_stuck(arena, before):
            arena.happened["state directory full"] += 1
        yield
    finally:
        arena.ground.free_state()
        arena.live()
        arena.state_is_full = False
        _open(arena)


def _journal_is_stuck(arena: Arena, since: int) -> bool:
    deadline = time.monotonic() + _FULL_SECONDS
    while time.monotonic() < deadline and _FULL not in arena.log_since(since):
        arena.work.burst(1000)
        arena.ground.fill_state()
        arena.pause(0.2, 0.2)
    return _FULL in arena.log_since(since)


@contextlib.contextmanager
def root_unmounted(arena: Arena) -> Iterator[None]:
    """What was watched is gone; at its place is an empty directory."""
    arena.expect("root unmounted", lambda: arena.oracle.notices["root_lost"])
    arena.ground.unmount()
    yield
    arena.ground.mount()


@contextlib.contextmanager
def root_mounted_over(arena: Arena) -> Iterator[None]:
    """Another file system hides what was watched."""
    arena.expect("root mounted over", lambda: arena.oracle.notices["root_lost"])
    arena.ground.mount_over()
    yield
    arena.ground.unmount()


@contextlib.contextmanager
def watches_limited(arena: Arena) -> Iterator[None]:
    """There are no more watches to be had; what is new is polled."""
    arena.expect("watch limit", lambda: arena.oracle.notices["coverage_degraded"])
    arena.ground.limit_watches(arena.chance.choice((3, 20, 60)))
    yield
    arena.ground.limit_watches(MANY_WATCHES)


BLOWS: Final[dict[str, Blow]] = {
    "killed": killed,
    "restarted": restarted,
    "overflow": overflow,
    "reloaded": reloaded,
    "connection_reset": connection_reset,
    "state_lost": state_lost,
    "state_damaged": state_damaged,
    "state_rolled_back": state_rolled_back,
    "burst": burst,
    "clock_jumped": clock_jumped,
}
BROKER_SIEGES: Final[dict[str, Siege]] = {
    "broker_stopped": broker_stopped,
    "broker_killed": broker_killed,
    "broker_frozen": broker_frozen,
    "link_mute": link_mute,
    "link_silent": link_silent,
    "link_refusing": link_refusing,
}
MACHINE_SIEGES: Final[dict[str, Siege]] = {
    "state_full": state_full,
    "root_unmounted": root_unmounted,
    "root_mounted_over": root_mounted_over,
    "watches_limited": watches_limited,
}
SIEGES: Final[dict[str, Siege]] = {**BROKER_SIEGES, **MACHINE_SIEGES}
