"""A storm on a real directory, as a process: ``python -m tests.storm --root DIR --outside DIR2 --seed 1``."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import threading
import time
from collections import Counter

from tests.simulation.tree import Tree
from tests.storm.executor import Executor
from tests.storm.operations import Mix, Operations


def storm(
    root: bytes,
    outside: bytes,
    seed: int,
    count: int,
    mix: Mix,
    rate: float,
    enough: threading.Event,
    halt: int = 0,
) -> Counter[str]:
    """
    Work on two empty directories, and close everything at the end.

    Args:
        count: operations, at least; 0 for as many as there is time for.
        rate: operations a second; 0 is as fast as it goes.
        enough: ends it before.
        halt: after so many operations, each time, it stops itself until it is continued (SIGSTOP); 0: never.
    Returns: how many of each kind were done.
    Raises: OSError where the tree is not what the model says.
    """
    os.umask(0o022)
    tree = Tree()
    for path in (b"r", b"o"):
        tree.mkdir(path, 0o755)
    operations, executor = Operations(tree, random.Random(seed), mix), Executor(root, outside)
    done: Counter[str] = Counter()
    started, total = time.monotonic(), 0
    while not enough.is_set() and (total < count or not count):
        some = operations.some()
        for operation in some:
            tree.apply(operation)
            executor.apply(operation)
            done[operation[0]] += 1
        total += len(some)
        if halt and total % halt < len(some):
            os.kill(os.getpid(), signal.SIGSTOP)
        if rate and (ahead := total / rate - (time.monotonic() - started)) > 0:
            enough.wait(ahead)
    for operation in operations.close_all():
        tree.apply(operation)
        executor.apply(operation)
    return done


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description="Random operations on a tree.")
    parser.add_argument("--root", required=True, type=os.fsencode, help="the watched directory, empty")
    parser.add_argument("--outside", required=True, type=os.fsencode, help="another, on the same file system")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--operations", type=int, default=50_000, help="0: until SIGTERM, which ends it well")
    parser.add_argument("--rate", type=float, default=0, help="operations a second; 0: full speed")
    parser.add_argument("--halt", type=int, default=0, help="operations after which it stops itself: SIGSTOP")
    parser.add_argument("--names", type=int, default=200, help="how many different names; few meet often")
    parser.add_argument("--population", type=int, default=2_000, help="entries it grows to")
    parser.add_argument("--told", action="store_true", help="nothing that only a resync can find")
    parser.add_argument("--open", action="store_true", help="every directory may be entered by everybody")
    arguments = parser.parse_args()
    me = os.geteuid(), os.getegid()
    mix = Mix(names=arguments.names, population=arguments.population, untold=not arguments.told)
    if me[0] != 0:
        mix = mix._replace(owners=(me,))
    if arguments.open:
        mix = mix._replace(modes=(0o755, 0o775))
    started = time.monotonic()
    enough = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: enough.set())
    work = arguments.root, arguments.outside, arguments.seed, arguments.operations, mix, arguments.rate
    done = storm(*work, enough, arguments.halt)
    seconds = time.monotonic() - started
    kinds = " ".join(f"{kind}={number}" for kind, number in sorted(done.items()))
    sys.stdout.write(f"{done.total()} operations in {seconds:.2f} s: {kinds}\n")


if __name__ == "__main__":
    main()
