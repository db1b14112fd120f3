"""Batches that could not be recorded: nobody is told that they are, and nothing comes after them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inotify_bridge import books as books_module
from inotify_bridge.books import Books
from inotify_bridge.capture.model import Batch
from inotify_bridge.capture.notifier import Barrier
from inotify_bridge.errors import StoreError, UnavailableError
from inotify_bridge.lines.report import NOTHING_FOUND, Found
from inotify_bridge.outbox.journal import Position
from inotify_bridge.outbox.parked import Parked
from inotify_bridge.outbox.store import Store
from inotify_bridge.recorder import Recorder
from inotify_bridge.sinks.base import Message
from tests.agent.embedded import Embedded
from tests.agent.trees import Trees
from tests.state.test_owners import runs
from tests.state.test_signals import about_path, nothing
from tests.waiting import eventually


@contextlib.contextmanager
def held(recorder: Recorder) -> Iterator[None]:
    """A recorder that takes nothing of what comes meanwhile."""
    stands, let = threading.Event(), threading.Event()

    def hold() -> None:
        stands.set()
        let.wait(30.0)

    recorder._inbox.call(hold)
    try:
        assert stands.wait(30.0)
        yield
    finally:
        let.set()


def test_barrier_of_a_batch_that_is_missing(trees: Trees, monkeypatch: pytest.MonkeyPatch) -> None:
    """A barrier behind a batch that is given up does not pass: one hears that the recorder has ended."""
    with Embedded(trees) as embedded:
        embedded.settled()
        real = Books.record
        missed: list[Batch] = []

        def record(books: Books, batch: Batch, found: Found = NOTHING_FOUND) -> bool:
            if not batch.items or missed:
                return real(books, batch, found)
            missed.append(batch)
            return False

        monkeypatch.setattr(Books, "record", record)
        recorder = embedded.group.recorder
        heard: list[UnavailableError] = []

        def ask() -> None:
            with pytest.raises(UnavailableError) as refused:
                embedded.group.barrier(60.0)
            heard.append(refused.value)

        with held(recorder):  # so that both come in one batch
            trees.write("lost")
            asking = threading.Thread(target=ask)
            asking.start()
            entries = recorder._inbox._entries
            eventually(lambda: any(isinstance(one, Barrier) for one in list(entries)), what="it waits")
        asking.join(30.0)
        assert missed
        assert ["ended before the barrier" in str(one) for one in heard] == [True]


def test_retry_whose_batch_fails(trees: Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the batch of a retry cannot be recorded for an I/O error, the operator hears it, and what was in the
    batch is found by the restart.
    """
    monkeypatch.setattr(books_module, "_IO_SECONDS", 0.0)
    with Embedded(trees, state={"dir": os.fspath(tmp_path / "state")}) as embedded:
        embedded.broker.reject(about_path("refused"))
        trees.write("refused")
        eventually(embedded.group.parked, what="a parked message")
        embedded.broker.reject(nothing)
        real = Books.record
        failed: list[Batch] = []

        def record(books: Books, batch: Batch, found: Found = NOTHING_FOUND) -> bool:
            if failed or not any(getattr(item, "origin", "") for item in batch.items):
                return real(books, batch, found)
            failed.append(batch)
            raise StoreError("input/output error", "", "io")

        monkeypatch.setattr(Books, "record", record)
        with pytest.raises(StoreError, match="input/output error"):
            embedded.group.retry_parked(None, None)
        assert failed
        eventually(lambda: embedded.metric("group_restarts_total") == 1, what="the restart")
        eventually(lambda: runs(embedded))
        embedded.settled()


def test_question_to_a_recorder_that_ends(trees: Trees) -> None:
    """Who asked a recorder that ends before it answers is told at once, not after half a minute."""
    with Embedded(trees) as embedded:
        embedded.settled()
        recorder = embedded.group.recorder
        answers: list[BaseException | list[Parked]] = []

        def ask() -> None:
            try:
                answers.append(recorder.desk.parked())
            except UnavailableError as error:
                answers.append(error)

        with held(recorder):
            asking = threading.Thread(target=ask)
            asking.start()
            eventually(lambda: bool(recorder._inbox._calls), what="the question waits")
            recorder._interrupted.set()
            recorder._inbox.take = lambda *_: []  # type: ignore[method-assign]
        asking.join(25.0)
        assert len(answers) == 1
        assert isinstance(answers[0], UnavailableError)


def test_what_is_behind_spans_epochs(tmp_path: Path) -> None:
    """A backlog of two epochs is counted whole, and its age is known after the store was opened again."""
    path, at = tmp_path / "g.db", time.time()
    record = Message(1, 0.0, "file.created", b"k", b"{}").pack()
    store = Store.open(path)
    store.set_sinks(["slow", "quick"])
    first = store.mint_epoch("source")
    store.commit([record] * 5, {})
    second = store.mint_epoch("source")
    store.commit([record] * 3, {})
    store.acknowledge("quick", Position(second, 1))
    store.acknowledge("slow", Position(first, 1))
    store.commit([], {})
    for _ in range(2):
        assert [store.behind(store.watermark(name)) for name in ("slow", "quick")] == [7, 2]
        waiting = store.waiting()
        assert [end for end, _ in waiting] == [
            Position(first, 5),
            *[Position(second, 3)] * (len(waiting) - 1),
        ]
        assert all(at <= committed <= time.time() for _, committed in waiting)
        store.close()
        store = Store.open(path)
    store.close()


def test_age_outlives_an_epoch(trees: Trees) -> None:
    """What waits for a sink is as old after a new epoch began as before it."""
    with Embedded(trees) as embedded:
        embedded.settled()
        eventually(lambda: not embedded.group.recorder.books.unconfirmed, what="all of it is confirmed")
        embedded.broker.freeze()
        begun = time.time()
        trees.files("late", 5)
        embedded.group.barrier(30.0)
        recorded = time.time()
        lag = embedded.group.recorder.books.lag()
        embedded.group.new_epoch(30.0)
        embedded.group.barrier(30.0)
        books = embedded.group.recorder.books
        oldest = books._ages.oldest()
        assert oldest is not None
        assert begun <= oldest <= recorded
        assert books.lag() > lag >= 5
        embedded.broker.thaw()
        embedded.settled()


def test_note_that_cannot_be_written(
    trees: Trees, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note that cannot be written is told of once and shown, until it is written again."""
    refused: list[float] = []
    failing = threading.Event()
    real = Store.note_down

    def note_down(store: Store) -> bool:
        if failing.is_set():
            refused.append(time.monotonic())
            raise StoreError("the note cannot be written: read-only file system")
        return real(store)

    caplog.set_level("INFO", "inotify_bridge.group")
    monkeypatch.setattr(Store, "note_down", note_down)
    with Embedded(trees, state={"dir": os.fspath(tmp_path / "state")}) as embedded:
        failing.set()
        pruned = embedded.group.recorder.books._pruned_at
        trees.files("a", 5)
        embedded.settled()
        eventually(lambda: embedded.group.recorder.books._pruned_at > pruned and len(refused) > 3)
        trees.files("b", 5)
        embedded.settled()
        (shown,) = embedded.agent.view.status()["groups"]
        assert [problem for problem in shown["problems"] if "older database" in problem]
        failing.clear()
        eventually(lambda: not embedded.group.recorder.books.unwritten)
    told = [one.levelname for one in caplog.records if "older database" in one.getMessage()]
    assert told == ["WARNING", "INFO"]
