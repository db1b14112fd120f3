"""Scripts about the notifiers: their steps, loop, threads, asyncio and the rest."""

# mypy: ignore-errors

from __future__ import annotations

import asyncio
import os
import select
import threading
import warnings

import pyinotify

from tests.facade.differential.scene import Scene, script

MASK = pyinotify.IN_CREATE | pyinotify.IN_DELETE


@script
def three_steps(scene: Scene) -> None:
    """check only looks, read only queues, process only dispatches."""
    manager, notifier = scene.notifier(timeout=10)
    manager.add_watch(scene.directory, MASK)
    scene.answer(
        "nothing",
        [bool(notifier.check_events(0)), bool(notifier.check_events()), bool(notifier.check_events(1.5))],
    )
    scene.write("a")
    scene.answer(
        "there", [bool(notifier.check_events()), bool(notifier.check_events(0)), len(notifier._eventq)]
    )
    notifier.read_events()
    scene.answer("read", [bool(notifier.check_events(0)), len(notifier._eventq)])
    scene.write("b")
    notifier.process_events()
    scene.answer("processed", [bool(notifier.check_events(0)), len(notifier._eventq)])
    scene.drain(notifier)


@script
def what_clients_read(scene: Scene) -> None:
    """Attributes without a public name that programs use."""
    manager, notifier = scene.notifier(read_freq=1, threshold=2, timeout=3)
    values = [
        notifier._read_freq,
        notifier._threshold,
        notifier._timeout,
        notifier._coalesce,
        len(notifier._eventq),
    ]
    scene.answer("values", values)
    scene.answer(
        "fd",
        [notifier._fd == manager._fd, notifier._watch_manager is manager, type(notifier._eventq).__name__],
    )
    scene.answer(
        "handlers", [notifier._default_proc_fun is notifier.proc_fun(), type(notifier._sys_proc_fun).__name__]
    )
    poll = select.poll()
    poll.register(notifier._fd, select.POLLIN)
    manager.add_watch(scene.directory, MASK)
    scene.answer("quiet", poll.poll(0))
    scene.write("a")
    scene.answer("pollable", [event for _, event in poll.poll(0)])
    scene.answer("poll object", [event for _, event in notifier._pollobj.poll(0)])


@script
def threshold(scene: Scene) -> None:
    """Nothing is read until that many bytes wait."""
    manager, notifier = scene.notifier(threshold=64)
    manager.add_watch(scene.directory, MASK)
    for name in ("a", "b"):
        scene.write(name)
        notifier.read_events()
        scene.answer(name, len(notifier._eventq))
    notifier.process_events()


@script
def coalescing(scene: Scene) -> None:
    """Within a batch an event is told once; after it, and after switching off, again."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MASK)
    notifier.coalesce_events()
    for _ in range(3):
        os.unlink(scene.write("a"))
    notifier.read_events()
    os.unlink(scene.write("a"))
    scene.drain(notifier)
    os.unlink(scene.write("a"))
    scene.drain(notifier)
    scene.answer("on", notifier._coalesce)
    notifier.coalesce_events(False)
    for _ in range(2):
        os.unlink(scene.write("a"))
    scene.drain(notifier)


@script
def coalescing_switched_off_between(scene: Scene) -> None:
    """Switching off forgets what was seen."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MASK)
    notifier.coalesce_events(True)
    scene.write("a")
    notifier.read_events()
    notifier.coalesce_events(False)
    notifier.coalesce_events(True)
    os.unlink(scene.path("a"))
    scene.write("a")
    notifier.read_events()
    notifier.process_events()


@script
def stopping(scene: Scene) -> None:
    """stop closes the descriptor; a second stop does nothing."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MASK)
    fd = notifier._fd
    notifier.stop()
    scene.answer("fd", notifier._fd)
    scene.raised("descriptor", lambda: os.fstat(fd) and None)
    scene.raised("again", notifier.stop)


@script
def reading_where_nothing_is(scene: Scene) -> None:
    """read_events after an event was read already, from a descriptor of its own that somebody else reads."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MASK)
    os.close(os.dup(notifier._fd))
    notifier.process_events()
    thread = threading.Timer(0.2, lambda: scene.write("late"))
    thread.start()
    scene.raised("read_events", notifier.read_events)
    thread.join()
    scene.answer("waiting", bool(notifier.check_events(0)))


