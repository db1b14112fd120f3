"""One run: writers, logrotate and an agent in one directory, and what came of it."""

from __future__ import annotations

import gzip
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.agent.logs import HTTP, is_over
from tests.agent.process import AgentProcess
from tests.rotation.places import SINK, Place
from tests.rotation.rsyslog import Rsyslog
from tests.rotation.usage import cpu_seconds, peak_bytes
from tests.waiting import eventually

LOGROTATE = shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin:/bin")

MODES = {
    "create": "nocompress\n create\n",
    "dateext": "nocompress\n create\n dateext\n dateformat -%Y%m%d-%s\n",
    "delaycompress": "compress\n delaycompress\n create\n",
    "compress": "compress\n nodelaycompress\n create\n",
    "copytruncate": "nocompress\n copytruncate\n",
}
"""How logrotate rotates, by the words of its configuration."""

_END_SECONDS = 900.0
_LINE = re.compile(r" ?(w\d+) (\d+) x*\n?\Z")


@dataclass
class Plan:
    """
    Args:
        lines: of all writers together, at least: they go on until all kills and rotations have happened.
        kills: of the agent.
        rotate_every: seconds.
        rotations: how many at least.
        rate: lines a second of all writers together.
        down: seconds that the agent stays dead, at the most.
    """

    mode: str
    lines: int
    kills: int
    writers: int = 5
    rotate_every: float = 1.0
    rate: float = 20_000.0
    down: float = 1.0
    seed: int = 0
    rotations: int = 0


@dataclass
class Outcome:
    """
    Args:
        lines: that each writer wrote.
        missing, doubled, disordered: lines.
        torn: entries that are no line of any writer.
        left: lines that are in some file, compressed or not, and did not arrive.
        left_bytes: the length of the lines that are left.
        lost_bytes: as ``log.truncated`` tells.
        counted_bytes: as ``log_bytes_lost_total`` says, all lives together; one that was killed before it
            answered counts nothing.
        cpu: seconds of the agent, all its lives together; about, for what is used while it dies is not seen.
        peak: bytes of memory of its biggest life.
        written, seconds: from the start until the last line was written, and until it had arrived.
    """

    rotations: int = 0
    kills: int = 0
    lines: dict[str, int] = field(default_factory=dict)
    entries: int = 0
    missing: int = 0
    doubled: int = 0
    disordered: int = 0
    torn: int = 0
    left: int = 0
    left_bytes: int = 0
    lost_bytes: int = 0
    counted_bytes: int = 0
    cpu: float = 0.0
    peak: int = 0
    written: float = 0.0
    seconds: float = 0.0
    holes: list[tuple[str, int, int]] = field(default_factory=list)


def run(plan: Plan, directory: Path, place: Place, peer: Rsyslog | None = None) -> Outcome:
    """
    The agent, and beside it a peer that is killed at the same moments.

    Raises: AssertionError, the agent does not come to an end.

    Args:
        directory: for the logs and the state.
        place: where it delivers; nothing has arrived there.
    """
    logs = directory / "logs"
    logs.mkdir(mode=0o755)
    agent_directory = directory / "agent"
    agent_directory.mkdir()
    outcome, began = Outcome(), time.monotonic()
    with AgentProcess(agent_directory, _config(logs, place, directory / "state")) as agent:
        agent.start()
        if peer is not None:
            peer.start()
        with _rotating(plan, directory, outcome):
            writers = _writers(plan, logs / "app.log")
            _kill(plan, agent, peer, outcome)
            eventually(lambda: outcome.rotations >= plan.rotations, within=_END_SECONDS, what="the rotations")
            outcome.lines = {name: _ended(writer) for name, writer in writers.items()}
            outcome.written = time.monotonic() - began
        eventually(lambda: _caught_up(agent), within=_END_SECONDS, what="everything is read and delivered")
        _note_usage(agent, outcome)
        agent.stop()
    outcome.seconds = time.monotonic() - began
    if peer is not None:
        peer.settle()
        peer.end(signal.SIGTERM)
    outcome.lost_bytes = place.lost_bytes()
    arrived = audit(outcome.lines, place.messages(), outcome)
    _witness(logs, arrived, outcome)
    return outcome


def _config(logs: Path, place: Place, state: Path) -> dict[str, object]:
    return {
        "watch_groups": [
            {
                "name": "g",
                "paths": [str(logs)],
                "lines": {"files": ["*.log"], "start_at": "beginning"},
                "sinks": [SINK],
            }
        ],
        "sinks": [place.sink],
        "state": {"dir": str(state)},
        "http": HTTP,
    }


