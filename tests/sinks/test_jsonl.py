"""The jsonl sink: the conformance suite on a directory that comes and goes, torn lines, rotation."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks.base import Newest
from inotify_bridge.sinks.jsonl import JsonlSink
from tests.processes import open_files
from tests.sinks.conformance import Sender, SinkConformance, publish_all
from tests.sinks.harness import SinkHarness
from tests.sinks.messages import EPOCH, Received, messages, received
from tests.waiting import eventually


class JsonlHarness(SinkHarness):
    """A directory for the file; the broker is away while the directory has another name."""

    not_applicable: ClassVar = {
        "freeze": "a disk that does not answer cannot be had without a machine of one's own",
        "wrong_host": "there is nothing to reach",
        "wrong_password": "it asks for none",
        "unroutable": "it has no routing",
        "too_large": "a line may have any length",
    }

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "events"
        self.directory.mkdir()
        self.path = self.directory / "events.jsonl"
        self.missing_target = MappingProxyType({"path": directory / "missing" / "events.jsonl"})
        self._sinks: list[JsonlSink] = []
        self._read = 0

    def make(self, **overrides: Any) -> JsonlSink:
        options = JsonlSink.Options.model_validate({"path": self.path, **overrides})
        self._sinks.append(JsonlSink(options, self.context))
        return self._sinks[-1]

    def consume(self, count: int, within: float = 60.0) -> list[Received]:
        with contextlib.suppress(AssertionError):
            eventually(lambda: len(set(self.lines())) >= count, within=within)
        lines = self.lines()
        new, self._read = lines[self._read :], len(lines)
        return [received(line) for line in new]

    def files(self) -> list[Path]:
        """The oldest first."""
        return sorted(self.directory.iterdir(), key=lambda path: -int(path.suffix[1:].replace("jsonl", "0")))

    def lines(self) -> list[bytes]:
        """Of all files, the oldest first; without an unfinished one."""
        text = b"".join(path.read_bytes() for path in self.files())
        return text.split(b"\n")[:-1]

    def stop_broker(self) -> None:
        self.directory.rename(self.directory.with_name("away"))

    def start_broker(self) -> None:
        self.directory.with_name("away").rename(self.directory)

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[JsonlHarness]:
    made = JsonlHarness(tmp_path)
    yield made
    made.close()


class TestJsonl(SinkConformance):
    """The conformance suite."""


EVENT = messages(1)[0].body


@pytest.mark.parametrize(
    ("torn", "before"),
    [
        *((torn, before) for torn in (b"{", b'{"specversion":"1.0","id', EVENT[:100]) for before in (0, 3)),
        (b"x" * 200_000, 3),
        (b"\0" * 4096, 0),
    ],
)
def test_torn_last_line_is_cut_off(harness: JsonlHarness, torn: bytes, before: int) -> None:
    """What a crash left of a line is gone after connecting; the lines before it stay."""
    whole = b"".join(message.body + b"\n" for message in messages(before))
    harness.path.write_bytes(whole + torn)
    sink = harness.make()
    sink.connect()
    assert harness.path.read_bytes() == whole
    publish_all(sink, messages(2, before + 1))
    assert [one.sequence for one in harness.consume(before + 2)] == list(range(1, before + 3))


@pytest.mark.parametrize(
    "content",
    [
        b"one line",
        b"a\nb",
        b"x" * 200_000,
        b'[{"specversion"',
        b'{"specversion":"1.0","id":"a","source":' * 9,
    ],
)
def test_a_file_of_others_is_left_alone(harness: JsonlHarness, content: bytes) -> None:
    """A file that does not end its last line, and holds nothing of ours before it, is refused as it is."""
    harness.path.write_bytes(content)
    with pytest.raises(SinkMisconfigured, match="half a line"):
        harness.make().connect()
    assert harness.path.read_bytes() == content
    harness.path.write_bytes(content + b"\n")
    harness.make().connect()


def test_a_link_is_not_followed(harness: JsonlHarness) -> None:
    """A symbolic link in place of the file is refused, by the look at the configuration too."""
    other = harness.directory / "other"
    other.write_bytes(b"")
    harness.path.symlink_to(other)
    sink = harness.make()
    with pytest.raises(SinkMisconfigured, match="symbolic link"):
        sink.connect()
    assert "symbolic link" in str(JsonlSink.inspect(JsonlSink.Options(path=harness.path)))


def test_accepted_is_on_disk(harness: JsonlHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before messages are accepted every file that got some of them is fsynced, whole."""
    synced: dict[int, int] = {}

    def fsync(descriptor: int, real: Callable[[int], None] = os.fsync) -> None:
        real(descriptor)
        found = os.fstat(descriptor)
        synced[found.st_ino] = found.st_size

    monkeypatch.setattr(os, "fsync", fsync)
    sink = harness.make(rotate_bytes="2kB", rotate_keep=100)
    sink.connect()
    publish_all(sink, messages(20))
    files = [path.stat() for path in harness.files()]
    assert len(files) > 1
    assert all(synced[found.st_ino] == found.st_size for found in files)


