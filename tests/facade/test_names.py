"""What the module holds: its names, the tables of flags, the limits, the log and the output's form."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inotify_bridge import pyinotify
from tests.facade.recording import Recording, python

# dir() of pyinotify 0.9.6 on Python 3.11, without what begins with an underscore.
ORIGINAL_NAMES = """
ALL_EVENTS AsyncNotifier AsyncioNotifier COMPATIBILITY_MODE ChainIfTrue ColoredOutputFormat Event
EventsCodes ExcludeFilter INotifyWrapper IN_ACCESS IN_ATTRIB IN_CLOSE_NOWRITE IN_CLOSE_WRITE
IN_CREATE IN_DELETE IN_DELETE_SELF IN_DONT_FOLLOW IN_EXCL_UNLINK IN_IGNORED IN_ISDIR IN_MASK_ADD
IN_MODIFY IN_MOVED_FROM IN_MOVED_TO IN_MOVE_SELF IN_ONESHOT IN_ONLYDIR IN_OPEN IN_Q_OVERFLOW
IN_UNMOUNT InotifyBindingNotFoundError Notifier NotifierError PrintAllEvents ProcINotify
ProcessEvent ProcessEventError PyinotifyError RawOutputFormat Stats ThreadedNotifier
TornadoAsyncNotifier UnsupportedPythonVersionError Watch WatchManager WatchManagerError array
asyncore atexit attrname command_line compatibility_mode ctypes datetime deque errno fcntl flagc
glob inotify_syscalls locale log logger_init logging max_queued_events max_user_instances
max_user_watches name os output_format re reduce select struct subprocess sys termios threading time
timedelta val valc
"""
OPERATIONS = {
    "IN_ACCESS": 0x1,
    "IN_MODIFY": 0x2,
    "IN_ATTRIB": 0x4,
    "IN_CLOSE_WRITE": 0x8,
    "IN_CLOSE_NOWRITE": 0x10,
    "IN_OPEN": 0x20,
    "IN_MOVED_FROM": 0x40,
    "IN_MOVED_TO": 0x80,
    "IN_CREATE": 0x100,
    "IN_DELETE": 0x200,
    "IN_DELETE_SELF": 0x400,
    "IN_MOVE_SELF": 0x800,
}
EVENTS = {"IN_UNMOUNT": 0x2000, "IN_Q_OVERFLOW": 0x4000, "IN_IGNORED": 0x8000}
SPECIAL = {
    "IN_ONLYDIR": 0x01000000,
    "IN_DONT_FOLLOW": 0x02000000,
    "IN_EXCL_UNLINK": 0x04000000,
    "IN_MASK_ADD": 0x20000000,
    "IN_ISDIR": 0x40000000,
    "IN_ONESHOT": 0x80000000,
}


@pytest.fixture
def _restored() -> Iterator[None]:
    """Put back the globals that a test assigns."""
    kept = pyinotify.log, pyinotify.output_format
    yield
    pyinotify.log, pyinotify.output_format = kept


def test_star_import_gives_what_the_original_gives() -> None:
    """`import *` binds exactly the public names of pyinotify 0.9.6."""
    names: dict[str, Any] = {}
    exec("from inotify_bridge.pyinotify import *", names)
    assert {name for name in names if not name.startswith("_")} == set(ORIGINAL_NAMES.split())


def test_no_module_of_its_own_name() -> None:
    """`from pyinotify import pyinotify` fails, so that programs fall back as they mean to."""
    with pytest.raises(ImportError):
        exec("from inotify_bridge.pyinotify import pyinotify")


def test_needs_nothing_of_the_bridge() -> None:
    """Importing it loads no broker library, database or the like, and warns of nothing."""
    heavy = {"pika", "kafka", "sqlite3", "click", "pydantic", "yaml", "prometheus_client", "tornado"}
    code = f"import sys, inotify_bridge.pyinotify; print(*({heavy!r} & set(sys.modules)))"
    done = python("-c", code)
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("", "", 0)


def test_version() -> None:
    """The version is that of the original, as text."""
    assert pyinotify.__version__ == "0.9.6"
    assert isinstance(pyinotify.__author__, str)


def test_flags() -> None:
    """Every flag has its value, as a name of the module and in its table."""
    assert pyinotify.EventsCodes.OP_FLAGS == OPERATIONS
    assert pyinotify.EventsCodes.EVENT_FLAGS == EVENTS
    assert pyinotify.EventsCodes.SPECIAL_FLAGS == SPECIAL
    for name, value in {**OPERATIONS, **EVENTS, **SPECIAL}.items():
        assert getattr(pyinotify, name) == value
    assert pyinotify.ALL_EVENTS == 0xFFF


def test_tables() -> None:
    """The collections hold the tables by name, and all flags by name and by value."""
    codes = pyinotify.EventsCodes
    assert codes.FLAG_COLLECTIONS == {"OP_FLAGS": OPERATIONS, "EVENT_FLAGS": EVENTS, "SPECIAL_FLAGS": SPECIAL}
    assert codes.ALL_FLAGS == {**OPERATIONS, **EVENTS, **SPECIAL, "ALL_EVENTS": 0xFFF}
    assert {value: name for name, value in codes.ALL_FLAGS.items()} == codes.ALL_VALUES
    assert not hasattr(codes, "IN_CREATE")


def test_maskname() -> None:
    """A mask's name is that of its one event, with `|IN_ISDIR` for a directory."""
    maskname = pyinotify.EventsCodes.maskname
    assert maskname(0x100) == "IN_CREATE"
    assert maskname(0x40000100) == "IN_CREATE|IN_ISDIR"
    for mask in (3, 0x40000000, 0):
        with pytest.raises(KeyError):
            maskname(mask)


