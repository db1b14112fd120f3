"""Scripts about handlers: dispatch, chains, the ready-made ones, and how things print themselves."""

# mypy: ignore-errors

from __future__ import annotations

import io
import os

import pyinotify

from tests.facade.differential.scene import Scene, script

ALL = pyinotify.ALL_EVENTS


def by_mask(mask: int, name: str = "n"):
    """An event of any kind."""
    return pyinotify.Event({"wd": 1, "mask": mask, "path": "/p", "name": name})


KINDS = sorted({**pyinotify.EventsCodes.OP_FLAGS, **pyinotify.EventsCodes.EVENT_FLAGS}.items())


@script
def dispatch_by_kind(scene: Scene) -> None:
    """process_IN_X first, then its family, then process_default; what a method returns is returned."""

    class Handler(pyinotify.ProcessEvent):
        def process_IN_CREATE(self, event):
            return "create"

        def process_IN_CLOSE(self, event):
            return "family close"

        def process_IN_CLOSE_WRITE(self, event):
            return "close write"

        def process_IN_MOVED(self, event):
            return "family moved"

        def process_IN_MOVE(self, event):
            return "family move"

        def process_IN_DELETE(self, event):
            return "delete"

        def process_ALL_EVENTS(self, event):
            return "never"

        def process_default(self, event):
            return "default"

    handler = Handler()
    for name, mask in KINDS:
        scene.answer(name, [handler(by_mask(mask)), handler(by_mask(mask | pyinotify.IN_ISDIR))])


@script
def dispatch_by_default(scene: Scene) -> None:
    """A handler without methods does nothing, but says overflow; a mask it does not know is an error."""
    handler = pyinotify.ProcessEvent()
    for name, mask in KINDS:
        scene.answer(name, handler(by_mask(mask)))
    event = by_mask(pyinotify.IN_CREATE)
    for mask in (3, 0, pyinotify.IN_ISDIR, 0x80000000):
        event.mask = mask
        scene.raised(hex(mask), lambda: handler(event))
    scene.answer("repr", [repr(handler), handler.pevent, handler.nested_pevent()])


@script
def dispatch_on_an_instance(scene: Scene) -> None:
    """Methods set on the instance, __call__ overridden, __init__ never called, other bases."""
    handler = pyinotify.ProcessEvent()
    handler.process_default = lambda event: "set"
    scene.answer("set on the instance", handler(by_mask(pyinotify.IN_OPEN)))

    class Silent(pyinotify.ProcessEvent):
        def __init__(self):
            pass

        def __call__(self, event):
            return ("called", super().__call__(event))

    class Both(dict, pyinotify.ProcessEvent):
        def process_default(self, event):
            self["last"] = event.name

    scene.answer("no init", [Silent()(by_mask(pyinotify.IN_OPEN)), Silent().pevent])
    both = Both()
    both(by_mask(pyinotify.IN_OPEN))
    scene.answer("two bases", dict(both))


@script
def my_init(scene: Scene) -> None:
    """Keywords go to my_init, the first positional is the chained handler, unknown keywords are an error."""

    class Handler(pyinotify.ProcessEvent):
        def my_init(self, one, two=2):
            self.got = (one, two)

    scene.answer("keywords", Handler(one=1).got)
    scene.answer("chained", [Handler("first", one=1).pevent, Handler(pevent="named", one=1).nested_pevent()])
    scene.raised("missing", Handler)
    scene.raised("unknown", lambda: Handler(one=1, three=3))
    scene.raised("unknown to the base", lambda: pyinotify.ProcessEvent(three=3))
    scene.answer("repr", repr(Handler(one=1)))


@script
def chains(scene: Scene) -> None:
    """A chained handler that returns something true stops the chain."""

    class First(pyinotify.ProcessEvent):
        def process_default(self, event):
            scene.answer("first", event.name)
            return event.name.startswith("stop")

    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager, scene.recorder("second", pevent=First()))
    manager.add_watch(scene.directory, pyinotify.IN_CREATE)
    for name in ("go", "stop", "go on"):
        scene.write(name)
    scene.drain(notifier)
    scene.answer(
        "answer of a stopped chain", scene.recorder(pevent=lambda event: 1)(by_mask(pyinotify.IN_OPEN))
    )


@script
def chain_if_true(scene: Scene) -> None:
    """ChainIfTrue lets through what its function likes."""
    manager = pyinotify.WatchManager()
    chain = pyinotify.ChainIfTrue(func=lambda event: event.name.endswith(".py"))
    notifier = pyinotify.Notifier(manager, scene.recorder("py", pevent=chain))
    manager.add_watch(scene.directory, pyinotify.IN_CREATE | pyinotify.IN_DELETE)
    for name in ("a.py", "b.txt", "c.py"):
        os.unlink(scene.write(name))
    scene.drain(notifier)
    scene.raised("no function", pyinotify.ChainIfTrue)
    scene.answer("repr", repr(chain))