def test_rotation_keeps_the_newest(harness: JsonlHarness) -> None:
    """No file grows beyond the limit, the number of old ones is kept, and what is left has no hole."""
    sink = harness.make(rotate_bytes="2kB", rotate_keep=3)
    sink.connect()
    for first in range(1, 101, 10):
        publish_all(sink, messages(10, first))
    files = harness.files()
    assert [path.name for path in files] == [
        "events.jsonl.3",
        "events.jsonl.2",
        "events.jsonl.1",
        "events.jsonl",
    ]
    assert all(0 < path.stat().st_size <= 2000 for path in files)
    got = [one.sequence for one in harness.consume(1)]
    assert got == list(range(got[0], 101))


def test_rotation_loses_nothing(harness: JsonlHarness) -> None:
    """With room for all old files every line stands in one of them, in order, also one beyond the limit."""
    sink = harness.make(rotate_bytes=1500, rotate_keep=1000)
    sink.connect()
    publish_all(sink, [*messages(50), *messages(1, 51, body_bytes=4000), *messages(49, 52)])
    assert [one.sequence for one in harness.consume(100)] == list(range(1, 101))
    assert len(harness.files()) > 20


def test_rotation_without_old_files(harness: JsonlHarness) -> None:
    """`rotate_keep: 0` keeps the present file alone."""
    sink = harness.make(rotate_bytes=1500, rotate_keep=0)
    sink.connect()
    publish_all(sink, messages(50))
    assert [path.name for path in harness.files()] == ["events.jsonl"]
    assert harness.consume(1)[-1].sequence == 50


def test_a_file_moved_away_is_made_anew(harness: JsonlHarness) -> None:
    """When another program moves the file, what comes next stands under the configured name."""
    sink = harness.make()
    sink.connect()
    publish_all(sink, messages(2))
    harness.path.rename(harness.directory / "events.jsonl.1")
    publish_all(sink, messages(2, 3))
    assert [received(line).sequence for line in harness.path.read_bytes().splitlines()] == [3, 4]
    assert [one.sequence for one in harness.consume(4)] == [1, 2, 3, 4]


def test_groups_share_a_file(harness: JsonlHarness) -> None:
    """Batches of several sinks stand whole, one after the other; one that is closed leaves the file open."""
    senders = []
    for first in range(1, 2001, 500):
        sink = harness.make()
        sink.connect()
        senders.append((sink, Sender(sink, messages(500, first))))
    for _, sender in senders:
        sender.start()
    for sink, sender in senders[:-1]:
        sender.finish()
        assert sender.error is None
        sink.close()
    senders[-1][1].finish()
    publish_all(senders[-1][0], messages(1, 2001))
    got = [one.sequence for one in harness.consume(2001)]
    for start in range(0, 2000, 500):
        assert got[start : start + 500] == list(range(got[start], got[start] + 500))
    assert got[-1] == 2001