@script
def reading_a_closed_descriptor(scene: Scene) -> None:
    """A read that fails."""
    _manager, notifier = scene.notifier()
    os.close(notifier._fd)
    os.open(scene.write("plain"), os.O_WRONLY)
    scene.raised("read_events", notifier.read_events)


@script
def loop_with_a_callback(scene: Scene) -> None:
    """Once before any event, then after each batch; only True ends it."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MASK)
    rounds = []

    def callback(given):
        rounds.append(given is notifier)
        scene.answer("round", len(rounds))
        scene.write(f"file {len(rounds)}")
        return [False, 1, "yes", None, True][len(rounds) - 1]

    scene.answer("loop", notifier.loop(callback=callback))
    scene.answer("after", [rounds, notifier._fd])


@script
def loop_with_a_timeout(scene: Scene) -> None:
    """The callback comes also where no event does."""
    manager, notifier = scene.notifier(timeout=5)
    manager.add_watch(scene.directory, MASK)
    rounds = []
    notifier.loop(lambda _: rounds.append(1) or len(rounds) == 4)
    scene.answer("rounds", len(rounds))


@script
def loop_ended_by_the_keyboard(scene: Scene) -> None:
    """KeyboardInterrupt in a handler ends the loop quietly."""

    def handler(event) -> None:
        scene.event(event)
        raise KeyboardInterrupt

    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager, handler)
    manager.add_watch(scene.directory, MASK)
    scene.write("file")
    scene.raised("loop", notifier.loop)
    scene.answer("fd", notifier._fd)


@script
def loop_ended_by_a_handler(scene: Scene) -> None:
    """Any other exception comes out of the loop."""

    def handler(event) -> None:
        raise ValueError(event.name)

    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager, handler)
    manager.add_watch(scene.directory, MASK)
    scene.write("file")
    scene.raised("loop", notifier.loop)
    scene.answer("fd is open", notifier._fd is not None)


@script
def loop_ended_from_the_callback(scene: Scene) -> None:
    """``notifier.stop(); sys.exit(0)`` in the callback, as an example of the original has it."""
    scene.program(
        "import pyinotify, sys\n"
        "manager = pyinotify.WatchManager()\n"
        "notifier = pyinotify.Notifier(manager)\n"
        "manager.add_watch(sys.argv[1], pyinotify.IN_CREATE)\n"
        "def callback(notifier):\n"
        "    notifier.stop()\n"
        "    sys.exit(3)\n"
        "notifier.loop(callback=callback)\n",
        scene.directory,
    )


@script
def read_freq_gathers(scene: Scene) -> None:
    """With read_freq the loop sleeps before it reads: what is made meanwhile comes in the same batch."""

    class Gathering(pyinotify.Notifier):
        def _sleep(self, ref_time):
            scene.write("b")
            super()._sleep(ref_time)

    manager = pyinotify.WatchManager()
    notifier = Gathering(manager, scene.recorder(), read_freq=0.05)
    manager.add_watch(scene.directory, pyinotify.IN_CREATE)
    scene.write("a")
    batches = []

    def callback(_):
        batches.append(sum(1 for one in scene.records if one["kind"] == "event"))
        return batches[-1] >= 2

    notifier.loop(callback)
    scene.answer("events before each call", batches)


def threaded(scene: Scene, **options):
    """A ThreadedNotifier that records, and a function that waits until a file's event was handled."""

    class NotOfTheEnd(type(scene.recorder())):
        """Whether IGNORED of a removed watch is heard depends, in the original, on who is first."""

        def process_IN_IGNORED(self, event) -> None:
            pass

    manager = pyinotify.WatchManager()
    notifier = pyinotify.ThreadedNotifier(manager, NotOfTheEnd(scene=scene), **options)

    def seen(name: str) -> None:
        scene.wait(lambda: any(one.get("name") == name for one in list(scene.records)), name)

    return manager, notifier, seen


@script
def a_thread(scene: Scene) -> None:
    """Watches are added before and after start; stop returns though nothing comes."""
    manager, notifier, seen = threaded(scene)
    scene.mkdir("late")
    manager.add_watch(scene.directory, MASK)
    scene.answer("before", [notifier.daemon, notifier.is_alive(), isinstance(notifier, threading.Thread)])
    notifier.start()
    scene.write("a")
    seen("a")
    scene.answer("add", manager.add_watch(scene.path("late"), MASK))
    scene.write("late", "b")
    seen("b")
    scene.answer("remove", manager.rm_watch(manager.get_wd(scene.path("late"))))
    scene.write("late", "c")
    scene.write("d")
    seen("d")
    notifier.stop()
    scene.answer("after", [notifier.is_alive(), notifier._fd, notifier._stop_event.is_set()])


