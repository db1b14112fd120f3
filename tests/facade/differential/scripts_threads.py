"""Scripts about ThreadedNotifier: its thread, its own loop, the ways to stop it."""

# mypy: ignore-errors

from __future__ import annotations

import threading

import pyinotify

from tests.facade.differential.scene import SECONDS, Scene, script

MASK = pyinotify.IN_CREATE | pyinotify.IN_DELETE


def threaded(scene: Scene, **options):
    """A ThreadedNotifier that records, and a function that waits until a file's event was handled."""
    manager = pyinotify.WatchManager()
    notifier = pyinotify.ThreadedNotifier(manager, scene.recorder(), **options)

    def seen(name: str) -> None:
        scene.wait(lambda: any(one.get("name") == name for one in list(scene.records)), name)

    return manager, notifier, seen


@script
def a_thread(scene: Scene) -> None:
    """Watches are added before and after start; stop returns though nothing comes."""
    manager, notifier, seen = threaded(scene)
    removed, late = threading.Event(), scene.recorder("late")

    def held(event) -> None:
        late(event)
        removed.wait(SECONDS)  # the original's thread may die of a watch that is removed while it hears of it

    scene.mkdir("late")
    manager.add_watch(scene.directory, MASK)
    scene.answer("before", [notifier.daemon, notifier.is_alive(), isinstance(notifier, threading.Thread)])
    notifier.start()
    scene.write("a")
    seen("a")
    scene.answer("add", manager.add_watch(scene.path("late"), MASK, proc_fun=held))
    scene.write("late", "b")
    seen("b")
    scene.answer("remove", manager.rm_watch(manager.get_wd(scene.path("late"))))
    removed.set()
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
    done.wait(SECONDS)