def test_the_file_is_closed_with_its_last_sink(harness: JsonlHarness) -> None:
    """After the last sink is closed no descriptor of the file is left, also when it failed before."""
    sinks = [harness.make(), harness.make()]
    for sink in sinks:
        sink.connect()
    harness.stop_broker()
    with pytest.raises(SinkUnavailable):
        sinks[0].publish(messages(1))
    harness.start_broker()
    for sink in sinks:
        sink.close()
        sink.connect()
    publish_all(sinks[1], messages(1))
    for sink in sinks:
        sink.close()
    assert str(harness.path) not in set(open_files())


def test_another_process_has_the_file(harness: JsonlHarness) -> None:
    """A file that another process writes is refused, and not touched."""
    program = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'wb')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "file.write(b'half a li'); file.flush()\n"
        "print('locked', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(harness.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(SinkMisconfigured, match="another process"):
            harness.make().connect()
        assert harness.path.read_bytes() == b"half a li"
        other.communicate()


def test_no_room_leaves_whole_lines() -> None:
    """When the file can grow no further the error names it and says what to do, and no half line stands."""
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from inotify_bridge.errors import SinkUnavailable\n"
        "from inotify_bridge.sinks.jsonl import JsonlSink\n"
        "from tests.sinks.harness import SinkHarness\n"
        "from tests.sinks.messages import messages\n"
        "import tempfile\n"
        "with tempfile.TemporaryDirectory() as directory:\n"
        "    path = Path(directory) / 'events.jsonl'\n"
        "    sink = JsonlSink(JsonlSink.Options(path=path), SinkHarness.context)\n"
        "    sink.connect()\n"
        "    sink.publish(messages(10))\n"
        "    whole = path.read_bytes()\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 1000, -1))\n"
        "    try:\n"
        "        sink.publish(messages(100, 11))\n"
        "    except SinkUnavailable as error:\n"
        "        assert str(path) in error.message and error.hint, error\n"
        "        assert path.read_bytes() == whole\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))\n"
        "        sink.connect()\n"
        "        sink.publish(messages(100, 11))\n"
        "        assert len(path.read_bytes().splitlines()) == 110\n"
        "        sink.close()\n"
        "        print('as promised')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=180)
    assert done.stdout == b"as promised\n"


@pytest.mark.parametrize("made", ["directory", "fifo"])
def test_not_a_file(harness: JsonlHarness, made: str) -> None:
    """A path that is no regular file is refused at once, without hanging on a pipe."""
    if made == "fifo":
        os.mkfifo(harness.path)
    else:
        harness.path.mkdir()
    with pytest.raises(SinkMisconfigured) as caught:
        harness.make().connect()
    assert str(harness.path) in caught.value.message
    assert caught.value.hint


def test_options() -> None:
    """Sizes are read with their units, the path is required, and unknown keys are refused."""
    assert (
        JsonlSink.Options.model_validate({"path": "/x", "rotate_bytes": "100MiB"}).rotate_bytes == 100 << 20
    )
    for wrong in ({}, {"path": "/x", "rotate": 1}, {"path": "/x", "rotate_keep": -1}):
        with pytest.raises(ValidationError):
            JsonlSink.Options.model_validate(wrong)


@pytest.mark.parametrize("sequence", [900, None, "900", f"{EPOCH.upper()}-000000000900"])
def test_others_write_to_it(harness: JsonlHarness, sequence: object) -> None:
    """What others append under our source, and is no message of ours, is not taken for the last one."""
    sink = harness.make()
    sink.connect()
    batch = messages(3)
    publish_all(sink, batch)
    with harness.path.open("ab") as file:
        file.write(json.dumps({**json.loads(batch[0].body), "sequence": sequence}).encode() + b"\n")
        file.write(b"[" * 100_000 + b"\n[]\n")
    assert sink.newest() == Newest(EPOCH, 3, batch[-1].body)
