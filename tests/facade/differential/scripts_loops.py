"""Scripts about the notifiers that another loop drives: asyncio's, tornado's, asyncore's."""

# mypy: ignore-errors

from __future__ import annotations

import asyncio
import os
import select
import warnings

import pyinotify

from tests.facade.differential.scene import SECONDS, Scene, script

MASK = pyinotify.IN_CREATE | pyinotify.IN_DELETE


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
        await asyncio.wait_for(done, SECONDS)
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
