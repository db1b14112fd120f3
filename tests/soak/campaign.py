"""The campaign: steps of work and faults, each of which ends in a rest where everything has to be true."""

from __future__ import annotations

import contextlib
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.fold import differences, disk
from tests.soak.arena import Arena, Violation
from tests.soak.broker import Far
from tests.soak.faults import BLOWS, BROKER_SIEGES, MACHINE_SIEGES, SIEGES
from tests.soak.ground import FILLER, Ground

RECOVERY_SECONDS: Final = 180.0

WANTED_AN_HOUR: Final = 120
"""Kills, overflows and faults of the broker that shall really happen; what is behind comes first."""

_SHOWN: Final = 20
_GLANCE: Final = 0.2


class Step(NamedTuple):
    """
    What happens between two rests.

    Args:
        told: whether the work tells all there is to tell, or also does what only a comparison finds.
        rate: of the work, operations a second.
        sieges: names of `faults.SIEGES`, which last while the blows go on.
        blows: names of `faults.BLOWS`.
    """

    told: bool
    rate: int
    sieges: Sequence[str]
    blows: Sequence[str]

    def __str__(self) -> str:
        words = ["told" if self.told else "untold", *(f"[{name}]" for name in self.sieges), *self.blows]
        return " ".join(words)


class Outcome(NamedTuple):
    """
    What came of it.

    Args:
        happened: how often each fault really happened.
        rows: of the table, as (what, how often).
        wrong: broken promises in words; empty where all was well.
        kept: where agent's log and stream were put, if something was wrong.
    """

    happened: Counter[str]
    rows: list[tuple[str, str]]
    wrong: list[str]
    kept: Path | None

    def table(self) -> str:
        """For people."""
        width = max(len(what) for what, _ in self.rows)
        lines = [f"{what:<{width}}  {count}" for what, count in self.rows]
        return "\n".join([*lines, *self.wrong[:_SHOWN]]) + "\n"


