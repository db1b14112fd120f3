"""The fuse: counts how often a place is passed, and kills its own process when the number is reached."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

When: TypeAlias = Callable[..., object]

BURNT = "failpoint reached: "
"""What stands in the agent's log, before the name, when it was killed at a point and by nothing else."""

_SHRINK = 0.7


class Fuse:
    """
    Kills this process at one place.

    Args:
        name: of the point, for the log.
        hit: at which pass, from 1.
        delay: seconds, for `inside`.
        linger: seconds that its thread stands there before the end, as on a slow disk; the others go on.
    """

    def __init__(self, name: str, hit: int, delay: float = 0.0, linger: float = 0.0) -> None:
        self._name = name
        self._left = hit
        self._delay = delay
        self._linger = linger
        self._lock = threading.Lock()

    # -- where it burns

    def before(self, owner: Any, method: str, when: When | None = None) -> None:
        """
        At the entry of a method.

        Args:
            when: called with what the method is called with; a pass counts where it says so.
        Raises:
            AttributeError: `owner` has no such method: it was renamed, and the point has to follow.
        """

        def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(original)
            def wrapped(*args: Any, **named: Any) -> Any:
                if when is None or when(*args, **named):
                    self.burn()
                return original(*args, **named)

            return wrapped

        replace(owner, method, wrapper)

    def after(self, owner: Any, method: str, when: When | None = None) -> None:
        """
        At the return of a method, before its caller knows.

        Args:
            when: called with the result and what the method was called with.
        """

        def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(original)
            def wrapped(*args: Any, **named: Any) -> Any:
                result = original(*args, **named)
                if when is None or when(result, *args, **named):
                    self.burn()
                return result

            return wrapped

        replace(owner, method, wrapper)

    def inside(self, owner: Any, method: str, when: When | None = None) -> None:
        """While a method runs, some time after it was entered; a call that is faster is passed by."""

        def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(original)
            def wrapped(*args: Any, **named: Any) -> Any:
                if (when is not None and not when(*args, **named)) or not self._passed():
                    return original(*args, **named)
                with _Countdown(self._delay, self.kill):
                    self._left, self._delay = (
                        1,
                        self._delay * _SHRINK,
                    )  # the next call, where this one is fast
                    return original(*args, **named)

            return wrapped

        replace(owner, method, wrapper)

    def statement(self, *beginnings: str, after: bool = False) -> None:
        """At an SQL statement that begins so, of any connection made from now on."""
        fuse = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
                here = sql.lstrip().startswith(beginnings)
                if here and not after:
                    fuse.burn()
                cursor = super().execute(sql, *parameters)
                if here and after:
                    fuse.burn()
                return cursor

            def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
                if sql.lstrip().startswith(beginnings):
                    fuse.burn()
                return super().executemany(sql, *parameters)

        _connect_by(Connection)

    def traced(self, *beginnings: str) -> None:
        """The same, before a statement that may also stand in a script."""
        fuse = self

        class Connection(sqlite3.Connection):
            def __init__(self, *args: Any, **named: Any) -> None:
                super().__init__(*args, **named)
                self.set_trace_callback(self._traced)

            @staticmethod
            def _traced(sql: str) -> None:
                if sql.lstrip().startswith(beginnings):
                    fuse.burn()

        _connect_by(Connection)

    # -- the end

    def burn(self) -> None:
        """Count one pass; at the last one the process is killed, and this does not return."""
        if self._passed():
            time.sleep(self._linger)
            self.kill()

    def kill(self) -> None:
        """SIGKILL to this process: no handler, no `finally`, no flush. Does not return."""
        os.write(2, f"{BURNT}{self._name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()

    def _passed(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left == 0


class _Countdown:
    """Calls `expired` on another thread after some seconds, unless the context is left before."""

    def __init__(self, seconds: float, expired: Callable[[], None]) -> None:
        self._left = threading.Event()
        self._ends_at = time.monotonic() + seconds
        self._expired = expired

    def __enter__(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self._left.set()

    def _run(self) -> None:
        if not self._left.wait(max(0.0, self._ends_at - time.monotonic())):
            self._expired()


def _connect_by(factory: type[sqlite3.Connection]) -> None:
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def connected(*args: Any, **named: Any) -> sqlite3.Connection:
        return connect(*args, factory=factory, **named)

    sqlite3.connect = connected  # type: ignore[assignment]  # its types are overloaded


def replace(owner: Any, method: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """
    Put a wrapper around a method of a class or a function of a module.

    Raises:
        AttributeError: it does not stand there (an inherited one would be wrapped for others too).
    """
    if method not in vars(owner):
        raise AttributeError(f"{owner.__name__} has no {method} of its own")
    setattr(owner, method, wrapper(vars(owner)[method]))
