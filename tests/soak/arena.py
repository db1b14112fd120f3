"""Everything that takes part in a campaign, and what really happened to it."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.agent.process import AgentProcess
from tests.soak import clock
from tests.soak.broker import Far
from tests.soak.ground import Ground
from tests.soak.oracle import Oracle
from tests.soak.reader import Reader
from tests.soak.work import Work

GROUP: Final = "g"
SINK: Final = "sink"

_PROJECT: Final = Path(__file__).parents[2]
_JOURNAL: Final = "24MiB"
_END_SECONDS: Final = 90.0
_READY_SECONDS: Final = 30.0


class Violation(Exception):
    """A promise was broken; in words."""


class Arena:
    """
    Agent, broker, ground, work, reader and oracle of one campaign.

    Args:
        scratch: for the agent's configuration and log, and for what the reader writes.
        chance: the only source of chance; changed at every step.

    Attributes:
        happened: how often each fault really happened.
        no_clock: why the agent's clock cannot jump; empty where it can.
        state_is_full: whether the agent may have to end for want of space.
    """

    def __init__(self, scratch: Path, ground: Ground, far: Far, seed: int) -> None:
        self.ground = ground
        self.far = far
        self.chance = random.Random(seed)
        self.happened: Counter[str] = Counter()
        self.state_is_full = False
        self.oracle = Oracle()
        self.reader: Reader = far.reader(self.oracle.take, scratch)
        self.work = Work(ground.root / "work", ground.outside, ground.root / "filler", seed)
        self._expected: list[tuple[str, Callable[[], int], int]] = []
        self.no_clock = far.bad_with_clocks or clock.missing()
        self._clock = None if self.no_clock else clock.Clock(scratch / "clock")
        self._polls = 0
        self._log_read = 0
        self.agent = AgentProcess(scratch, self._config(), prefix=ground.prefix)
        # Whoever enters a mount namespace is at its top: the checkout has to be found otherwise.
        self.agent.environment["PYTHONPATH"] = os.fspath(_PROJECT)
        if self._clock is not None:
            self.agent.patch = clock.PATCH
            self.agent.environment |= self._clock.environment

    def close(self) -> None:
        """End everything that it has started itself."""
        self.agent.kill()
        self._sweep()
        self.work.__exit__(None, None, None)
        self.reader.close()

    # -- what really happened

    @property
    def broker_faults(self) -> int:
        """Of every kind."""
        return sum(count for name, count in self.happened.items() if name.startswith("broker: "))

    def expect(self, fault: str, count: Callable[[], int]) -> None:
        """A fault begins, which has happened if the stream has more of something when it is still again."""
        self._expected.append((fault, count, count()))

    def count_expected(self) -> None:
        """The stream has told everything."""
        for fault, count, before in self._expected:
            self.happened[fault] += count() > before
        self._expected.clear()

    # -- the agent

    def live(self) -> None:
        """
        See that the agent runs, and start it where it could not for want of space.

        Raises: Violation, it has ended by itself.
        """
        if self.agent.alive:
            return
        code = self.agent.ended(0)
        if not self.state_is_full:
            raise Violation(f"the agent has ended by itself, with {code}")
        self._sweep()
        self.happened["starts refused by a full disk"] += 1
        self.agent.start(ready=False)

    def answers(self, watching: bool = False) -> bool:
        """Wait until the agent shows its group, or even has watched everything; gives up after a while."""
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            self.live()
            group = self.group()
            if group is not None and (not watching or (group["watches"] and group["state"] == "running")):
                return True
            self.pause(0.1, 0.1)
        return False

    def ask(self, question: Callable[[], Any]) -> Any:
        """What the agent answers; None where it does not now."""
        try:
            return question()
        except (OSError, AssertionError, ValueError):
            return None

    def group(self) -> dict[str, Any] | None:
        """The status of the group; None where the agent does not answer, or shows none yet."""
        status = self.ask(self.agent.status) if self.agent.alive else None
        return status["groups"][0] if status is not None and status["groups"] else None

    def overflows(self) -> float | None:
        """Of the kernel's queue in this life of the agent, as it counts; None where it does not answer."""
        found: float | None = self.ask(lambda: self.agent.metric("kernel_queue_overflows_total"))
        return found

    def end_agent(self, number: signal.Signals, wanted: int) -> bool:
        """
        Send a signal that ends it. Returns whether it ended in the way that was wanted.

        Raises: Violation, it had ended before, or did otherwise.
        """
        if not self.agent.alive:
            return False
        self.agent.signal(number)
        code = self.agent.ended(_END_SECONDS)
        self._sweep()
        if code != wanted and not self.state_is_full:
            raise Violation(f"exit code {code} after {number.name}, not {wanted}")
        return code == wanted

    def reload(self) -> None:
        """Change something of the configuration and have it read: the agent compares everything."""
        self._polls += 1
        self.agent.configure(self._config())
        self.agent.signal(signal.SIGHUP)

    def log_since(self, at: int) -> str:
        """What the agent has written since it had written so many characters."""
        return self.agent.log[at:]

    def look_at_log(self) -> None:
        """Raises: Violation, there is a traceback in what was written since the last look."""
        log = self.agent.log
        new, self._log_read = log[self._log_read :], len(log)
        if "Traceback" in new:
            at = new.index("Traceback")
            raise Violation(f"a traceback in the log: {new[at : at + 3000]}")

    # -- time

    def pause(self, least: float, most: float) -> None:
        """Let everything go on for a while: the pace of the campaign, no wait for anything."""
        time.sleep(self.chance.uniform(least, most))

    def set_clock(self, ahead: float) -> None:
        """The agent's clock differs by so many seconds from now on; its monotonic one goes on."""
        if self._clock is not None:
            self._clock.set(ahead)
            self.oracle.expect_clock(ahead)

    def _sweep(self) -> None:
        if self._clock is not None:
            self._clock.sweep(self.agent.pid)

    def _config(self) -> dict[str, Any]:
        group = {
            "name": GROUP,
            "paths": [os.fspath(self.ground.watched)],
            "exclude": ["/filler/*"],
            "poll_interval": f"{1000 + self._polls % 2}ms",
            "resync_interval": "0s",
            "sinks": [SINK],
        }
        state = {"dir": os.fspath(self.ground.state), "max_bytes": _JOURNAL}
        sinks = [self.far.sink()]
        return {"watch_groups": [group], "sinks": sinks, "state": state, "shutdown_timeout": "4s"}