class Campaign:
    """
    One campaign.

    Args:
        far: the broker, started.
        above: where the tree is made.
        say: gets a line for every step.
    """

    def __init__(self, far: Far, seed: int, above: Path, say: Callable[[str], None]) -> None:
        self._far = far
        self._seed = seed
        self._above = above
        self._say = say
        self._began = time.monotonic()
        self._steps = 0
        self._step: Step | None = None
        self._recovery = 0.0
        self._slowest: tuple[float, Step | None] = (0.0, None)
        self._differing: list[str] = []

    def run_for(self, seconds: float) -> Outcome:
        """Steps by chance, until so many seconds are over."""

        def drawn(arena: Arena) -> Iterator[Step]:
            while time.monotonic() - self._began < seconds:
                yield self._drawn(arena)

        return self._run(drawn)

    def run_steps(self, steps: Sequence[Step]) -> Outcome:
        """These."""
        return self._run(lambda _: iter(steps))

    def _run(self, steps: Callable[[Arena], Iterator[Step]]) -> Outcome:
        scratch = Path(tempfile.mkdtemp(prefix="inotify-bridge-soak-"))
        with Ground(self._above) as ground:
            arena = Arena(scratch, ground, self._far, self._seed)
            try:
                wrong = self._all(arena, steps)
                rows = self._rows(arena)
            finally:
                arena.close()
        if not wrong:
            shutil.rmtree(scratch)
        return Outcome(arena.happened, rows, wrong, scratch if wrong else None)

    # -- steps

    def _all(self, arena: Arena, steps: Callable[[Arena], Iterator[Step]]) -> list[str]:
        try:
            arena.agent.start(ready=False)
            arena.reader.start()
            self._until(arena, lambda: self._caught_up(arena), "the first snapshot is delivered")
            for self._step in steps(arena):
                self._steps += 1
                self._take(arena, self._step)
            arena.agent.stop()
        except (Violation, AssertionError) as error:
            told = [*arena.oracle.wrong, f"{type(error).__name__}: {error}"]
            return [f"seed {self._seed}, step {self._steps}: {self._step}", *told, *self._differing]
        return []

    def _take(self, arena: Arena, step: Step) -> None:
        arena.work.go(step.rate, step.told)
        with contextlib.ExitStack() as besieged:
            for name in step.sieges:
                besieged.enter_context(SIEGES[name](arena))
            for name in step.blows:
                arena.pause(0.1, 1.5)
                BLOWS[name](arena)
                self._check(arena)
            arena.pause(0.5, 2.0)
        self._rest(arena, step)

    def _drawn(self, arena: Arena) -> Step:
        # What a step does depends on seed and number, and on what has happened too seldom until then.
        chance = arena.chance = random.Random(f"{self._seed} {self._steps + 1}")
        told, rate = chance.random() < 0.7, chance.choice((100, 300, 600, 1000))
        return Step(told, rate, self._sieges(arena), self._blows(arena))

    def _sieges(self, arena: Arena) -> list[str]:
        chance = arena.chance
        chosen: list[str] = []
        if chance.random() < 0.3 or self._behind(arena.broker_faults):
            chosen.append(chance.choice(list(BROKER_SIEGES)))
        if chance.random() < 0.35:
            chosen.append(chance.choice(list(MACHINE_SIEGES)))
        chance.shuffle(chosen)
        return chosen

    def _blows(self, arena: Arena) -> list[str]:
        chance = arena.chance
        names = chance.sample(list(BLOWS), chance.choice((0, 1, 1, 2)))
        if self._behind(arena.happened["SIGKILL"]):
            names.append("killed")
        if self._behind(arena.oracle.overflows):
            names.append("overflow")
        chance.shuffle(names)
        return names

    def _behind(self, count: int) -> bool:
        return count <= WANTED_AN_HOUR * (time.monotonic() - self._began) / 3600

    # -- rests

    def _rest(self, arena: Arena, step: Step) -> None:
        """Everything is healed and still: the stream must become what the disk shows, and stay so."""
        healed = time.monotonic()
        arena.work.still()
        self._until(arena, lambda: self._caught_up(arena), "everything is delivered")
        if step.told:
            self._until(arena, lambda: self._same(arena), "the stream is what the disk shows")
        self._recovery = time.monotonic() - healed
        self._slowest = max(self._slowest, (self._recovery, step), key=lambda slow: slow[0])
        self._compare_all(arena, step)
        arena.count_expected()
        arena.look_at_log()
        arena.reader.next_file()
        epoch, sequence = arena.oracle.at
        took = f"{time.monotonic() - self._began:7.1f} s  step {self._steps:3}"
        self._say(f"{took}  {self._recovery:5.1f} s to recover  {epoch}-{sequence}  {step}")

    def _compare_all(self, arena: Arena, step: Step) -> None:
        """The agent compares everything: where all was told, nothing may be found."""
        before = arena.oracle.resyncs["reload"]
        arena.reload()
        self._until(arena, lambda: arena.oracle.resyncs["reload"] > before, "the comparison")
        if step.told and arena.oracle.found:
            raise Violation(f"a comparison at rest found {arena.oracle.found} changes that had not been told")
        self._until(arena, lambda: self._caught_up(arena), "everything is delivered")
        self._until(arena, lambda: self._same(arena), "the stream is what the disk shows")

    def _until(self, arena: Arena, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            self._check(arena)
            arena.live()
            late = time.monotonic() > deadline
            if condition():
                return
            if late:
                raise Violation(
                    f"not within {RECOVERY_SECONDS:g} s: {what}; stream at {arena.oracle.at},"
                    f" holes {arena.oracle.holes()[:3]}, agent: {arena.group()}"
                )
            time.sleep(_GLANCE)

    def _caught_up(self, arena: Arena) -> bool:
        group = arena.group()
        if (
            group is None
            or not group["consistent"]
            or group["uncovered_count"]
            or group["state"] != "running"
        ):
            return False
        if any(root["state"] != "covered" for root in group["roots"]):
            return False
        delivered = all(not sink["lag_events"] for sink in group["sinks"])
        return delivered and arena.oracle.at == (group["epoch"], group["sequence"])

    def _same(self, arena: Arena) -> bool:
        real = disk(bytes(arena.ground.seen))
        shown = {path: entry for path, entry in real.items() if not path.startswith(FILLER)}
        self._differing = differences(arena.oracle.entries(), shown)
        return not self._differing

    def _check(self, arena: Arena) -> None:
        if arena.oracle.wrong:
            raise Violation("the stream broke its promise")
        assert arena.reader.alive, "the reader has died"

    # -- the table

    def _rows(self, arena: Arena) -> list[tuple[str, str]]:
        oracle, happened = arena.oracle, arena.happened
        happened["overflow"] = oracle.overflows
        happened["clock jump"] = oracle.clocks_seen
        happened["reload"] = oracle.resyncs["reload"]
        counts = {
            "steps": self._steps,
            "operations": arena.work.operations,
            "messages": oracle.received,
            **{f"fault  {name}": count for name, count in sorted(happened.items())},
            "fault  broker, all": arena.broker_faults,
            "epochs": len(oracle.epochs),
            "comparisons by digest": oracle.digests,
            "outages of the reader": arena.reader.outages,
            "repeats": oracle.repeats,
            "came early, came again": oracle.early,
            "holes": len(oracle.holes()),
            "differences": len(self._differing),
        }
        rows = [("broker", self._far.description), ("seed", str(self._seed))]
        rows += [("minutes", f"{(time.monotonic() - self._began) / 60:.1f}")]
        rows += [(what, str(count)) for what, count in counts.items()]
        rows += [("note", arena.no_clock)] if arena.no_clock else []
        return [*rows, ("slowest recovery", f"{self._slowest[0]:.1f} s"), ("  after", str(self._slowest[1]))]


def to_stderr(line: str) -> None:
    """Say a line to whoever looks on."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
