"""The table of operations and events, row by row, on the real kernel."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.kernel.conftest import on
from tests.kernel.embedded import Embedded
from tests.kernel.script import Script
from tests.kernel.stream import Stream
from tests.kernel.watching import Ground, Watching

Case = dict[str, Any]


def _cases() -> list[Case]:
    rows = yaml.safe_load(Path(__file__).with_name("operations.yaml").read_text())
    return [{"options": {}, "before": [], **case} for row in rows for case in row["cases"]]


CASES = _cases()


def _modes(case: Case) -> tuple[str, ...]:
    return ("stepwise",) if "resync" in case["do"] else ("running", "lagging", "stepwise")


def _slug(case: Case) -> str:
    return re.sub(r"[^a-z0-9]+", "-", case["name"].lower())


class Run(NamedTuple):
    """What a run of all cases with the same options gave: the snapshot, and what came after it."""

    snapshot: Stream
    after: Stream


class Table:
    """Runs all cases that share their options with one agent, in one of the modes."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._runs: list[tuple[object, str, Run]] = []

    def run(self, options: object, mode: str) -> Run:
        """The run that cases with these options belong to; done at the first call."""
        for known, in_mode, run in self._runs:
            if (known, in_mode) == (options, mode):
                return run
        ground = self._place()
        cases = [case for case in CASES if case["options"] == options and mode in _modes(case)]
        stream = self._stream(mode, ground, [(case, self._script(case, ground)) for case in cases])
        stream.replay()
        run = Run(stream.until("resync_completed"), stream.after("resync_completed"))
        self._runs.append((options, mode, run))
        return run

    def _place(self) -> Ground:
        number = len(os.listdir(self._ground.watched))
        parts = [part / str(number) for part in self._ground]
        for part in parts:
            part.mkdir()
        return Ground(*parts)

    @staticmethod
    def _script(case: Case, ground: Ground) -> Script:
        inside, outside = ground.watched / _slug(case), ground.outside / _slug(case)
        inside.mkdir()
        outside.mkdir()
        script = Script(inside, outside)
        for line in case["before"]:
            script.run(line)
        return script

    def _stream(self, mode: str, ground: Ground, scripts: list[tuple[Case, Script]]) -> Stream:
        options = scripts[0][0]["options"]
        if mode == "stepwise":
            return self._stepwise(ground, scripts, options)
        with Watching.watch(ground, *_words(options)) as watching:
            with watching.working(mode == "lagging"):
                for case, script in scripts:
                    for line in case["do"]:
                        script.run(line)
            return watching.finish()

    @staticmethod
    def _stepwise(ground: Ground, scripts: list[tuple[Case, Script]], options: Any) -> Stream:
        with Embedded(ground, **options) as agent:
            for case, script in scripts:
                for line in case["do"]:
                    if line == "resync":
                        agent.resync(os.fsencode(_slug(case)))
                    else:
                        script.run(line)
                        agent.settle()
            return agent.seen()


def _words(options: dict[str, list[str]]) -> Iterator[str]:
    """As the options of ``watch``: kinds in one word, patterns one by one."""
    for name, values in options.items():
        for value in [",".join(values)] if name == "kinds" else values:
            yield f"--{name}"
            yield value


@pytest.fixture(scope="module", params=["disk", "memory"])
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    scratch = tmp_path_factory.mktemp("table")
    with on(request.param, scratch) as ground:
        yield Table(ground)


@pytest.mark.parametrize(
    ("case", "mode"),
    [
        pytest.param(case, mode, id=f"{_slug(case)}-{mode}")
        for case in CASES
        for mode in _modes(case)
        if case.get("needs") != "root" or os.geteuid() == 0
    ],
)
def test_operation_gives_exactly_its_events(table: Table, case: Case, mode: str) -> None:
    """What is done to the tree is told as the contract's table says: these events, and no others."""
    run = table.run(case["options"], mode)
    told = run.after.told(f"{_slug(case)}/")
    expected = list(case["events"])
    if case.get("race") and mode == "running":
        told = list(dict.fromkeys(told))
    if case.get("unordered"):
        told, expected = sorted(told), sorted(expected)
    assert told == expected
    if "snapshot" in case:
        assert run.snapshot.told(f"{_slug(case)}/") == case["snapshot"]
