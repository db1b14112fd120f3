"""Handlers: what is called with each event. Any callable of one argument is one; these are ready-made."""

from __future__ import annotations

import locale
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO, TypeAlias

import inotify_bridge.pyinotify as module
from inotify_bridge.capture.constants import IN_ISDIR
from inotify_bridge.pyinotify._errors import ProcessEventError
from inotify_bridge.pyinotify._events import Event
from inotify_bridge.pyinotify._flags import EventsCodes

Handler: TypeAlias = Callable[[Event], object]

# Mask to the names of the methods that may handle it, the most specific first: process_IN_CLOSE_WRITE,
# process_IN_CLOSE. Filled at the first event of each kind.
_METHODS: dict[int, tuple[str, str]] = {}


def _methods(mask: int) -> tuple[str, str]:
    kind = mask & ~IN_ISDIR
    name = EventsCodes.ALL_VALUES.get(kind)
    if name is None:
        raise ProcessEventError(f"Unknown mask 0x{kind:08x}")
    names = _METHODS[mask] = (f"process_{name}", f"process_IN_{name.split('_')[1]}")
    return names


class _ProcessEvent:
    """Calls the method that is named after the event."""

    def __call__(self, event: Any) -> Any:
        """
        Call process_IN_CLOSE_WRITE, else process_IN_CLOSE, else process_default, whichever is there.

        Raises:
            ProcessEventError: the event has a mask without a name.
        """
        mask = event.mask
        exact, family = _METHODS.get(mask) or _methods(mask)
        method = getattr(self, exact, None)
        if method is None:
            method = getattr(self, family, None)
            if method is None:
                method = self.process_default
        return method(event)

    def process_default(self, event: Any) -> Any:
        """Take the events that no other method takes."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class ProcessEvent(_ProcessEvent):
    """
    The base of handlers with a method per kind of event.

    Args:
        pevent: called with each event first; where it returns something true, this handler is not called.
        kargs: handed to `my_init`.
    """

    pevent: Handler | None = None

    def __init__(self, pevent: Handler | None = None, **kargs: Any) -> None:
        self.pevent = pevent
        self.my_init(**kargs)

    def my_init(self, *args: Any, **kargs: Any) -> None:
        """For subclasses: take the keyword arguments of the constructor, by any signature."""

    def __call__(self, event: Event) -> Any:
        """Call `pevent`, then, unless that returned something true, the method named after the event."""
        if self.pevent is not None and self.pevent(event):
            return None
        return _ProcessEvent.__call__(self, event)

    def nested_pevent(self) -> Handler | None:
        """The handler that is called first."""
        return self.pevent

    def process_IN_Q_OVERFLOW(self, event: Event) -> Any:
        """The kernel's queue was full, and events are lost: log it."""
        module.log.warning("Event queue overflowed.")

    def process_default(self, event: Event) -> Any:
        """Take the events that no other method takes."""


class PrintAllEvents(ProcessEvent):
    """Writes a line for each event to `out`, which is standard output unless given."""

    def my_init(self, out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out

    def process_default(self, event: Event) -> None:
        line = f"{event}\n"
        try:
            self._out.write(line)
        except UnicodeEncodeError:
            # A name that is not text in the encoding of the output: its bytes are shown as escapes.
            encoding = self._out.encoding or "ascii"
            self._out.write(line.encode(encoding, "backslashreplace").decode(encoding))
        self._out.flush()


class ChainIfTrue(ProcessEvent):
    """As the `pevent` of another handler: that one is called only for events for which `func` is true."""

    def my_init(self, func: Callable[[Event], object]) -> None:
        self._func = func

    def process_default(self, event: Event) -> bool:
        return not self._func(event)


class Stats(ProcessEvent):
    """Counts events by name. Its counts may be read from any thread."""

    def my_init(self) -> None:
        self._start_time = time.time()
        self._stats: dict[str, int] = {}
        self._stats_lock = threading.Lock()

    def process_default(self, event: Event) -> None:
        with self._stats_lock:
            for name in event.maskname.split("|"):
                self._stats[name] = self._stats.get(name, 0) + 1

    def _stats_copy(self) -> dict[str, int]:
        with self._stats_lock:
            return dict(self._stats)

    def __repr__(self) -> str:
        style = module.output_format
        shown: dict[str, object] = {**self._stats_copy(), "ElapsedTime": self._elapsed()}
        fields = [f"{style.field_name(name)}={style.field_value(shown[name])}" for name in sorted(shown)]
        return " ".join(["<" + style.class_name(type(self).__name__), *fields, ">"])

    def _elapsed(self) -> str:
        seconds = int(time.time() - self._start_time)
        minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
        if days > 0:
            return f"{days}d{hours % 24}h"
        if hours > 0:
            return f"{hours}h{minutes % 60}mn"
        if minutes > 0:
            return f"{minutes}mn{seconds % 60}sec"
        return f"{seconds}sec"

    def __str__(self, scale: int = 45) -> str:
        stats = self._stats_copy()
        if not stats:
            return ""
        style = module.output_format
        per_count = scale / max(stats.values())
        # The widths hold the colours' codes too, as programs that cut these lines expect.
        width = len(style.field_value("@" * scale)) + 1
        return "\n".join(
            f"{style.field_name(name):26}{style.field_value('@' * int(count * per_count)):{width}}"
            f"{style.simple(count, 'yellow')}"
            for name, count in sorted(stats.items())
        )

    def dump(self, filename: str) -> None:
        """
        Write the table to `filename`, readable by its owner only.

        Raises:
            FileExistsError: it is there already, if only as a link.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_EXCL
        with open(os.open(filename, flags, 0o600), "w", encoding=locale.getpreferredencoding()) as file:
            file.write(str(self))