@script
def a_thread_as_a_daemon(scene: Scene) -> None:
    """The program ends though the thread was not stopped."""
    scene.program(
        "import pyinotify, sys\n"
        "manager = pyinotify.WatchManager()\n"
        "notifier = pyinotify.ThreadedNotifier(manager, lambda event: None, timeout=10)\n"
        "notifier.daemon = True\n"
        "notifier.name = 'mine'\n"
        "notifier.start()\n"
        "print(notifier.name, notifier.daemon, notifier.is_alive())\n"
    )


@script
def a_thread_that_is_idle(scene: Scene) -> None:
    """It ends at once though no event ever came, with a timeout and without."""
    for options in ({}, {"timeout": 60_000}, {"read_freq": 1}):
        _, notifier, _ = threaded(scene, **options)
        notifier.start()
        notifier.stop()
        scene.answer(str(options), notifier.is_alive())


@script
def a_thread_with_its_own_loop(scene: Scene) -> None:
    """A subclass writes the loop itself, on the attributes there are."""
    import time

    class Own(pyinotify.ThreadedNotifier):
        def loop(self):
            while not self._stop_event.is_set():
                self.process_events()
                since = time.time()
                if self.check_events():
                    self._sleep(since)
                    self.read_events()
            scene.answer("own loop", "ended")

    manager = pyinotify.WatchManager()
    notifier = Own(manager, scene.recorder())
    manager.add_watch(scene.directory, MASK)
    notifier.start()
    scene.write("a")
    scene.wait(lambda: scene.records, "the event")
    notifier.stop()


@script
def a_thread_stopped_twice(scene: Scene) -> None:
    """The second stop."""
    _, notifier, _ = threaded(scene)
    notifier.start()
    notifier.stop()
    scene.raised("again", notifier.stop)


@script
def a_thread_stopped_before_it_starts(scene: Scene) -> None:
    """stop() without start()."""
    _, notifier, _ = threaded(scene)
    scene.raised("stop", notifier.stop)


@script
def a_thread_stopped_by_its_handler(scene: Scene) -> None:
    """stop() from a handler."""
    manager = pyinotify.WatchManager()
    done = threading.Event()

    def handler(event) -> None:
        scene.raised("stop", notifier.stop)
        done.set()

    threading.excepthook = lambda _: None
    notifier = pyinotify.ThreadedNotifier(manager, handler)
    notifier.daemon = True
    manager.add_watch(scene.directory, pyinotify.IN_CREATE)
    notifier.start()
    scene.write("a")
    done.wait(60)


@script
def asyncio_notifier(scene: Scene) -> None:
    """Reads when the loop says so, then the callback."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        manager = pyinotify.WatchManager()

        def callback(given) -> None:
            scene.answer("callback", given is notifier)
            if not done.done():
                done.set_result(None)

        notifier = pyinotify.AsyncioNotifier(
            manager, loop, callback=callback, default_proc_fun=scene.recorder()
        )
        manager.add_watch(scene.directory, MASK)
        scene.write("a")
        os.unlink(scene.path("a"))
        await asyncio.wait_for(done, 60)
        scene.answer("attributes", [notifier.loop is loop, notifier.handle_read_callback is callback])
        notifier.stop()
        scene.write("b")
        await asyncio.sleep(0)
        scene.answer("stopped", notifier._fd)

    asyncio.run(main())


@script
def asyncio_notifier_made_before_the_loop_runs(scene: Scene) -> None:
    """Handlers make tasks."""
    loop = asyncio.new_event_loop()
    manager = pyinotify.WatchManager()

    async def task(event) -> None:
        scene.event(event, "task")
        loop.stop()

    tasks = []
    notifier = pyinotify.AsyncioNotifier(
        manager, loop, default_proc_fun=lambda event: tasks.append(loop.create_task(task(event)))
    )
    manager.add_watch(scene.directory, pyinotify.IN_CREATE)
    scene.write("a")
    loop.run_forever()
    notifier.stop()
    loop.close()


class FakeLoop:
    """What TornadoAsyncNotifier asks of an IOLoop, on poll(2)."""

    READ = 1

    def __init__(self) -> None:
        self.handlers = {}

    def add_handler(self, fd, handler, events) -> None:
        self.handlers[fd] = handler, events

    def remove_handler(self, fd) -> None:
        del self.handlers[fd]

    def turn(self) -> None:
        """One round: whoever has something to read is told."""
        for fd, (handler, _) in list(self.handlers.items()):
            if select.select([fd], [], [], 0)[0]:
                handler(fd, self.READ)


@script
def tornado_notifier(scene: Scene) -> None:
    """The same on what Tornado's loop offers."""
    loop = FakeLoop()
    manager = pyinotify.WatchManager()
    notifier = pyinotify.TornadoAsyncNotifier(
        manager,
        loop,
        callback=lambda given: scene.answer("callback", given is notifier),
        default_proc_fun=scene.recorder(),
    )
    manager.add_watch(scene.directory, MASK)
    scene.answer("registered", [list(loop.handlers) == [notifier._fd], notifier.io_loop is loop])
    loop.turn()
    scene.write("a")
    scene.write("b")
    loop.turn()
    notifier.stop()
    scene.answer("stopped", [loop.handlers, notifier._fd])