def test_exceptions() -> None:
    """All errors but that of the manager have one base, and that one carries what was done so far."""
    for error in (
        pyinotify.UnsupportedPythonVersionError("2"),
        pyinotify.InotifyBindingNotFoundError(),
        pyinotify.ProcessEventError("text"),
        pyinotify.NotifierError("text"),
    ):
        assert isinstance(error, pyinotify.PyinotifyError)
    failed = pyinotify.WatchManagerError("text", {"/p": -1})
    assert not isinstance(failed, pyinotify.PyinotifyError)
    assert (str(failed), failed.wmd) == ("text", {"/p": -1})


@pytest.mark.parametrize("name", ["max_queued_events", "max_user_instances", "max_user_watches"])
def test_limits(name: str) -> None:
    """A limit is read from the kernel whenever it is asked for."""
    limit = getattr(pyinotify, name)
    held = int(Path("/proc/sys/fs/inotify", name).read_text())
    assert isinstance(limit.value, int)
    if name != "max_queued_events":  # other tests change that one
        assert (limit.value, limit.get_val(), repr(limit)) == (held, held, f"<{name}={held}>")


def test_a_limit_that_is_not_there() -> None:
    """Reading or setting a limit that the kernel does not have raises OSError."""
    limit = pyinotify.ProcINotify("no_such_limit")
    with pytest.raises(OSError, match="no_such_limit"):
        limit.get_val()
    with pytest.raises(OSError, match="no_such_limit"):
        limit.value = 5


def test_wrapper_of_the_system_calls(tmp_path: Path) -> None:
    """The wrapper gives -1 for a refusal and keeps its number and its text."""
    calls = pyinotify.INotifyWrapper.create()
    fd = calls.inotify_init()
    try:
        wd = calls.inotify_add_watch(fd, str(tmp_path), pyinotify.IN_CREATE)
        assert (wd, calls.inotify_rm_watch(fd, wd)) == (1, 0)
        assert calls.inotify_rm_watch(fd, wd) == -1
        assert (calls.get_errno(), calls.str_errno()) == (22, "Errno=Invalid argument (EINVAL)")
        assert calls.inotify_add_watch(fd, f"{tmp_path}/none", pyinotify.IN_CREATE) == -1
        assert calls.str_errno() == "Errno=No such file or directory (ENOENT)"
    finally:
        pyinotify.os.close(fd)


