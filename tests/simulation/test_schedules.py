"""Schedules: whatever happens in whatever order, whoever replays the stream holds the tree."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inotify_bridge.capture.model import BATCH_BYTES
from tests.mutants import SCHEDULED, Mutant, Patch
from tests.simulation.__main__ import Sum, run
from tests.simulation.schedule import Schedule, Setting
from tests.simulation.tree import Tree
from tests.storm.operations import ACTIONS, Mix, Operations

SCHEDULES = 2000

SETTINGS: st.SearchStrategy[Setting] = st.builds(
    Setting,
    operations=st.integers(1, 60),
    before=st.integers(0, 30),
    lives=st.integers(1, 3),
    reuse=st.booleans(),
    queue=st.sampled_from((16384, 24, 10, 4, 1)),
    limit=st.sampled_from((1 << 30, 1 << 30, 5, 2)),
    stays=st.booleans(),
    read=st.sampled_from((272, 400, 1 << 16)),
    reads=st.floats(0.02, 0.4),
    work=st.floats(0, 0.6),
    split=st.floats(0, 0.6),
    fault=st.sampled_from((0.0, 0.0, 0.03)),
    modified=st.booleans(),
    denials=st.booleans(),
    root=st.booleans(),
    batch=st.sampled_from((BATCH_BYTES, BATCH_BYTES, 1, 2_000, 8_000)),
    favoured=st.sampled_from(("", *ACTIONS)),
)


@pytest.fixture(scope="module")
def total() -> Sum:
    return run(range(SCHEDULES))


def test_every_schedule_converges(total: Sum) -> None:
    """
    Thousands of seeds: no difference from the tree at the end, and nothing on the way that cannot be.

    That is: nothing created that is there, nothing deleted that is not, no full directory deleted, no bracket
    of a resync left open.
    """
    assert total.failed == ()


def test_the_schedules_met_what_they_are_for(total: Sum) -> None:
    """A run counts only if queues overflowed and changes were told."""
    assert total.overflows > 100
    assert total.events > 15 * total.schedules
    assert total.changes > 10 * total.schedules


@settings(max_examples=300, deadline=None, database=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
@given(seed=st.integers(0, 1 << 32), setting=SETTINGS)
def test_every_setting_converges(seed: int, setting: Setting) -> None:
    """The same for settings at the edges of what a seed draws."""
    assert Schedule(seed, setting).run().problems == []


def test_the_same_seed_gives_the_same_run() -> None:
    """Operations, records, batches and events are the same, line by line."""
    for seed in range(50):
        traces: list[list[str]] = [[], []]
        for trace in traces:
            Schedule(seed, trace=trace).run()
        assert traces[0] == traces[1]


@pytest.mark.parametrize("mutant", SCHEDULED, ids=lambda mutant: mutant.name)
def test_the_schedules_catch_each_mutant(mutant: Mutant) -> None:
    """With one thought of the capture taken out some schedule fails that does not fail otherwise."""
    assert any(_tells(seed, mutant) for seed in range(mutant.schedules))


def _tells(seed: int, mutant: Mutant) -> bool:
    with Patch() as patch:
        mutant.apply(patch)
        failed = Schedule(seed).run().problems
    return bool(failed) and not Schedule(seed).run().problems


def test_a_storm_holds_every_kind_of_operation() -> None:
    """The generator asks for nothing impossible, and leaves nothing out."""
    tree = Tree()
    tree.mkdir(b"r", 0o755)
    tree.mkdir(b"o", 0o755)
    operations, seen = Operations(tree, random.Random(1), Mix()), set[Any]()
    for _ in range(3000):
        for operation in operations.some():
            tree.apply(operation)
            seen.add(operation[0])
    assert seen == {name for name, value in vars(Tree).items() if callable(value) and name in _CALLS}


_CALLS = [
    "mkdir",
    "rmdir",
    "unlink",
    "symlink",
    "mknod",
    "link",
    "rename",
    "exchange",
    "open",
    "tmpfile",
    "linkfd",
    "write",
    "close",
    "truncate",
    "chmod",
    "chown",
    "utimes",
]