@script
def asyncore_notifier(scene: Scene) -> None:
    """In asyncore's map, or in one of its own. Python has asyncore up to 3.11, and a back-port after that."""
    warnings.simplefilter("ignore")
    try:
        import asyncore
    except ImportError:
        scene.raised("map", lambda: pyinotify.AsyncNotifier(pyinotify.WatchManager(), scene.recorder()))
        return
    own = {}
    for channels in (None, own):
        manager = pyinotify.WatchManager()
        notifier = pyinotify.AsyncNotifier(manager, scene.recorder(), channel_map=channels)
        manager.add_watch(scene.directory, MASK)
        scene.answer(
            "map", [len(asyncore.socket_map), len(own), isinstance(notifier, asyncore.file_dispatcher)]
        )
        os.unlink(scene.write("a"))
        asyncore.loop(timeout=0, map=channels, count=1)
        asyncore.socket_map.clear()


@script
def the_daemon(scene: Scene) -> None:
    """loop(daemonize=True): the pid file, the redirected streams, the working directory, the end."""
    pid_file, out, seen = scene.path("..", "pid"), scene.path("..", "out"), scene.path("..", "seen")
    code = (
        "import os, sys, pyinotify\n"
        "directory, pid_file, out, seen = sys.argv[1:]\n"
        "class Handler(pyinotify.ProcessEvent):\n"
        "    def process_default(self, event):\n"
        "        print(event, os.getcwd(), oct(os.umask(0o22)), flush=True)\n"
        "        raise KeyboardInterrupt\n"
        "manager = pyinotify.WatchManager()\n"
        "manager.add_watch(directory, pyinotify.IN_CREATE)\n"
        "notifier = pyinotify.Notifier(manager, Handler())\n"
        "notifier.loop(daemonize=True, pid_file=pid_file, stdout=out, stderr=out)\n"
        "open(seen, 'w').close()\n"
    )
    scene.program(code, scene.directory, pid_file, out, seen)
    text = scene.wait(lambda: scene.read("..", "pid"), "the pid file")
    pid = int(text)
    scene.answer("pid file", [text == f"{pid}\n", oct(os.stat(pid_file).st_mode), oct(os.stat(out).st_mode)])
    scene.answer("own session", os.getsid(pid) != os.getsid(0))
    scene.program(code, scene.directory, pid_file, out, seen)
    scene.write("file")
    scene.wait(lambda: os.path.exists(seen) and not os.path.exists(pid_file), "the daemon's end")
    with open(out) as file:
        scene.answer("written", file.read())


@script
def the_daemon_without_a_pid_file(scene: Scene) -> None:
    """pid_file=False writes none; unknown keywords are an error."""
    out, seen = scene.path("..", "out"), scene.path("..", "seen")
    scene.program(
        "import sys, pyinotify\n"
        "manager = pyinotify.WatchManager()\n"
        "notifier = pyinotify.Notifier(manager, lambda event: None)\n"
        "notifier.loop(lambda _: True, daemonize=True, pid_file=False, stdout=sys.argv[1])\n"
        "open(sys.argv[2], 'w').write('ended')\n",
        out, seen,
    )  # fmt: skip
    scene.wait(lambda: scene.read("..", "seen"), "the daemon's end")
    _manager, notifier = scene.notifier()
    scene.raised("unknown keyword", lambda: notifier.loop(lambda _: True, daemonize=True, no_such=1))
    scene.raised("keyword without daemonize", lambda: notifier.loop(lambda _: True, pid_file="x"))
