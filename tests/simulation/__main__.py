"""Many schedules: ``python -m tests.simulation --schedules 10000 --jobs 2``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from tests.simulation.minimise import minimise
from tests.simulation.schedule import Outcome, Schedule, Setting

_AT_ONCE = 100


class Sum(NamedTuple):
    """What a number of schedules came to."""

    schedules: int = 0
    operations: int = 0
    changes: int = 0
    events: int = 0
    overflows: int = 0
    failed: tuple[tuple[int, str], ...] = ()

    def plus(self, other: Sum) -> Sum:
        """Both together."""
        return Sum(
            self.schedules + other.schedules,
            self.operations + other.operations,
            self.changes + other.changes,
            self.events + other.events,
            self.overflows + other.overflows,
            self.failed + other.failed,
        )


def run(seeds: Iterable[int]) -> Sum:
    """Run the schedules of these seeds."""
    total = Sum()
    for seed in seeds:
        outcome = Schedule(seed).run()
        failed = ((seed, outcome.problems[0]),) if outcome.problems else ()
        operations = len(outcome.script)
        total = total.plus(Sum(1, operations, outcome.changes, outcome.events, outcome.overflows, failed))
    return total


def _many(first: int, count: int, jobs: int) -> Sum:
    parts = [range(at, min(at + _AT_ONCE, first + count)) for at in range(first, first + count, _AT_ONCE)]
    total = Sum()
    with ProcessPoolExecutor(jobs) as pool:
        for part in pool.map(run, parts):
            total = total.plus(part)
    return total


def _explain(seed: int, shrink: bool) -> Outcome:
    """Show one seed's run, as short as it can be made."""
    setting, script = Setting.draw(seed), None
    if shrink:
        seed, setting, script = minimise(seed)
    trace: list[str] = []
    _say(f"seed {seed}: {setting}")
    outcome = Schedule(seed, setting, script, trace).run()
    _say("\n".join(trace))
    _say("\n".join(outcome.problems) or "no difference")
    return outcome


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main() -> int:
    """The command line; 1 where a schedule failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--seed-from", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--explain", type=int, metavar="SEED", help="trace one seed")
    parser.add_argument("--minimise", action="store_true", help="with --explain: its shortest failing form")
    arguments = parser.parse_args()
    if arguments.explain is not None:
        return bool(_explain(arguments.explain, arguments.minimise).problems)
    started = time.monotonic()
    total = _many(arguments.seed_from, arguments.schedules, arguments.jobs)
    seconds = time.monotonic() - started
    for seed, problem in total.failed[:20]:
        _say(f"seed {seed}: {problem}")
    _say(
        f"{total.schedules} schedules, {total.operations} operations, {total.events} kernel events, "
        f"{total.changes} changes, {total.overflows} overflows, {len(total.failed)} divergences "
        f"in {seconds:.1f} s ({total.schedules / seconds:.0f} schedules/s)"
    )
    return bool(total.failed)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of a set of bytes must not depend on the process, or a seed would not give the same run.
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
                  os.environ | {"PYTHONHASHSEED": "0"})  # fmt: skip
    sys.exit(main())