def _writers(plan: Plan, file: Path) -> dict[str, subprocess.Popen[bytes]]:
    count, rate = plan.lines // plan.writers, plan.rate / plan.writers
    return {
        name: subprocess.Popen(
            [sys.executable, "-m", "tests.rotation.writer", str(file), name, str(count), str(rate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in (f"w{number}" for number in range(plan.writers))
    }


def _ended(writer: subprocess.Popen[bytes]) -> int:
    """Let it come to its end; how many lines it wrote."""
    told, _ = writer.communicate(timeout=_END_SECONDS)
    assert writer.returncode == 0
    return int(told)


@contextmanager
def _rotating(plan: Plan, directory: Path, outcome: Outcome) -> Iterator[None]:
    """logrotate, again and again, on a thread of this process."""
    assert LOGROTATE is not None
    config, ended = directory / "logrotate.conf", threading.Event()
    config.write_text(
        f"{directory}/logs/app.log {{\n rotate 10000\n missingok\n notifempty\n {MODES[plan.mode]}}}\n"
    )
    config.chmod(0o644)
    command = [LOGROTATE, "-f", "-s", str(directory / "logrotate.state"), str(config)]
    failures: list[str] = []

    def rotate() -> None:
        while not ended.wait(plan.rotate_every):
            done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
            if done.returncode:
                failures.append(done.stderr)
            # One that found no log yet, or an empty one, was none.
            outcome.rotations = sum(1 for _ in (directory / "logs").glob("app.log?*"))

    thread = threading.Thread(target=rotate)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert not failures, failures[0]


def _kill(plan: Plan, agent: AgentProcess, peer: Rsyslog | None, outcome: Outcome) -> None:
    """Kill it at moments spread over the time that the writers need."""
    chance = random.Random(plan.seed)
    pause = max(0.0, plan.lines / plan.rate / (plan.kills + 1) - plan.down / 2)
    for _ in range(plan.kills):
        time.sleep(chance.uniform(0.5, 1.5) * pause)
        _note_usage(agent, outcome)
        agent.kill()
        if peer is not None:
            peer.end(signal.SIGKILL)
        outcome.kills += 1
        time.sleep(chance.uniform(0.0, plan.down))
        agent.start(ready=False)
        if peer is not None:
            peer.start()


def _note_usage(agent: AgentProcess, outcome: Outcome) -> None:
    """What it used and counted until now, before its life ends."""
    outcome.cpu += cpu_seconds(agent.pid)
    outcome.peak = max(outcome.peak, peak_bytes(agent.pid))
    if agent.listens:
        outcome.counted_bytes += int(agent.metric("log_bytes_lost_total"))


def _caught_up(agent: AgentProcess) -> bool:
    return is_over(agent, SINK) and agent.metric("log_lag_bytes") == 0


def audit(written: Mapping[str, int], messages: Iterable[str], outcome: Outcome) -> dict[str, list[int]]:
    """Compare what arrived with what was written; the numbers of each writer, in their order."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for message in messages:
        outcome.entries += 1
        found = _LINE.match(message)
        if found is None:
            outcome.torn += 1
        else:
            numbers[found[1]].append(int(found[2]))
    for name, count in written.items():
        _audit_one(name, numbers[name], count, outcome)
    return numbers


def _witness(logs: Path, arrived: dict[str, list[int]], outcome: Outcome) -> None:
    """What the files hold, all of them, that did not arrive: for whatever reason, it was there to be read."""
    known = {name: set(numbers) for name, numbers in arrived.items()}
    for file in logs.iterdir():
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            for line in stream:
                found = _LINE.match(line.lstrip(b"\0").decode(errors="replace"))
                if found is None or int(found[2]) not in known.get(found[1], ()):
                    outcome.left += 1
                    outcome.left_bytes += len(line)


def _audit_one(name: str, numbers: list[int], count: int, outcome: Outcome) -> None:
    outcome.doubled += len(numbers) - len(set(numbers))
    outcome.missing += count - len(set(numbers))
    last = 0
    for number in numbers:
        if number < last:
            outcome.disordered += 1
        elif number != last + 1:
            outcome.holes.append((name, last + 1, number - 1))
        last = max(last, number)
    if last < count:
        outcome.holes.append((name, last + 1, count))
