"""The notifier: waits, reads and calls handlers, each step where its caller asks for it."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import inotify_bridge.pyinotify as module
from inotify_bridge.capture import inotify
from inotify_bridge.capture.constants import IN_IGNORED, IN_Q_OVERFLOW
from inotify_bridge.pyinotify import _daemon
from inotify_bridge.pyinotify._bookkeeping import _SysProcessEvent, made
from inotify_bridge.pyinotify._errors import NotifierError
from inotify_bridge.pyinotify._events import Event, _RawEvent, text
from inotify_bridge.pyinotify._handlers import Handler, PrintAllEvents
from inotify_bridge.pyinotify._kernel import ProcINotify
from inotify_bridge.pyinotify._manager import WatchManager
from inotify_bridge.pyinotify._watches import Watch

# How many handlers are called between two looks at the kernel's queue, how long that may be before it is
# emptied into memory (bytes per event that it can hold: about a quarter of it), and how much is taken in all:
# what is beyond stays in the kernel, and overflows there as it always did.
EVENTS_PER_LOOK = 16
READ_AHEAD_BYTES_PER_EVENT = 8
READ_AHEAD_AT_MOST_BYTES = 64 * 1024 * 1024

Callback: TypeAlias = Callable[[Any], object]


class Notifier:
    """
    Reads events of a manager's watches and calls handlers with them, in the caller's thread.

    Nothing is read before `read_events` is called, so that the descriptor can be polled by anything. Only
    `loop`, which polls by itself, empties a kernel queue that fills while handlers run. The order stays.

    Args:
        watch_manager: whose events these are; closed by `stop`.
        default_proc_fun: handler of events of watches without their own; prints them where None.
        read_freq: seconds that `loop` waits after the first event, so that more come in one batch.
        threshold: bytes that must wait before `read_events` reads.
        timeout: milliseconds that `check_events` waits; None: for ever.
    """

    def __init__(
        self,
        watch_manager: WatchManager,
        default_proc_fun: Handler | None = None,
        read_freq: float = 0,
        threshold: int = 0,
        timeout: float | None = None,
    ) -> None:
        self._watch_manager = watch_manager
        self._fd: int | None = watch_manager.get_fd()
        self._pollobj = select.poll()
        self._pollobj.register(self._fd, select.POLLIN)
        self._pipe = (-1, -1)
        self._eventq: deque[_RawEvent] = deque()
        self._sys_proc_fun = _SysProcessEvent(watch_manager, self)
        self._default_proc_fun: Handler = PrintAllEvents() if default_proc_fun is None else default_proc_fun
        self._read_freq = read_freq
        self._threshold = threshold
        self._timeout = timeout
        self._coalesce = False
        self._eventset: set[tuple[int, int, int, str]] = set()
        self._reads = 0
        self._ahead: deque[bytes] = deque()
        self._ahead_bytes = 0
        # stop() may come from any thread and from a signal handler.
        self._ending = threading.RLock()
        self._looping: int | None = None
        self._read_ahead_from = 0
        self._wake = -1

    def append_event(self, event: _RawEvent) -> None:
        """Queue an event for the next `process_events`."""
        self._eventq.append(event)

    def proc_fun(self) -> Handler:
        """The handler of events of watches without their own."""
        return self._default_proc_fun

    def coalesce_events(self, coalesce: bool = True) -> None:
        """Queue an event only if no equal one was read since `process_events` was through; or end that."""
        self._coalesce = coalesce
        if not coalesce:
            self._eventset.clear()

    def check_events(self, timeout: float | None = None) -> int:
        """
        Wait until something can be read. Consumes nothing.

        Args:
            timeout: milliseconds, 0 for a look, None for what the constructor was given.

        Returns:
            Something true if there is something; false when time is over, or when stopped meanwhile.
        """
        fd = self._fd
        if fd is None:
            return 0
        if self._ahead:
            return select.POLLIN
        ready = dict(self._pollobj.poll(self._timeout if timeout is None else timeout))
        # Anything besides the instance is there to wake this up, for the end.
        return ready.get(fd, 0) & select.POLLIN if len(ready) == 1 else 0

    def read_events(self) -> None:
        """
        Queue everything that the kernel holds now, unless that is nothing or less than `threshold`.

        Raises:
            NotifierError: it cannot be read.
        """
        fd = self._fd
        if fd is None:
            return
        if self._ahead:
            data = self._ahead.popleft()
            self._ahead_bytes -= len(data)
        else:
            data = _waiting(fd, self._threshold)
        if data:
            self._reads += 1
            self._queue(data)

    def reads_until_now(self) -> int:
        """The number of the read that will have brought everything that the kernel has told by now."""
        return self._reads + len(self._ahead) + 1

    def reads_done(self) -> int:
        """How many reads have been queued."""
        return self._reads

    def _queue(self, data: bytes) -> None:
        events = [_RawEvent(wd, mask, cookie, text(name)) for wd, mask, cookie, name in inotify.records(data)]
        if self._coalesce:
            events = [event for event in events if self._is_new(event)]
        module.log.debug("%d events read: %s", len(events), events)
        if type(self).append_event is Notifier.append_event:
            self._eventq.extend(events)
        else:
            for event in events:
                self.append_event(event)

    def _is_new(self, event: _RawEvent) -> bool:
        key = (event.wd, event.mask, event.cookie, event.name)
        if key in self._eventset:
            return False
        self._eventset.add(key)
        return True

    def process_events(self) -> None:
        """
        Call the handlers of all queued events, also of those queued meanwhile.

        What a handler raises comes out here; its event is consumed then, and the rest stays queued.
        """
        while self._eventq:
            self._process(EVENTS_PER_LOOK)
            if self._read_ahead_from:
                self._read_ahead()
        self._sys_proc_fun.cleanup()
        if self._coalesce:
            self._eventset.clear()

    def _process(self, count: int) -> None:
        """Process up to `count` events."""
        queue, manager, system = self._eventq, self._watch_manager, self._sys_proc_fun
        special, told = system.by_mask, system.told
        for _ in range(count):
            if not queue:
                return
            raw = queue.popleft()
            if manager.ignore_events:
                continue
            watch = manager.get_watch(raw.wd) or self._late_watch(raw)
            if watch is None:
                if raw.mask == IN_Q_OVERFLOW:
                    self._default_proc_fun(Event({"mask": raw.mask}))
                continue
            if told and system.repeats(raw, watch):
                continue
            known = special.get(raw.mask)
            event = made(raw, watch) if known is None else known(raw, watch)
            (watch.proc_fun or self._default_proc_fun)(event)

    def _late_watch(self, raw: _RawEvent) -> Watch | None:
        """A watch that another thread is adding: the kernel may tell of it before that call is through."""
        with self._watch_manager.lock:
            watch = self._watch_manager.get_watch(raw.wd)
        if watch is None and raw.mask not in {IN_IGNORED, IN_Q_OVERFLOW}:
            module.log.warning("Unable to retrieve Watch object associated to %r", raw)
        return watch

    def _read_ahead(self) -> None:
        """Take a kernel queue that has filled while handlers ran: the next reads get it from here."""
        fd = self._fd
        if fd is not None and self._ahead_bytes < READ_AHEAD_AT_MOST_BYTES:
            data = _waiting(fd, self._read_ahead_from)
            if data:
                self._ahead.append(data)
                self._ahead_bytes += len(data)

    def _sleep(self, ref_time: float) -> None:
        """Sleep until `read_freq` seconds after `ref_time` (time.time()), unless a batch is there already."""
        seconds = self._read_freq - (time.time() - ref_time)
        if self._read_freq > 0 and seconds > 0 and not self._ahead:
            self._pause(seconds)

    def _pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def loop(self, callback: Callback | None = None, daemonize: bool = False, **args: Any) -> None:
        """
        Process, wait and read until stopped; then close everything.

        Args:
            callback: called with this notifier before each wait; ends the loop by returning True.
            daemonize: go on in a process of its own, and end this one (fork(2) twice, setsid(2)).
            args: for `daemonize`: `pid_file` (None: /var/run/PROGRAM.pid, False: none), and what `stdin`,
                `stdout` and `stderr` are opened on.

        Raises:
            NotifierError: the file for the process's number is there already, or a read failed.
        """
        if daemonize:
            self.__daemonize(**args)
        self._begin_loop()
        try:
            while self._fd is not None:
                self.process_events()
                if callback is not None and callback(self) is True:
                    break
                self._wait_and_read()
        except KeyboardInterrupt:
            module.log.debug("Interrupted: the loop ends")
        except BaseException:
            self._end_loop()
            raise
        self._end_loop()
        self.stop()

    def __daemonize(
        self,
        pid_file: str | Literal[False] | None = None,
        stdin: str = os.devnull,
        stdout: str = os.devnull,
        stderr: str = os.devnull,
    ) -> None:
        _daemon.daemonize(pid_file, stdin, stdout, stderr)

    def _wait_and_read(self) -> None:
        start = time.time()
        if self.check_events():
            self._sleep(start)
            self.read_events()

    def _begin_loop(self) -> None:
        """Let `stop` of another thread end the wait."""
        self._begin_reading_ahead()
        with self._ending:
            if self._fd is not None:
                self._looping = threading.get_ident()
                self._wake = os.eventfd(0, os.EFD_CLOEXEC)
                self._pollobj.register(self._wake, select.POLLIN)

    def _begin_reading_ahead(self) -> None:
        """Keep the kernel's queue short from now on, unless a subclass reads in a way of its own."""
        mine = type(self)
        if mine.read_events is Notifier.read_events and mine.check_events is Notifier.check_events:
            with contextlib.suppress(OSError):  # no /proc: the kernel's queue is left as it is
                most = ProcINotify("max_queued_events").get_val()
                self._read_ahead_from = max(1, self._threshold, most * READ_AHEAD_BYTES_PER_EVENT)

    def _end_loop(self) -> None:
        self._read_ahead_from = 0
        with self._ending:
            while self._ahead and self._fd is not None:  # after an exception: what was read stays queued
                self.read_events()
            self._looping = None
            if self._wake >= 0:
                self._pollobj.unregister(self._wake)
                os.close(self._wake)
                self._wake = -1
            if self._fd is None:
                self._watch_manager.close()

    def stop(self) -> None:
        """
        Close the descriptor. From any thread, also from a handler; a second call does nothing.

        A loop in another thread processes what it has read, and ends.
        """
        with self._ending:
            if self._fd is None:
                return
            fd, self._fd = self._fd, None
            if self._looping not in {None, threading.get_ident()}:
                os.eventfd_write(self._wake, 1)
                return
            self._pollobj.unregister(fd)
            self._watch_manager.close()
            self._eventq.clear()
            self._ahead.clear()


def _waiting(fd: int, at_least: int) -> bytes:
    """
    All that the kernel holds, if that is `at_least` so many bytes; else nothing.

    Raises:
        NotifierError: it cannot be read.
    """
    try:
        size = inotify.pending(fd)
        if size and size >= at_least:
            return os.read(fd, size)
    except BlockingIOError:  # taken by somebody else meanwhile, and the descriptor was set not to block
        return b""
    except OSError as error:
        raise NotifierError(error) from error
    return b""
