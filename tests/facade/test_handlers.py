"""Handlers: which method is called, what chains do, and the ready-made ones."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inotify_bridge import pyinotify
from inotify_bridge.pyinotify import _handlers
from tests.facade.recording import Recording


def event(kind: str, *, isdir: bool = False, **attributes: Any) -> pyinotify.Event:
    """An event of that name."""
    mask = pyinotify.EventsCodes.ALL_FLAGS[kind] | (pyinotify.IN_ISDIR if isdir else 0)
    return pyinotify.Event({"mask": mask, **attributes})


class Families(pyinotify.ProcessEvent):
    """Has methods for families, and one exact one."""

    def process_IN_CLOSE(self, event: pyinotify.Event) -> str:
        return "close"

    def process_IN_CLOSE_WRITE(self, event: pyinotify.Event) -> str:
        return "close_write"

    def process_IN_MOVED(self, event: pyinotify.Event) -> str:
        return "moved"

    def process_IN_MOVE(self, event: pyinotify.Event) -> str:
        return "move"

    def process_IN_DELETE(self, event: pyinotify.Event) -> str:
        return "delete"

    def process_ALL_EVENTS(self, event: pyinotify.Event) -> str:
        return "never"

    def process_default(self, event: pyinotify.Event) -> str:
        return "default"


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("IN_CLOSE_WRITE", "close_write"),
        ("IN_CLOSE_NOWRITE", "close"),
        ("IN_MOVED_FROM", "moved"),
        ("IN_MOVED_TO", "moved"),
        ("IN_MOVE_SELF", "move"),
        ("IN_DELETE", "delete"),
        ("IN_DELETE_SELF", "delete"),
        ("IN_CREATE", "default"),
        ("IN_Q_OVERFLOW", None),
    ],
)
def test_choice_of_the_method(name: str, method: str | None) -> None:
    """The exact method comes before that of its family, and that before the default."""
    assert Families()(event(name)) == method
    assert Families()(event(name, isdir=True)) == method


def test_unknown_mask() -> None:
    """An event whose mask has no name is an error."""
    unknown = event("IN_CREATE")
    unknown.mask = 3
    with pytest.raises(pyinotify.ProcessEventError, match="Unknown mask 0x00000003"):
        pyinotify.ProcessEvent()(unknown)


def test_unknown_mask_in_the_queue(tmp_path: Path) -> None:
    """A raw event whose mask has no name is an error of process_events."""
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), pyinotify.IN_CREATE)
        recording.notifier.append_event(pyinotify._RawEvent(1, 3, 0, "a"))
        with pytest.raises(pyinotify.ProcessEventError, match="Unknown mask 0x00000003"):
            recording.notifier.process_events()


def test_overflow_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An overflow is a warning in the log, and never reaches process_default."""
    seen: list[pyinotify.Event] = []
    handler = pyinotify.ProcessEvent()
    handler.process_default = seen.append  # type: ignore[method-assign, assignment]
    handler(event("IN_Q_OVERFLOW"))
    assert (seen, [record.getMessage() for record in caplog.records]) == ([], ["Event queue overflowed."])


def test_default_on_the_instance() -> None:
    """A process_default that was set on the instance is called."""
    seen: list[pyinotify.Event] = []
    handler = pyinotify.ProcessEvent()
    handler.process_default = seen.append  # type: ignore[method-assign, assignment]
    handler(event("IN_OPEN"))
    assert [each.maskname for each in seen] == ["IN_OPEN"]


def test_chain() -> None:
    """The chained handler is called first, and what it returns decides whether the outer one is."""
    calls: list[str] = []

    class Outer(pyinotify.ProcessEvent):
        """Notes its calls."""

        def process_default(self, event: pyinotify.Event) -> str:
            calls.append("outer")
            return "result"

    answers = iter([True, None])

    def inner(event: pyinotify.Event) -> object:
        calls.append("inner")
        return next(answers)

    outer = Outer(inner)
    assert outer(event("IN_OPEN")) is None
    assert outer(event("IN_OPEN")) == "result"
    assert calls == ["inner", "inner", "outer"]
    assert callable(outer.nested_pevent())


def test_my_init() -> None:
    """Keywords go to my_init, the first positional argument never does, and unknown keywords are errors."""

    class Mine(pyinotify.ProcessEvent):
        """Takes a keyword."""

        def my_init(self, colour: str = "red") -> None:
            self.colour = colour

    assert (Mine(colour="blue").colour, Mine().colour) == ("blue", "red")
    assert Mine(print).pevent is print
    assert Mine(print).colour == "red"
    with pytest.raises(TypeError, match="other"):
        Mine(other=1)


