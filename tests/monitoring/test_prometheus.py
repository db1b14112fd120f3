"""Boards, rules and docs/monitoring.md against a real Prometheus that scrapes a real agent at work."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.documents import blocks
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.reading import NAMES, Panel, expanded, panels, variables
from tests.monitoring.site import Site
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(600)  # each wait has a minute or more, and most tests have several

ROOT = Path(__file__).parents[2]
RULES = ROOT / "monitoring" / "recording.yml"
DOCUMENT = (ROOT / "docs" / "monitoring.md").read_text()

# What Grafana puts in by itself. A machine at its limit misses scrapes, so that the window is a wide one.
TIMES = {"__rate_interval": "10s", "__range": "300s"}
EVERYTHING = dict.fromkeys(("job", "instance", "watch_group", "sink"), ".+") | TIMES

# Panels that show nothing but 0 where all is well, and whose condition would need a broken disk, the limit of
# the whole machine, or minutes: 0 is what they have to show here.
QUIET = {
    "Agents that fell silent",
    "Groups out of step",
    "Roots lost",
    "Threads that stand still",
    "Groups that cannot write",
    "Can write its state",
    "Room in the outbox",
    "Kernel queue overflows",
    "Restarts after a failure",
    "Waiting in the kernel's queue",
    "Capture queue filled",
    "Watches that could not be had, by reason",
    "Commits that failed, by reason",
    "Bytes behind the end of the files",
    "Bytes lost",
    "In flight",
    "Fills the outbox",
}
# These count what may have happened before the first scrape, or just now.
EITHER = {
    "Epochs begun, by reason",
    "Connections made",
    "Longest standstill",
    "Messages set aside",
    "Set aside",
}


INSTANCE = "files-1.example.com:10477"


class Monitored(NamedTuple):
    """The agent, and who looks at it."""

    site: Site
    prometheus: Prometheus


@pytest.fixture(scope="module")
def monitored() -> Iterator[Monitored]:
    """One agent at work with all its trouble, and one Prometheus that scrapes it, and itself."""
    above = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="inotify-bridge-", dir=above) as name:
        directory = Path(name)
        site = Site(directory)
        (directory / "prometheus").mkdir()
        with Prometheus(directory / "prometheus", RULES.read_text()) as prometheus:
            prometheus.scrape({INSTANCE: site.target, "no-agent": prometheus.address})
            try:
                site.agent.start()
                up = f'up{{instance="{INSTANCE}"}} == 1'
                eventually(lambda: prometheus.query(up), within=60, what="a first scrape")
                site.work()
                site.trouble()
                yield Monitored(site, prometheus)
            finally:
                site.agent.kill()


def at_work(monitored: Monitored, missing: Callable[[], list[str]]) -> None:
    """The agent goes on working until nothing is missing."""

    def nothing() -> bool:
        monitored.site.work()
        return not missing()

    try:
        eventually(nothing, within=60, poll=0.5)
    except AssertionError:
        assert missing() == []


def silent(prometheus: Prometheus, name: str, values: Mapping[str, str]) -> list[str]:
    """The queries of a board that give no finite value at all."""
    return [
        f"{panel.title}: {query}"
        for panel in panels(name)
        for query, instant in panel.queries()
        if not prometheus.values(expanded(query, values), instant=instant)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_no_panel_is_empty(monitored: Monitored, name: str) -> None:
    """Every query of every panel gives a number, whatever is chosen: all of it, or names one by one."""
    at_work(monitored, lambda: silent(monitored.prometheus, name, EVERYTHING))
    target = re.escape(INSTANCE).replace("\\", r"\\")  # as Grafana writes it into a string
    chosen = {
        "job": "inotify-bridge",
        "instance": target,
        "watch_group": "(files|logs)",
        "sink": "(journal|small)",
    }
    at_work(monitored, lambda: silent(monitored.prometheus, name, chosen | TIMES))


@pytest.mark.parametrize("name", NAMES)
def test_panels_show_what_happens(monitored: Monitored, name: str) -> None:
    """A panel shows more than 0 where its condition was made."""

    def peak(panel: Panel) -> float:
        return max(
            (
                value
                for query, instant in panel.queries()
                for _, values in monitored.prometheus.values(expanded(query, EVERYTHING), instant=instant)
                for value in values
            ),
            default=0.0,
        )

    loud = [panel for panel in panels(name) if panel.title not in QUIET | EITHER]
    at_work(monitored, lambda: [panel.title for panel in loud if peak(panel) <= 0])


@pytest.mark.parametrize("name", NAMES)
def test_panels_show_agents_alone(monitored: Monitored, name: str) -> None:
    """With every job chosen, no series of a panel comes of a process that is no agent."""
    found = [
        (panel.title, labels)
        for panel in panels(name)
        for query, instant in panel.queries()
        for labels, _ in monitored.prometheus.values(expanded(query, EVERYTHING), instant=instant)
        if labels.get("instance", INSTANCE) != INSTANCE
    ]
    assert found == []


@pytest.mark.parametrize("name", NAMES)
def test_variables_have_values(monitored: Monitored, name: str) -> None:
    """Every variable of a board offers what there is, and nothing else."""
    there = {
        "job": ["inotify-bridge"],
        "instance": [INSTANCE],
        "watch_group": ["blind", "files", "logs"],
        "sink": ["away", "journal", "small", "table"],
    }
    for variable, definition in variables(name).items():
        if definition["type"] == "query":
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", definition["query"])
            assert asked is not None
            assert asked[2] == variable
            offered = partial(monitored.prometheus.labels, expanded(asked[1], EVERYTHING), variable)
            wanted = there[variable]
            eventually(lambda offered=offered, wanted=wanted: offered() == wanted, within=60, what=variable)  # type: ignore[misc]


def test_rules_record(monitored: Monitored) -> None:
    """Every recording rule gives series of agents."""
    names = [
        rule["record"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]
    at_work(
        monitored, lambda: [name for name in names if not monitored.prometheus.values(name, instant=True)]
    )


def test_queries_of_the_document(monitored: Monitored) -> None:
    """Every query of docs/monitoring.md gives a number."""
    queries = [
        re.sub(r"^#.*\n", "", query, flags=re.MULTILINE)
        for block in blocks(DOCUMENT)
        if block.language == "promql"
        for query in block.text.split("\n\n")
    ]
    assert len(queries) > 10
    at_work(
        monitored,
        lambda: [query for query in queries if not monitored.prometheus.values(query, instant=True)],
    )
