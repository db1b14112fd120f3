"""R20: a barrier stands behind everything whose system call had returned."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from inotify_bridge.capture.constants import IN_CREATE
from inotify_bridge.capture.inotify import Inotify, records
from inotify_bridge.capture.notifier import Barrier, Chunk, Entry, Inbox, Notifier
from tests.agent.embedded import Embedded
from tests.agent.trees import Trees
from tests.storm.executor import Executor
from tests.waiting import eventually

FILES = 100
MANY_FILES = 5_000


class _Seen(Inbox):
    """An inbox that remembers what came, in order; at its bound as soon as anything waits in it."""

    def __init__(self) -> None:
        super().__init__(max_bytes=1)
        self.came: list[Entry] = []

    def put(self, entry: Entry) -> bool:
        """Append an entry."""
        self.came.append(entry)
        return super().put(entry)


def test_it_stands_behind_what_only_the_kernel_holds(tmp_path: Path) -> None:
    """Also where reading is paused, because nobody takes what was read, nothing is left before a barrier."""
    inotify, inbox, failures = Inotify(), _Seen(), list[BaseException]()
    notifier = Notifier(inotify, inbox, "notifier-barrier", failures.append)
    inotify.add_watch(bytes(tmp_path), IN_CREATE)
    notifier.start()
    try:
        (tmp_path / "first").touch()
        eventually(lambda: inbox.bytes, what="the first read")
        for number in range(FILES):
            (tmp_path / f"{number}").touch()
        assert inotify.pending() > 0, "reading is paused"
        barrier = notifier.barrier()
        eventually(lambda: barrier in inbox.came, what="the barrier")
        before = inbox.came[: inbox.came.index(barrier)]
        names = [name for chunk in before if isinstance(chunk, Chunk) for *_, name in records(chunk.data)]
        assert names == [b"first", *(b"%d" % number for number in range(FILES))]
        assert failures == []
    finally:
        assert notifier.stop(30.0)
        inotify.close()


def _wait(event: threading.Event) -> None:
    assert event.wait(60.0)


def _hold(inbox: Inbox) -> threading.Event:
    """Hold the recorder up, from when this returns until the event is set."""
    held, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        held.set()
        _wait(go_on)

    inbox.call(wait)
    _wait(held)
    return go_on


def test_a_move_out_of_the_tree_stands_before_it(trees: Trees) -> None:
    """A name that moved away is told as deleted by then, though its other half might have come later."""
    told: dict[str, tuple[str, int]] = {}
    with Embedded(trees) as embedded:
        for name in trees.files("file", 20):
            embedded.group.barrier(30.0)
            os.rename(trees.root / name, trees.outside / name)
            told[name] = embedded.group.barrier(30.0)
        arrivals = embedded.settled()
    at = {one.path: one.position for one in arrivals.fresh if one.kind == "file.deleted"}
    assert {name for name, position in told.items() if name not in at or at[name] > position} == set()


def test_what_comes_into_doubt_in_its_own_batch_stands_before_it(trees: Trees) -> None:
    """Records that leave names in doubt (two files change places) are found together with the barrier."""
    trees.write("one", "two")
    with Embedded(trees) as embedded:
        embedded.group.barrier(30.0)
        with ThreadPoolExecutor(1) as asking:
            inbox = embedded.group.recorder._inbox
            go_on = _hold(inbox)
            Executor(bytes(trees.root), bytes(trees.outside)).exchange(b"r/one", b"r/two")
            asked = asking.submit(embedded.group.barrier, 60.0)
            eventually(lambda: any(isinstance(one, Barrier) for one in tuple(inbox._entries)))
            go_on.set()
            barrier = asked.result(90.0)
        arrivals = embedded.settled()
    told = [(event.kind, event.position) for event in arrivals.fresh if event.kind.startswith("file.")]
    assert "file.moved" in dict(told)
    assert told[-1][1] <= barrier


def test_a_moved_in_directory_stands_before_it_to_its_last_file(trees: Trees) -> None:
    """All that a directory holds which came from outside is told by then, however long it takes to list."""
    (trees.outside / "d").mkdir()
    for number in range(MANY_FILES):
        (trees.outside / f"d/{number}").touch()
    with Embedded(trees) as embedded:
        with ThreadPoolExecutor(1) as asking:
            # The recorder is held up until it finds the move and the barrier together.
            inbox = embedded.group.recorder._inbox
            go_on = _hold(inbox)
            os.rename(trees.outside / "d", trees.root / "d")
            asked = asking.submit(embedded.group.barrier, 60.0)
            eventually(lambda: any(isinstance(one, Barrier) for one in tuple(inbox._entries)))
            go_on.set()
            barrier = asked.result(90.0)
        arrivals = embedded.settled()
    created = [one.position for one in arrivals.fresh if one.kind == "file.created"]
    assert len(created) == MANY_FILES
    assert max(created) <= barrier


def test_what_an_overflow_lost_stands_before_it(trees: Trees) -> None:
    """After an overflow it waits for the resync that finds what was lost."""
    files = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())  # three records each
    with Embedded(trees, capture={"queue_max_bytes": "64KiB"}) as embedded:
        embedded.group.barrier(60.0)
        with ThreadPoolExecutor(1) as asking:
            inbox = embedded.group.recorder._inbox
            go_on = _hold(inbox)
            names = trees.files("file", files)
            asked = asking.submit(embedded.group.barrier, 120.0)
            go_on.set()
            barrier = asked.result(150.0)
        arrivals = embedded.settled()
        assert embedded.metric("kernel_queue_overflows_total") >= 1
    created = {one.path: one.position for one in arrivals.fresh if one.kind == "file.created"}
    assert created.keys() == set(names)
    assert max(created.values()) <= barrier
