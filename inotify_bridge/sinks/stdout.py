"""The sink that prints: one JSON object a line on the standard output of the process."""

from __future__ import annotations

import errno
import os
import select
import stat
import threading
import weakref
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict

from inotify_bridge.errors import SinkGone, SinkUnavailable
from inotify_bridge.sinks.base import ACCEPTED, Message, Outcome, SinkContext

_LOCK_SECONDS: Final = 0.1
_NOT_SUPPORTED: Final = {errno.EOPNOTSUPP, errno.EINVAL, errno.ESPIPE, errno.ENOSYS}


class LineWriter:
    """
    Writes whole lines to a descriptor for all sinks of the process, one batch at a time.

    A reader that does not read holds up the writer, but not beyond the end of the sink that writes: what is
    left of a line is then written before anything else. The descriptor stays in blocking mode: that is a
    property of the open file, which other processes share.
    """

    def __init__(self, descriptor: int) -> None:
        self.reader_gone: Final = threading.Event()
        """
        Set when nobody reads any more (``| head``, a terminal that closed): an agent whose only purpose was
        to print may end.
        """
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._rest = b""
        self._regular: bool | None = None
        self._nowait = True

    def write(self, lines: Sequence[bytes], closed: threading.Event, wake: int) -> None:
        """
        Write the lines, each of which ends with its line feed.

        Args:
            closed: set when the caller's sink is closed; the descriptor `wake` is readable then.
        Raises:
            SinkGone: nobody reads any more.
            SinkUnavailable: it takes nothing now, or the sink was closed meanwhile.
        """
        while not self._lock.acquire(timeout=_LOCK_SECONDS):
            if closed.is_set():
                raise SinkUnavailable("the sink was closed")
        try:
            data = b"".join((self._rest, *lines))
            written = self._write(memoryview(data), closed, wake)
            begun = data[written - 1 : written] != b"\n" if written else bool(self._rest)
            self._rest = data[written : data.find(b"\n", written) + 1] if begun else b""
        except OSError as error:
            raise self._unavailable(error) from error
        finally:
            self._lock.release()
        if written < len(data):
            raise SinkUnavailable("the sink was closed")

    def _unavailable(self, error: OSError) -> SinkUnavailable:
        if error.errno in (errno.EPIPE, errno.EBADF) or (error.errno == errno.EIO and self._hung_up()):
            self.reader_gone.set()
            return SinkGone(f"stdout takes no more: {error.strerror}", "its reader has ended")
        return SinkUnavailable(
            f"stdout takes no more: {error.strerror}", "free space, or check the limits of this process"
        )

    def _hung_up(self) -> bool:
        """Whether it is a terminal that has closed. Of a disk that fails EIO may be over tomorrow."""
        poll = select.poll()
        poll.register(self._descriptor, 0)  # POLLHUP comes unasked: poll(2)
        return any(events & select.POLLHUP for _, events in poll.poll(0))

    def _write(self, data: memoryview, closed: threading.Event, wake: int) -> int:
        poll = select.poll()
        if self._regular is None:
            self._regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        poll.register(wake, select.POLLIN)
        poll.register(self._descriptor, select.POLLOUT)
        written = 0
        while written < len(data):
            ready = {descriptor for descriptor, _ in poll.poll()}
            if closed.is_set():
                break
            if self._descriptor in ready:
                written += self._write_some(data[written:])
        return written

    def _write_some(self, data: memoryview) -> int:
        """As much as goes without waiting, where poll(2) has said that something goes."""
        if self._regular:
            return os.write(self._descriptor, data)
        if self._nowait:
            try:
                return os.pwritev(self._descriptor, [data], -1, os.RWF_NOWAIT)
            except BlockingIOError:
                return 0
            except OSError as error:
                if error.errno not in _NOT_SUPPORTED:
                    raise
                self._nowait = False
        # A terminal, or a pipe on an older kernel: so much fits for certain (pipe(7)).
        return os.write(self._descriptor, data[: select.PIPE_BUF])


_STDOUT: Final = LineWriter(1)


class StdoutSink:
    """Prints messages. What is written to the pipe or file counts as accepted."""

    class Options(BaseModel):
        """Configuration of a ``stdout`` sink: there is nothing to configure."""

        model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, options: Options, context: SinkContext, writer: LineWriter = _STDOUT) -> None:
        """
        Args:
            writer: shared by all that print to the same place.
        """
        self._writer = writer
        self._closed = threading.Event()
        self._closed.set()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        weakref.finalize(self, os.close, self._wake)

    def connect(self) -> None:
        """Raises: SinkGone, nobody reads any more."""
        if self._writer.reader_gone.is_set():
            raise SinkGone("stdout takes no more", "its reader has ended")
        if self._closed.is_set():
            self._closed.clear()
            _drain(self._wake)

    def publish(self, batch: Sequence[Message]) -> list[Outcome]:
        """Write one line a message. Raises: SinkGone, nobody reads; SinkUnavailable, or `close` came."""
        if self._closed.is_set():
            raise SinkUnavailable("the sink is closed")
        self._writer.write([message.body + b"\n" for message in batch], self._closed, self._wake)
        return [ACCEPTED] * len(batch)

    def close(self) -> None:
        """End a `publish` that waits for the reader. The standard output itself stays open."""
        self._closed.set()
        os.eventfd_write(self._wake, 1)


def _drain(wake: int) -> None:
    try:
        os.eventfd_read(wake)
    except BlockingIOError:
        return