def test_log() -> None:
    """The logger is called pyinotify, tells from INFO on, and has one handler for standard error."""
    code = (
        "from inotify_bridge import pyinotify as p; h, = p.log.handlers;"
        "print(p.log.name, p.log.level, p.log.propagate, type(h).__name__, h.formatter._fmt);"
        "p.log.error('a text')"
    )
    done = python("-c", code)
    form = "[%(asctime)s %(name)s %(levelname)s] %(message)s"
    assert done.stdout.strip() == f"pyinotify 20 True StreamHandler {form}"
    assert done.stderr.endswith(" pyinotify ERROR] a text\n")


@pytest.mark.usefixtures("_restored")
def test_an_assigned_log_is_used(caplog: pytest.LogCaptureFixture) -> None:
    """A logger that a program puts in the place of the module's gets what is logged from then on."""
    pyinotify.log = logging.getLogger("the.program")
    with Recording() as recording:
        recording.manager.add_watch("/no/such/path", pyinotify.IN_CREATE)
        recording.manager.del_watch(7)
        recording.notifier.append_event(pyinotify._RawEvent(9, pyinotify.IN_CREATE, 0, "n"))
        recording.notifier.process_events()
    assert {record.name for record in caplog.records} == {"the.program"}
    assert len(caplog.records) == 3


@pytest.mark.usefixtures("_restored")
def test_an_assigned_output_format_is_used() -> None:
    """A format that a program puts in the place of the module's writes what is written from then on."""
    event = pyinotify.Event({"mask": 0x100})
    assert str(event) == "<Event mask=0x100 maskname=IN_CREATE >"
    pyinotify.output_format = pyinotify.ColoredOutputFormat()
    assert str(event) == (
        "\x1b[0m<\x1b[0m\x1b[31m\x1b[1mEvent\x1b[0m \x1b[34mmask\x1b[0m\x1b[0m=\x1b[0m\x1b[35m0x100\x1b[0m"
        " \x1b[34mmaskname\x1b[0m\x1b[0m=\x1b[0m\x1b[35mIN_CREATE\x1b[0m \x1b[0m>\x1b[0m"
    )


def test_output_formats() -> None:
    """A format puts the prefix of an attribute before a piece and that of `normal` behind it."""
    form = pyinotify.RawOutputFormat({"bold": "B", "red": "R", "normal": "N", "blue": "F", "purple": "V"})
    assert form.simple(5, "bold") == "B5N"
    assert form.simple("x", "unknown") == "xN"
    assert (form.punctuation("="), form.field_name("n"), form.field_value("v")) == ("N=N", "FnN", "VvN")
    assert form.class_name("C") == "RBCN"
    codes = {
        name: f"\033[{code}m"
        for name, code in zip(
            [
                "normal",
                "black",
                "red",
                "green",
                "yellow",
                "blue",
                "purple",
                "cyan",
                "bold",
                "uline",
                "blink",
                "invert",
            ],
            (0, 30, 31, 32, 33, 34, 35, 36, 1, 4, 5, 7),
            strict=True,
        )
    }
    assert pyinotify.ColoredOutputFormat().format == codes
    assert pyinotify.RawOutputFormat().simple("x", "bold") == "x"


def test_compatibility_mode(tmp_path: Path) -> None:
    """After compatibility_mode() the flags are on EventsCodes and events have their old attributes too."""
    code = """
import os, sys
from inotify_bridge import pyinotify as p
p.compatibility_mode()
events = []
manager = p.WatchManager()
notifier = p.Notifier(manager, events.append)
manager.add_watch(sys.argv[1], p.EventsCodes.IN_CREATE)
os.mkdir(sys.argv[1] + "/d")
notifier.read_events()
notifier.process_events()
print(p.EventsCodes.ALL_EVENTS, p.COMPATIBILITY_MODE, events[0].is_dir, events[0].event_name)
"""
    done = python("-c", code, str(tmp_path))
    assert done.stdout.split() == ["4095", "True", "True", "IN_CREATE|IN_ISDIR"], done.stderr


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncore is in the standard library")
def test_there_may_be_no_asyncore() -> None:
    """Without asyncore the module has the name all the same."""
    assert hasattr(pyinotify, "asyncore")
