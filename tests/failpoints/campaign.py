"""One campaign: a tree under load, an agent that is killed at some places, and what came of it."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from tests.agent.arrivals import Arrivals
from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.failpoints import points
from tests.failpoints.fuse import BURNT
from tests.failpoints.points import Point
from tests.failpoints.verdict import broken
from tests.failpoints.witness import Destination, Left, Position, Witness, aged, damaged
from tests.waiting import eventually

KILL_SECONDS = 120.0
ARRIVAL_SECONDS = 90.0
LEFT_SECONDS = 60.0
"""How long a consumer may need for what a dead agent has published."""

_HEAP = 2500
_DIRECTORIES = 1500  # more than a resync looks into before it records what it has found
_LONGEST_DELAY = 0.005
_LONGEST_LINGER = 0.5
_STARTED = "resync completed"
_TOKEN = "of the failpoints"
_SIGNALS = ("stop", "filters", "retry", "snapshot", "replay")


class Result(NamedTuple):
    """
    What came of a campaign.

    Args:
        kills: how often the agent was killed at each point, by the fuse and by nothing else.
        messages: how many came, repeats included.
        repeats: how many of them came again.
        epochs: how many there were.
        wrong: everything that is not as promised, a line each.
    """

    kills: Counter[str]
    messages: int
    repeats: int
    epochs: int
    wrong: list[str]


class Campaign:
    """
    An agent with a state directory on a tree in which a storm goes on.

    Args:
        trees: both directories empty.
        scratch: an empty directory, for the agent's files; on a disk.
        destination: where it publishes to.
        seed: of the storm, and of which pass kills.
        rate: operations a second.
        mutant: the name of one of `tests.mutants`, which the agent then is; empty: the agent as it is.
    """

    def __init__(
        self,
        trees: Trees,
        scratch: Path,
        destination: Destination,
        seed: int,
        rate: float = 500,
        mutant: str = "",
    ) -> None:
        self._trees = trees
        self._state = scratch / "state"
        self._destination = destination
        self._witnesses: list[Witness] = []
        self._reading = contextlib.ExitStack()
        self._seed = seed
        self._rate = rate
        self._mutant = mutant
        self._random = random.Random(seed)
        self._refused = False
        self._retain = "0s"
        self._kills: Counter[str] = Counter()
        self._wrong: list[str] = []
        self._agent = AgentProcess(scratch, {})

    @property
    def wrong(self) -> Sequence[str]:
        """What is not as promised, as far as the lives until now have shown it."""
        return self._wrong

    def run(self, targets: Iterable[Point]) -> Result:
        """Kill the agent at each of these once, one after the other; then let it run until all is quiet."""
        storming = self._trees.storming("storm", seed=self._seed, rate=self._rate)
        with self._reading, self._agent, storming as storm:
            self._read()
            for point in targets:
                self._life(point)
                if point.drive != "damaged":
                    self._check_left()
            self._last_life(storm)
            self._wait_for_all()
        arrived = [Arrivals(witness.all) for witness in self._witnesses]
        for arrivals in arrived[:-1]:
            self._wrong += broken(arrivals, None)
        # What was parked told of its path, not of its size or mode.
        self._wrong += broken(arrived[-1], self._trees.root, only_types=self._refused)
        everything = [one for arrivals in arrived for one in arrivals.all]
        epochs = len({one.position[0] for one in everything})
        repeats = sum(arrivals.repeats for arrivals in arrived)
        return Result(self._kills, len(everything), repeats, epochs, self._wrong)

    def _read(self) -> None:
        """Begin to read the destination of the present sink."""
        self._witnesses.append(self._reading.enter_context(self._destination.witnessed()))

    # -- the lives of the agent

    def _life(self, point: Point) -> None:
        self._prepare(point)
        self._agent.patch = "tests.failpoints.points:arm"
        self._agent.environment = {
            points.POINT: point.name,
            points.HIT: str(self._random.randint(1, point.most)),
            points.DELAY: str(self._random.uniform(0.0, _LONGEST_DELAY)),
            points.LINGER: str(self._random.choice((0.0, self._random.uniform(0.0, _LONGEST_LINGER)))),
            **self._asked_for(),
        }
        begins = len(self._agent.log)
        self._agent.start(ready=False)
        if point.drive in _SIGNALS:
            self._wait_for_snapshot(begins)
            self._signal(point)
        try:
            ended = f"the agent ended with {self._agent.ended(KILL_SECONDS)}"
        except subprocess.TimeoutExpired:
            ended = f"the agent went on for {KILL_SECONDS:g} s"
            self._agent.kill()
        said = self._agent.log[begins:]
        if f"{BURNT}{point.name}\n" in said:
            self._kills[point.name] += 1
        else:
            self._wrong.append(f"{point.name} was not reached, {ended}: {said[-2000:]}")

    def _prepare(self, point: Point) -> None:
        if point.drive == "sinks":
            self._undisturbed()
            self._wait_for_all()
            self._destination = self._destination.another()
            self._read()
        elif point.drive == "down":
            self._heap()
        elif point.drive in ("older", "snapshot"):
            self._undisturbed()
            if point.drive == "older":
                aged(self._state)
        elif point.drive == "damaged":
            # What stands in the file, and not only in the log of writes, is what a restart reads of it.
            self._heap()
            self._undisturbed()
            self._wait_for_snapshot(self._live())
            self._agent.kill()
            damaged(self._state)
        self._refused = self._refused or point.drive in ("park", "retry")
        self._retain = "10m" if point.drive == "replay" else "0s"
        self._agent.configure(self._config())

    def _signal(self, point: Point) -> None:
        if point.drive == "stop":
            self._agent.signal(signal.SIGTERM)
        elif point.drive == "filters":
            self._agent.configure(self._config(exclude=["n7*", "heap/1*"]))
            self._agent.signal(signal.SIGHUP)
        elif point.drive == "snapshot":
            self._ask("resync?snapshot=true")
        elif point.drive == "retry":
            eventually(lambda: "message parked" in self._agent.log, within=KILL_SECONDS, what="one is parked")
            self._ask("parked?action=retry")
        elif point.drive == "replay":
            # Only what the sink has confirmed already can be sent once more.
            self._ask(f"replay?from={eventually(self._confirmed, what='something to replay')}")

    def _confirmed(self) -> int:
        return int(self._agent.group()["sinks"][0]["acked_sequence"])

    def _ask(self, what: str) -> None:
        """An operator's request; what is asked for may kill the agent before it answers."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            code, body = self._agent.post(f"/-/{what}", _TOKEN)
            if code != HTTPStatus.OK:
                self._wrong.append(f"{what} was answered: {code} {body}")

    def _wait_for_snapshot(self, begins: int) -> None:
        def there() -> bool:
            return _STARTED in self._agent.log[begins:] or not self._agent.alive

        eventually(there, within=KILL_SECONDS, what="the first resync", poll=0.05)

    def _undisturbed(self) -> None:
        """A life in which the epoch that it finds, or its first one, gets its snapshot."""
        begins = self._live()
        self._wait_for_snapshot(begins)
        self._end(begins)

    def _live(self) -> int:
        """Start the agent without a fuse, and do not wait for it; where its log begins."""
        self._agent.patch = "tests.failpoints.points:prepare"
        self._agent.environment = self._asked_for()
        self._agent.configure(self._config())
        begins = len(self._agent.log)
        self._agent.start(ready=False)
        return begins

    def _asked_for(self) -> dict[str, str]:
        return {points.MUTANT: self._mutant, points.REFUSE: "yes" if self._refused else ""}

    def _end(self, begins: int) -> None:
        self._agent.signal(signal.SIGTERM)
        code, said = self._agent.ended(), self._agent.log[begins:]
        if code != 0 or "Traceback" in said:
            self._wrong.append(f"undisturbed, the agent ended with {code}: {said[-2000:]}")

    def _last_life(self, storm: subprocess.Popen[bytes]) -> None:
        """Undisturbed, to the end of the storm and of the backlog."""
        begins = self._live()
        storm.terminate()
        storm.wait()
        self._wait_for_snapshot(begins)
        # Before the end: what is refused then is parked by the next start only, with all that is behind it.
        eventually(self._delivered, within=ARRIVAL_SECONDS, what="all is delivered", poll=0.1)
        self._end(begins)

    def _delivered(self) -> bool:
        group = self._agent.group()
        return bool(group["sequence"] and not group["sinks"][0]["lag_events"])

    def _config(self, **group: Any) -> dict[str, Any]:
        sink = self._destination.sink(f"sink{len(self._witnesses)}")
        watched = {"name": "g", "paths": [os.fspath(self._trees.root)], "sinks": [sink["name"]], **group}
        return {
            "watch_groups": [watched],
            "sinks": [sink],
            "state": {"dir": os.fspath(self._state), "retain": self._retain},
            "http": {"listen": "127.0.0.1:0", "admin_token": _TOKEN},
            "shutdown_timeout": "60s",
        }

    def _heap(self) -> None:
        """Many files that are new, or changed."""
        text = "x" * self._random.randint(1, 1000)
        self._trees.write(*(f"heap/{number % _DIRECTORIES}/{number}" for number in range(_HEAP)), text=text)

    # -- what came

    def _check_left(self) -> None:
        """What the dead agent believes to be delivered has been; what was delivered it has recorded."""
        left = Left.read(self._state)
        if left is None:
            return
        if self._highest() > left.end:
            self._wrong.append(f"published, not recorded: {self._highest()} came, {left.end} is the last")
        position = left.watermarks.get(f"sink{len(self._witnesses)}", ("", 0))
        # A sink that is new begins at the end of the stream, and waits there for the next epoch.
        if self._witnesses[-1].all and position[1] and not self._came(position, LEFT_SECONDS):
            self._wrong.append(f"watermark ahead: {position}, of which {self._highest()} came")

    def _highest(self) -> Position:
        return self._witnesses[-1].look()

    def _came(self, position: Position, within: float = ARRIVAL_SECONDS) -> bool:
        try:
            return eventually(lambda: self._highest() >= position, within=within, poll=0.02)
        except AssertionError:
            return False

    def _wait_for_all(self) -> None:
        left = Left.read(self._state)
        assert left is not None
        if not self._came(left.end):
            self._wrong.append(f"recorded, never delivered: {left.end} is the last, {self._highest()} came")