@script
def a_watch_has_its_own_handler(scene: Scene) -> None:
    """A watch's handler in place of the default one, never both; any callable will do."""
    scene.mkdir("own")
    scene.mkdir("function")
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, pyinotify.IN_CREATE)
    manager.add_watch(scene.path("own"), pyinotify.IN_CREATE, proc_fun=scene.recorder("own"))
    manager.add_watch(
        scene.path("function"), pyinotify.IN_CREATE, proc_fun=lambda event: scene.event(event, "function")
    )
    for names in (("a",), ("own", "b"), ("function", "c")):
        scene.write(*names)
    notifier.append_event(pyinotify._RawEvent(-1, pyinotify.IN_Q_OVERFLOW, 0, ""))
    scene.drain(notifier)


@script
def a_handler_fails(scene: Scene) -> None:
    """The exception comes out, the event is consumed, the rest of the queue stays."""

    def handler(event) -> None:
        scene.event(event)
        if event.name == "bad":
            raise ValueError(event.name)

    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager, handler)
    manager.add_watch(scene.directory, pyinotify.IN_CREATE)
    for name in ("good", "bad", "left"):
        scene.write(name)
    notifier.read_events()
    scene.raised("first", notifier.process_events)
    scene.answer("left", len(notifier._eventq))
    scene.raised("second", notifier.process_events)


@script
def print_all_events(scene: Scene) -> None:
    """The default handler writes events to a file, and overflow to the log."""
    out = io.StringIO()
    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager, pyinotify.PrintAllEvents(out=out))
    manager.add_watch(scene.directory, ALL)
    scene.write("file")
    scene.mkdir("d")
    notifier.append_event(pyinotify._RawEvent(-1, pyinotify.IN_Q_OVERFLOW, 0, ""))
    scene.drain(notifier)
    scene.answer("written", out.getvalue())
    scene.answer("the default", type(pyinotify.Notifier(manager).proc_fun()).__name__)


@script
def stats(scene: Scene) -> None:
    """Counts by kind, its bars, its file."""
    manager = pyinotify.WatchManager()
    handler = pyinotify.Stats()
    scene.answer("empty", [repr(handler), str(handler)])
    notifier = pyinotify.Notifier(manager, handler)
    manager.add_watch(scene.directory, ALL)
    for number in range(9):
        scene.write(f"f{number}")
    scene.mkdir("d")
    os.rmdir(scene.path("d"))
    scene.drain(notifier)
    scene.answer("repr", repr(handler))
    scene.answer("str", str(handler))
    scene.answer("scale", handler.__str__(scale=7))
    handler.dump(scene.path("dump"))
    with open(scene.path("dump")) as file:
        scene.answer("dump", [file.read(), oct(os.stat(scene.path("dump")).st_mode)])
    scene.raised("dump again", lambda: handler.dump(scene.path("dump")))


@script
def stats_of_long_times(scene: Scene) -> None:
    """How the elapsed time is written."""
    handler = pyinotify.Stats()
    for seconds in (30, 90, 4000, 90_000, 864_600):
        handler._start_time -= seconds
        scene.answer(f"after {seconds} seconds", repr(handler))
        handler._start_time += seconds


@script
def coloured_output(scene: Scene) -> None:
    """The colours, of everything that prints itself; assigned to the module and seen at once."""
    pyinotify.output_format = pyinotify.ColoredOutputFormat()
    manager, _ = scene.notifier()
    manager.add_watch(scene.directory, ALL)
    scene.answer("event", str(by_mask(pyinotify.IN_CREATE)))
    scene.answer("raw", str(pyinotify._RawEvent(1, 2, 3, "n")))
    scene.answer("watch", repr(manager.get_watch(1)))
    handler = pyinotify.Stats()
    for _ in range(3):
        handler(by_mask(pyinotify.IN_CREATE))
    handler(by_mask(pyinotify.IN_OPEN | pyinotify.IN_ISDIR))
    scene.answer("stats", [repr(handler), str(handler)])
    scene.answer("handler", repr(pyinotify.ProcessEvent()))
    scene.answer(
        "limit", repr(pyinotify.max_user_watches).replace(str(pyinotify.max_user_watches.value), "N")
    )
    formatter = pyinotify.output_format
    for method in ("punctuation", "field_value", "field_name", "class_name"):
        scene.answer(method, getattr(formatter, method)("x"))
    scene.answer("simple", [formatter.simple("x", "bold"), formatter.simple("x", "no such")])
    pyinotify.output_format = pyinotify.RawOutputFormat({"normal": "]", "blue": "b["})
    scene.answer("own format", str(by_mask(pyinotify.IN_CREATE)))


