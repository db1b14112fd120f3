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
from typing import Any, Final

from tests.soak.arena import Arena
from tests.soak.ground import MANY_WATCHES

Blow = Callable[[Arena], None]
Siege = Callable[[Arena], AbstractContextManager[None]]

_QUEUE_LIMIT: Final = Path("/proc/sys/fs/inotify/max_queued_events")
_HOUR: Final = 3600
_HIT_SECONDS: Final = 10.0
_FELT_SECONDS: Final = 30.0
_NOTICED_SECONDS: Final = 120.0
_FULL_SECONDS: Final = 60.0
_FULL: Final = "disk is full"


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
    arena.ground.remove_set_aside()
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
    deadline = time.monotonic() + arena.chance.choice((0.0, _HIT_SECONDS, _HIT_SECONDS))
    while time.monotonic() < deadline and arena.overflows() == before:
        arena.pause(0.1, 0.1)


def reloaded(arena: Arena) -> None:
    """SIGHUP with another configuration: the group's threads are built anew. The stream tells of it."""
    if arena.answers():
        arena.reload()


def connection_reset(arena: Arena) -> None:
    """Every connection to the broker is reset, with whatever is on its way."""
    _until_hit(arena, arena.far.proxy.reset, "reset", "broker: connections reset")


def connection_cut(arena: Arena) -> None:
    """A connection is reset in the middle of a frame or a request."""
    arena.far.proxy.cut_after(arena.chance.randint(10, 2000))
    _until_hit(arena, lambda: None, "cut in the middle", "broker: cut in the middle")


def _until_hit(arena: Arena, hit: Callable[[], None], told: str, name: str) -> None:
    """Until it has hit a connection; not where a siege lets none come into being."""
    before = arena.far.proxy.happened[told]
    deadline = time.monotonic() + _HIT_SECONDS
    while time.monotonic() < deadline and arena.far.proxy.happened[told] == before:
        hit()
        arena.pause(0.2, 0.2)
    arena.happened[name] += arena.far.proxy.happened[told] > before


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
    with _away(arena, "broker: SIGKILL", arena.far.crash, arena.far.broker.start):
        yield


@contextlib.contextmanager
def broker_frozen(arena: Arena) -> Iterator[None]:
    """It stays connected and does nothing."""
    with _away(arena, "broker: frozen", arena.far.broker.freeze, arena.far.broker.thaw):
        yield


@contextlib.contextmanager
def confirms_swallowed(arena: Arena) -> Iterator[None]:
    """The broker takes everything, and its answers reach nobody."""
    with _away(arena, "broker: answers swallowed", arena.far.proxy.hold_back, arena.far.proxy.heal):
        yield


@contextlib.contextmanager
def half_open(arena: Arena) -> Iterator[None]:
    """The broker's side of every connection is gone without a word, and new ones are answered by nothing."""

    def vanish() -> None:
        arena.far.proxy.half_open()
        arena.far.proxy.freeze()

    with _away(arena, "broker: half-open", vanish, lambda: _healed(arena)):
        yield


@contextlib.contextmanager
def network_frozen(arena: Arena) -> Iterator[None]:
    """Nothing passes for a while; then everything goes on."""
    with _away(arena, "broker: network frozen", arena.far.proxy.freeze, arena.far.proxy.heal):
        yield


@contextlib.contextmanager
def network_slow(arena: Arena) -> Iterator[None]:
    """A few bytes a second."""
    with _away(arena, "broker: network slow", lambda: arena.far.proxy.slow(100), arena.far.proxy.heal):
        yield


@contextlib.contextmanager
def silent(arena: Arena) -> Iterator[None]:
    """Whoever connects is answered by nothing."""
    with _away(arena, "broker: silent", arena.far.proxy.mute, arena.far.proxy.heal):
        yield


@contextlib.contextmanager
def refusing(arena: Arena) -> Iterator[None]:
    """No connection is to be had."""
    with _away(arena, "broker: refused", arena.far.proxy.refuse, arena.far.proxy.heal):
        yield


def _healed(arena: Arena) -> None:
    arena.far.proxy.heal()
    arena.far.proxy.reset()


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
    """No block is left where the journal lies; a new one, while the broker is away, has to grow."""
    _other_state(arena, "state lost", arena.ground.lose_database)
    arena.answers(watching=True)
    arena.far.proxy.refuse()
    arena.state_is_full = True
    before = len(arena.agent.log)
    arena.ground.fill_state()
    try:
        if _journal_is_stuck(arena, before):
            arena.happened["state directory full"] += 1
        yield
    finally:
        arena.ground.free_state()
        arena.answers()
        arena.state_is_full = False
        arena.far.proxy.heal()


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
    told = _expected(arena, "root unmounted", "root_lost")
    arena.ground.unmount()
    yield
    _noticed(arena, told, _root_is_lost)
    arena.ground.mount()


@contextlib.contextmanager
def root_mounted_over(arena: Arena) -> Iterator[None]:
    """Another file system hides what was watched."""
    told = _expected(arena, "root mounted over", "root_lost")
    arena.ground.mount_over()
    yield
    _noticed(arena, told, _root_is_lost)
    arena.ground.unmount()


@contextlib.contextmanager
def watches_limited(arena: Arena) -> Iterator[None]:
    """There are no more watches to be had; what is new is polled."""
    told = _expected(arena, "watch limit", "coverage_degraded")
    arena.ground.limit_watches(arena.chance.choice((3, 20, 60)))
    yield
    _noticed(arena, told, lambda group: _is_uncovered(arena, group))
    arena.ground.limit_watches(MANY_WATCHES)


def _expected(arena: Arena, fault: str, kind: str) -> Callable[[], bool]:
    """A fault begins, of which the stream has a notice of this kind; whether it has told it."""
    before = arena.oracle.notices[kind]
    arena.expect(fault, lambda: arena.oracle.notices[kind])
    return lambda: arena.oracle.notices[kind] > before


def _noticed(arena: Arena, told: Callable[[], bool], shows: Callable[[dict[str, Any]], bool]) -> None:
    """
    Wait until the agent has met what is about to end: a slow one, or one that is just starting, looks later
    than the blows take. It never does where it began anew meanwhile, and the broker is away.
    """
    deadline = time.monotonic() + _NOTICED_SECONDS
    while not told():
        late = time.monotonic() > deadline
        arena.live()
        group = arena.group()
        if late or (group is not None and shows(group)):
            return
        arena.pause(0.1, 0.1)


def _is_uncovered(arena: Arena, group: dict[str, Any]) -> bool:
    if group["uncovered_count"]:
        return True
    arena.work.burst(100)  # until there are more directories than watches
    return False


def _root_is_lost(group: dict[str, Any]) -> bool:
    # Before the first look every root passes for lost.
    return group["state"] == "running" and any(root["state"] == "lost" for root in group["roots"])


BLOWS: Final[dict[str, Blow]] = {
    "killed": killed,
    "restarted": restarted,
    "overflow": overflow,
    "reloaded": reloaded,
    "connection_reset": connection_reset,
    "connection_cut": connection_cut,
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
    "confirms_swallowed": confirms_swallowed,
    "half_open": half_open,
    "network_frozen": network_frozen,
    "network_slow": network_slow,
    "silent": silent,
    "refusing": refusing,
}
MACHINE_SIEGES: Final[dict[str, Siege]] = {
    "state_full": state_full,
    "root_unmounted": root_unmounted,
    "root_mounted_over": root_mounted_over,
    "watches_limited": watches_limited,
}
SIEGES: Final[dict[str, Siege]] = {**BROKER_SIEGES, **MACHINE_SIEGES}