def test_without_the_constructor() -> None:
    """A subclass that never calls the constructor works, also beside other bases."""

    class Bare(dict[str, int], pyinotify.ProcessEvent):
        """Counts, in itself."""

        def __init__(self) -> None:
            dict.__init__(self)

        def __call__(self, event: pyinotify.Event) -> Any:
            return super().__call__(event)

        def process_default(self, event: pyinotify.Event) -> None:
            self[event.maskname] = 1

    bare = Bare()
    bare(event("IN_OPEN"))
    assert bare == {"IN_OPEN": 1}
    assert bare.nested_pevent() is None


def test_text_of_a_handler() -> None:
    """A handler is written as the name of its class."""
    assert repr(pyinotify.ProcessEvent()) == "<ProcessEvent>"
    assert repr(Families()) == "<Families>"


def test_print_all_events(capsys: pytest.CaptureFixture[str]) -> None:
    """Events are printed a line each, to standard output or what is given, and overflows are not."""
    out = io.StringIO()
    pyinotify.PrintAllEvents(out=out)(event("IN_OPEN"))
    pyinotify.PrintAllEvents()(event("IN_ACCESS"))
    pyinotify.PrintAllEvents(out=out)(event("IN_Q_OVERFLOW"))
    assert out.getvalue() == "<Event mask=0x20 maskname=IN_OPEN >\n"
    assert capsys.readouterr().out == "<Event mask=0x1 maskname=IN_ACCESS >\n"


def test_printing_what_cannot_be_printed() -> None:
    """A name that the output cannot encode is printed with escapes."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="utf-8", errors="strict")
    pyinotify.PrintAllEvents(out=out)(event("IN_OPEN", name=os.fsdecode(b"\xffn")))
    assert raw.getvalue() == b"<Event mask=0x20 maskname=IN_OPEN name=\\udcffn >\n"


def test_chain_if_true() -> None:
    """The outer handler runs only for events for which the function is true."""
    seen: list[str] = []

    class Outer(pyinotify.ProcessEvent):
        """Notes names."""

        def process_default(self, event: pyinotify.Event) -> None:
            seen.append(event.name)

    outer = Outer(pyinotify.ChainIfTrue(func=lambda event: event.name == "yes"))
    outer(event("IN_OPEN", name="no"))
    outer(event("IN_OPEN", name="yes"))
    assert seen == ["yes"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of day as handlers see it: stands still at what the list holds."""
    clock = [1e9]
    monkeypatch.setattr(_handlers, "time", SimpleNamespace(time=lambda: clock[0]))
    return clock


@pytest.mark.usefixtures("clock")
def test_statistics() -> None:
    """Statistics count each part of a name, and are written as one line and as bars."""
    stats = pyinotify.Stats()
    assert (repr(stats), str(stats)) == ("<Stats ElapsedTime=0sec >", "")
    for isdir in (False, True, True):
        stats(event("IN_CREATE", isdir=isdir))
    stats(event("IN_OPEN"))
    assert repr(stats) == "<Stats ElapsedTime=0sec IN_CREATE=3 IN_ISDIR=2 IN_OPEN=1 >"
    assert str(stats).splitlines() == [
        f"{'IN_CREATE':26}{'@' * 45} 3",
        f"{'IN_ISDIR':26}{'@' * 30:46}2",
        f"{'IN_OPEN':26}{'@' * 15:46}1",
    ]
    assert stats.__str__(scale=3).splitlines()[2] == f"{'IN_OPEN':26}@   1"  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("seconds", "text"), [(59, "59sec"), (61, "1mn1sec"), (3660, "1h1mn"), (90000, "1d1h")]
)
def test_elapsed_time(clock: list[float], seconds: int, text: str) -> None:
    """The time is told in its two largest units."""
    stats = pyinotify.Stats()
    clock[0] += seconds + 0.5
    assert repr(stats) == f"<Stats ElapsedTime={text} >"


def test_dump_of_statistics(tmp_path: Path) -> None:
    """Statistics are dumped to a new file of their owner only, and to none that is there."""
    stats = pyinotify.Stats()
    stats(event("IN_OPEN"))
    target = tmp_path / "stats"
    stats.dump(str(target))
    assert target.read_text() == str(stats)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    (tmp_path / "link").symlink_to("nowhere")
    for taken in ("stats", "link"):
        with pytest.raises(FileExistsError):
            stats.dump(str(tmp_path / taken))
