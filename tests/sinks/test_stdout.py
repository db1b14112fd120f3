"""The stdout sink: the conformance suite on a pipe, one writer for all, and readers that stop or go away."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from inotify_bridge.errors import SinkGone, SinkUnavailable
from inotify_bridge.sinks.stdout import LineWriter, StdoutSink
from tests.sinks.conformance import PROMPT_SECONDS, Sender, SinkConformance, publish_all
from tests.sinks.harness import SinkHarness
from tests.sinks.messages import Received, assert_go_back_n, messages, received
from tests.waiting import eventually


class Reader(threading.Thread):
    """Reads a pipe to its end, line by line, and can be told to pause."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(name="reader", daemon=True)
        self.lines: list[bytes] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self._descriptor = descriptor
        self.start()

    def run(self) -> None:
        with os.fdopen(self._descriptor, "rb", buffering=0) as pipe:
            rest = b""
            while self.go_on.wait() and (data := pipe.read(65536)):
                *lines, rest = (rest + data).split(b"\n")
                self.lines += lines


class StdoutHarness(SinkHarness):
    """A pipe in the place of the standard output."""

    not_applicable: ClassVar = {
        "restart": "a pipe whose reader has gone cannot come back",
        "wrong_host": "there is nothing to reach",
        "wrong_password": "it asks for none",
        "missing_target": "it is always there",
        "unroutable": "it has no routing",
        "too_large": "a line may have any length",
        # The pipe itself takes 64 KiB, which is what accepted means here; see the tests below.
        "freeze": "a pipe holds what its reader has not read yet",
    }

    def __init__(self) -> None:
        read_end, self.write_end = os.pipe()
        self.reader = Reader(read_end)
        self.writer = LineWriter(self.write_end)
        self._sinks: list[StdoutSink] = []
        self._read = 0
        self._closed = False

    def make(self, **overrides: Any) -> StdoutSink:
        self._sinks.append(StdoutSink(StdoutSink.Options(**overrides), self.context, self.writer))
        return self._sinks[-1]

    def consume(self, count: int, within: float = 60.0) -> list[Received]:
        with contextlib.suppress(AssertionError):
            eventually(lambda: len(set(self.reader.lines)) >= count, within=within)
        lines = self.reader.lines[self._read :]
        self._read += len(lines)
        return [received(line) for line in lines]

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()
        if not self._closed:
            self._closed = True
            os.close(self.write_end)
            self.reader.go_on.set()
            self.reader.join(PROMPT_SECONDS)
            assert not self.reader.is_alive()


@pytest.fixture
def harness() -> Iterator[StdoutHarness]:
    made = StdoutHarness()
    yield made
    made.close()


class TestStdout(SinkConformance):
    """The conformance suite."""


@pytest.mark.parametrize("nowait", [True, False])
def test_a_reader_that_pauses_tears_no_line(harness: StdoutHarness, nowait: bool) -> None:
    """A sink that is closed while its reader pauses leaves no torn line to the next one, on any kernel."""
    harness.writer._nowait = nowait
    harness.reader.go_on.clear()
    for _ in range(5):
        sink = harness.make()
        sink.connect()
        sender = Sender(sink, messages(2000))
        sender.start()
        sender.join(0.1)
        sink.close()
        sender.finish()
        assert isinstance(sender.error, SinkUnavailable), "it was not held up"
    harness.reader.go_on.set()
    last = harness.make()
    last.connect()
    publish_all(last, messages(2000))
    assert_go_back_n([one.sequence for one in harness.consume(2000)], 1, 2000)


def test_all_groups_share_one_writer(harness: StdoutHarness) -> None:
    """Batches of several sinks, sent at the same time, stand one after the other, whole."""
    senders = []
    for first in range(1, 5001, 1000):
        sink = harness.make()
        sink.connect()
        senders.append(Sender(sink, messages(1000, first)))
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.finish()
        assert sender.error is None
    got = [one.sequence for one in harness.consume(5000)]
    assert sorted(got) == list(range(1, 5001))
    for start in range(0, 5000, 1000):
        assert got[start : start + 1000] == list(range(got[start], got[start] + 1000))


def test_a_closed_sink_does_not_wait_for_another(harness: StdoutHarness) -> None:
    """While one sink is held up by the reader, another one that waits for its turn can be closed."""
    harness.reader.go_on.clear()
    sinks = [harness.make(), harness.make()]
    senders = [Sender(sink, messages(3000)) for sink in sinks]
    for sink, sender in zip(sinks, senders, strict=True):
        sink.connect()
        sender.start()
    for sink in reversed(sinks):
        sink.close()
    for sender in senders:
        sender.finish()
        assert isinstance(sender.error, SinkUnavailable)


def test_a_reader_that_ends_is_known() -> None:
    """When nobody reads any more the sink says so, does not hang, and refuses to connect again."""
    read_end, write_end = os.pipe()
    writer = LineWriter(write_end)
    sink = StdoutSink(StdoutSink.Options(), SinkHarness.context, writer)
    sink.connect()
    os.close(read_end)
    with pytest.raises(SinkUnavailable, match="its reader has ended"):
        sink.publish(messages(1))
    assert writer.reader_gone.is_set()
    with pytest.raises(SinkUnavailable):
        sink.connect()
    os.close(write_end)


def test_a_terminal_that_closes_is_known() -> None:
    """A terminal that has closed counts as a reader that is gone for good."""
    master, terminal = pty.openpty()
    writer = LineWriter(terminal)
    sink = StdoutSink(StdoutSink.Options(), SinkHarness.context, writer)
    sink.connect()
    os.close(master)
    with pytest.raises(SinkGone, match="its reader has ended"):
        sink.publish(messages(1))
    assert writer.reader_gone.is_set()
    os.close(terminal)


def test_a_regular_file() -> None:
    """Redirected into a file, everything stands there when it is accepted."""
    with tempfile.TemporaryFile() as file:
        sink = StdoutSink(StdoutSink.Options(), SinkHarness.context, LineWriter(file.fileno()))
        sink.connect()
        publish_all(sink, messages(3000))
        file.seek(0)
        assert [received(line).sequence for line in file] == list(range(1, 3001))
        sink.close()


def test_it_is_the_standard_output() -> None:
    """Without a writer of its own a sink prints to the standard output of the process, one object a line."""
    program = (
        "from inotify_bridge.sinks.stdout import StdoutSink\n"
        "from tests.sinks.harness import SinkHarness\n"
        "from tests.sinks.messages import messages\n"
        "sink = StdoutSink(StdoutSink.Options(), SinkHarness.context)\n"
        "sink.connect()\n"
        "sink.publish(messages(3))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=180)
    assert [json.loads(line)["specversion"] for line in done.stdout.splitlines()] == ["1.0"] * 3
    assert done.stderr == b""
