"""
What a user of pyinotify writes; runs in an environment of its own, or with the façade in pyinotify's place.

    pyinotify_peer.py count DIRECTORY                  counts events until SIGINT, prints events and overflows
    pyinotify_peer.py percall DIRECTORY ROUNDS FILES   prints events, overflows, CPU seconds of a callback
    pyinotify_peer.py reads DIRECTORY ROUNDS FILES     the same of a callback that looks at what an event says
    pyinotify_peer.py pika DIRECTORY URL QUEUE         publishes to RabbitMQ, without confirms
"""

# mypy: ignore-errors
# ruff: noqa: T201
# It is a script for another environment: pyinotify is not among this project's packages.

import json
import os
import signal
import sys
import time

import pyinotify

MASK = pyinotify.IN_CREATE | pyinotify.IN_CLOSE_WRITE | pyinotify.IN_DELETE


class Counter(pyinotify.ProcessEvent):
    """The bare callback."""

    def my_init(self) -> None:
        self.events = self.overflows = 0

    def process_default(self, event) -> None:
        self.events += 1

    def process_IN_Q_OVERFLOW(self, event) -> None:
        self.overflows += 1


class Reader(Counter):
    """The callback of a program that does something: it asks what happened, and to which file."""

    def process_default(self, event) -> None:
        if event.maskname and event.pathname and not event.dir:
            self.events += 1


class Publisher(pyinotify.ProcessEvent):
    """One message an event."""

    def my_init(self, url, queue) -> None:
        import pika

        self.channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
        self.channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        self.queue = queue

    def process_default(self, event) -> None:
        body = json.dumps({"type": event.maskname, "path": event.pathname})
        self.channel.basic_publish("", self.queue, body.encode())


def watched(directory, handler):
    """A notifier on a directory, recursive, as the tutorial has it."""
    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager, handler, timeout=200)
    manager.add_watch(directory, MASK, rec=True, auto_add=True)
    print("ready", flush=True)
    return notifier


def loop(directory, handler) -> None:
    """Until SIGINT, and then until nothing comes any more."""
    ended = []
    signal.signal(signal.SIGINT, lambda *_: ended.append(True))
    notifier = watched(directory, handler)
    notifier.loop(lambda one: bool(ended) and not one.check_events())


def step(notifier, timeout) -> bool:
    """Read and process what is there."""
    notifier.process_events()
    if not notifier.check_events(timeout):
        return False
    notifier.read_events()
    return True


def percall(directory, rounds, files, counter) -> None:
    """The kernel's queue is filled first, then read and processed: only that is timed."""
    notifier = watched(directory, counter)
    used = 0.0
    for _ in range(rounds):
        for number in range(files):
            path = f"{directory}/f{number:07d}"
            with open(path, "w") as file:
                file.write("x")
            os.unlink(path)
        started = time.process_time()
        while step(notifier, 0):
            pass
        used += time.process_time() - started
    print(counter.events, counter.overflows, used)


def main() -> None:
    """The command line."""
    mode, directory, *rest = sys.argv[1:]
    if mode in ("percall", "reads"):
        percall(directory, *map(int, rest), Counter() if mode == "percall" else Reader())
    elif mode == "pika":
        loop(directory, Publisher(url=rest[0], queue=rest[1]))
    else:
        counter = Counter()
        loop(directory, counter)
        print(counter.events, counter.overflows)


if __name__ == "__main__":
    main()