@script
def compatibility_mode(scene: Scene) -> None:
    """For programs of 0.7: flags in EventsCodes, is_dir and event_name in events."""
    scene.answer("before", [hasattr(pyinotify.EventsCodes, "IN_CREATE"), pyinotify.COMPATIBILITY_MODE])
    pyinotify.compatibility_mode()
    codes = pyinotify.EventsCodes
    scene.answer(
        "after", [codes.IN_CREATE, codes.ALL_EVENTS, pyinotify.COMPATIBILITY_MODE, hasattr(codes, "IN_ISDIR")]
    )
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, codes.ALL_EVENTS)
    scene.mkdir("d")
    scene.write("file")
    scene.drain(notifier)


@script
def logging_set_up(scene: Scene) -> None:
    """The logger's name, level, handler and format; a logger of one's own is used at once."""
    import logging

    log = pyinotify.log
    handler = log.handlers[0]
    scene.answer("log", [log.name, log.level, log.propagate, type(handler).__name__, handler.formatter._fmt])
    scene.answer("the same", pyinotify.logger_init() is log)
    pyinotify.log = logging.getLogger("mine")
    pyinotify.log.addHandler(log.handlers[-1])
    manager, notifier = scene.notifier()
    manager.add_watch(scene.path("nowhere"), ALL)
    manager.del_watch(7)
    notifier.append_event(pyinotify._RawEvent(-1, pyinotify.IN_Q_OVERFLOW, 0, ""))
    notifier.process_events()


@script
def logging_to_the_terminal(scene: Scene) -> None:
    """A refusal as the user of an unconfigured program sees it, on stderr."""
    scene.program(
        "import pyinotify, sys\n"
        "manager = pyinotify.WatchManager()\n"
        "print(manager.add_watch(sys.argv[1], pyinotify.IN_CREATE))\n",
        scene.path("nowhere"),
    )


@script
def constants(scene: Scene) -> None:
    """Every flag and table."""
    scene.answer(
        "flags", {name: value for name, value in sorted(vars(pyinotify).items()) if name.startswith("IN_")}
    )
    codes = pyinotify.EventsCodes
    for table in ("OP_FLAGS", "EVENT_FLAGS", "SPECIAL_FLAGS", "FLAG_COLLECTIONS", "ALL_FLAGS", "ALL_VALUES"):
        scene.answer(table, {str(key): value for key, value in getattr(codes, table).items()})
    for mask in (*codes.ALL_VALUES, pyinotify.IN_CREATE | pyinotify.IN_ISDIR, 3, 0):
        scene.raised(str(mask), lambda mask=mask: codes.maskname(mask))
    scene.answer("module", [pyinotify.ALL_EVENTS, pyinotify.__version__, type(pyinotify.__author__).__name__])


@script
def errors(scene: Scene) -> None:
    """Every exception: its bases, its text, its attributes."""
    made = {
        "PyinotifyError": ("text",),
        "UnsupportedPythonVersionError": ("1.0",),
        "InotifyBindingNotFoundError": (),
        "ProcessEventError": ("text",),
        "NotifierError": ("text",),
        "WatchManagerError": ("text", {"/p": -1}),
    }
    for name, arguments in made.items():
        error = getattr(pyinotify, name)(*arguments)
        scene.answer(
            name, [str(error), [base.__name__ for base in type(error).__mro__], getattr(error, "wmd", None)]
        )


@script
def kernel_limits(scene: Scene) -> None:
    """The sysctls: values, representation, refusals."""
    for name in ("max_queued_events", "max_user_instances", "max_user_watches"):
        limit = getattr(pyinotify, name)
        with open(f"/proc/sys/fs/inotify/{name}") as file:
            scene.answer(
                name, [limit.value == int(file.read()), limit.get_val() == limit.value, type(limit).__name__]
            )
    missing = pyinotify.ProcINotify("no_such_limit")
    scene.raised("missing", missing.get_val)
    scene.raised("missing value", lambda: missing.value)
    scene.answer("wrong value", [hasattr(missing, name) for name in ("set_val", "get_val")])


@script
def the_wrapper_of_the_system_calls(scene: Scene) -> None:
    """INotifyWrapper, used by itself."""
    wrapper = pyinotify.INotifyWrapper.create()
    fd = wrapper.inotify_init()
    scene.answer("add", wrapper.inotify_add_watch(fd, scene.directory, pyinotify.IN_CREATE))
    scene.answer(
        "refused",
        [wrapper.inotify_add_watch(fd, scene.path("nowhere"), 1), wrapper.get_errno(), wrapper.str_errno()],
    )
    scene.answer(
        "rm", [wrapper.inotify_rm_watch(fd, 1), wrapper.inotify_rm_watch(fd, 1), wrapper.str_errno()]
    )
    os.close(fd)


@script
def import_of_the_old_package(scene: Scene) -> None:
    """``from pyinotify import pyinotify`` fails, and the star gives every public name."""
    scene.program("try:\n    from pyinotify import pyinotify\nexcept ImportError:\n    print('refused')")
    scene.program(
        "from pyinotify import *\nprint(WatchManager.__name__, IN_CREATE, log.name, '_RawEvent' in globals())"
    )
