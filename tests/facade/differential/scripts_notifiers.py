"""Scripts about Notifier: its steps, its loop, the daemon."""

# mypy: ignore-errors

from __future__ import annotations

import os
import select
import threading

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
    reading, read = threading.Event(), os.read

    def noticed(fd: int, size: int) -> bytes:
        """Who reads although there was nothing gets something to read then, or would never come back."""
        reading.set()
        return read(fd, size)

    thread = threading.Thread(target=lambda: reading.wait() and scene.write("late"))
    thread.start()
    os.read = noticed
    scene.raised("read_events", notifier.read_events)
    os.read = read
    reading.set()
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
