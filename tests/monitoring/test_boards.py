"""What holds for every board: the rules of Grafana's dashboard-linter, and some of our own."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from inotify_bridge.metrics import CATALOGUE
from monitoring.boards import boards
from monitoring.boards.series import PREFIX
from tests.monitoring.reading import DASHBOARDS, NAMES, Panel, board, panels, variables

DOCS = Path(__file__).parents[2] / "docs"
PANELS = [pytest.param(panel, id=f"{name}: {panel.title}") for name in NAMES for panel in panels(name)]
UNITS = {"short", "s", "bytes", "Bps", "eps", "mps", "rowsps", "percentunit", "dateTimeFromNow"}
PROCESS_METRICS = {
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
}
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def test_the_boards_are_what_the_code_makes() -> None:
    """monitoring/dashboards/ holds what `python -m monitoring.boards` writes, and nothing else."""
    committed = {path.name: path.read_text() for path in DASHBOARDS.iterdir()}
    assert committed == dict(boards())
    assert {f"{name}.json" for name in NAMES} == set(committed)


@pytest.mark.parametrize("name", NAMES)
def test_a_board_stands_for_itself(name: str) -> None:
    """A board has a stable identity, is not edited in Grafana, and comes up with a time and a refresh."""
    made = board(name)
    assert made["uid"] == f"inotify-bridge-{name}"
    assert made["title"] == f"inotify-bridge: {name.replace('-', ' ')}"
    assert (made["editable"], made["timezone"], made["refresh"]) == (False, "browser", "30s")
    assert made["time"] == {"from": "now-1h", "to": "now"}
    assert made["description"]
    assert "inotify-bridge" in made["tags"]
    assert not made.get("id")
    (link,) = made["links"]
    assert (link["type"], link["tags"], link["includeVars"], link["keepTime"]) == (
        "dashboards",
        ["inotify-bridge"],
        True,
        True,
    )


@pytest.mark.parametrize("name", NAMES)
def test_variables(name: str) -> None:
    """The data source is chosen, every other variable is a label, can be all, and follows those before it."""
    source, *labels = variables(name).values()
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    names = [variable["name"] for variable in labels]
    assert names == ["job", "instance", "watch_group", "sink"][: len(names)]
    for place, variable in enumerate(labels):
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")
        assert variable["datasource"]["uid"] == "${datasource}"
        assert variable["label"]
        assert variable["refresh"] == 2
        asked = re.findall(r"\$(\w+)", variable["query"])
        assert asked == names[: min(place, 3)] or place == 0


@pytest.mark.parametrize("name", NAMES)
def test_panels_lie_side_by_side(name: str) -> None:
    """No two panels have one number, one lies upon another, or one stands out of the grid."""
    places = [(panel["id"], panel["gridPos"]) for panel in board(name)["panels"]]
    assert len({number for number, _ in places}) == len(places)
    assert all(place["x"] + place["w"] <= 24 for _, place in places)
    overlapping = [(a, b) for a, b in itertools.combinations(places, 2) if _overlap(a[1], b[1])]
    assert overlapping == []


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


@pytest.mark.parametrize("name", NAMES)
def test_titles_are_unique_and_fit(name: str) -> None:
    """No two panels of a board in one section are called alike, and the title of a small one is short."""
    sections: list[list[str]] = []
    for panel in board(name)["panels"]:
        if panel["type"] == "row":
            sections.append([])
        else:
            sections[-1].append(panel["title"])
            assert panel["gridPos"]["w"] > 4 or len(panel["title"]) <= 24, panel["title"]
    assert [titles for titles in sections if len(set(titles)) != len(titles)] == []


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_explains_itself(panel: Panel) -> None:
    """A panel has a title in words, a description with what to do, a unit and a data source by choice."""
    made = panel.definition
    assert re.fullmatch(r"[A-Z9][\w ,%']+", panel.title), "words, not names of metrics"
    assert "**What to do:** " in made["description"]
    assert made["fieldConfig"]["defaults"]["unit"] in UNITS
    assert made["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert made["targets"]
    for target in made["targets"]:
        assert target["datasource"] == made["datasource"]
        assert target["legendFormat"]
    assert len({target["refId"] for target in made["targets"]}) == len(made["targets"])


@pytest.mark.parametrize("panel", PANELS)
def test_a_number_has_a_verdict(panel: Panel) -> None:
    """A figure is coloured by what it means: steps, words, or blue where no value is a bad one."""
    if panel.definition["type"] == "stat":
        defaults = panel.definition["fieldConfig"]["defaults"]
        steps = defaults["thresholds"]["steps"]
        assert len(steps) > 1 or defaults.get("mappings") or steps[0]["color"] == "blue"
        assert steps[0]["value"] is None
        assert [step["value"] for step in steps[1:]] == sorted(step["value"] for step in steps[1:])


def test_the_table_of_groups() -> None:
    """Every query is a column with a title, a unit and a place, and settings are for columns."""
    (table,) = [panel.definition for panel in panels("overview") if panel.definition["type"] == "table"]
    (merge, organize) = table["transformations"]
    assert (merge["id"], organize["id"]) == ("merge", "organize")
    titles = {f"Value #{target['refId']}": target["legendFormat"] for target in table["targets"]}
    labels = {"instance": "Instance", "watch_group": "Watch group"}
    assert organize["options"]["renameByName"] == labels | titles
    assert organize["options"]["indexByName"].keys() == labels.keys() | titles.keys()
    settings = {
        override["matcher"]["options"]: {one["id"] for one in override["properties"]}
        for override in table["fieldConfig"]["overrides"]
    }
    assert settings.keys() == {*titles.values(), "Watch group"}
    assert all("unit" in settings[title] for title in titles.values())
    assert settings["Watch group"] == {"links"}


@pytest.mark.parametrize("panel", PANELS)
def test_queries_follow_the_variables(panel: Panel) -> None:
    """Every series of a query is matched by job and instance, and those of groups and sinks by these."""
    for query, _ in panel.queries():
        for name, matchers in _series(query):
            assert 'job=~"$job", instance=~"$instance"' in matchers, (name, query)
            assert "$" not in re.sub(r'\w+=~"\$\w+"', "", matchers)


@pytest.mark.parametrize("panel", PANELS)
def test_windows_follow_the_scrapes(panel: Panel) -> None:
    """What becomes a line is taken over $__rate_interval, what is one number over the time that is shown."""
    for query, instant in panel.queries():
        windows = re.findall(r"(rate|increase)\([^[]*\[([^\]]+)\]", query)
        allowed = {("rate", "$__rate_interval"), ("increase", "$__range" if instant else "$__rate_interval")}
        assert set(windows) <= allowed, query
        counters = [
            name for name, _ in _series(query) if name.endswith(("_total", "_bucket", "_sum", "_count"))
        ]
        seen = len(re.findall(r"and on \(\w+\) \(sum by", query))
        assert len(windows) == len(counters) - seen, f"a counter is never shown as it is: {query}"


@pytest.mark.parametrize("panel", PANELS)
def test_queries_name_metrics_that_there_are(panel: Panel) -> None:
    """Every metric of a query is in the catalogue, and none is recorded: boards do without rules."""
    known = {PREFIX + metric.name + end for metric in CATALOGUE for end in _SUFFIXES[metric.kind]}
    for query, _ in panel.queries():
        names = {name for name, _ in _series(query)}
        assert names <= known | PROCESS_METRICS | {"up"}
        assert ":" not in re.sub(r'"[^"]*"', "", query)


def _series(query: str) -> list[tuple[str, str]]:
    """Names and matchers of all series in a query; one without matchers has none."""
    found: list[tuple[str, str]] = re.findall(r"\b(\w+)\{([^}]*)\}", query)
    bare: Any = re.findall(rf"\b({PREFIX}\w+|process_\w+)(?![\w{{])", query)
    return found + [(name, "") for name in bare]


def test_all_metrics_that_matter_are_shown() -> None:
    """The boards together show every metric of the catalogue, but the few that are named here."""
    shown = {
        series
        for each in NAMES
        for panel in panels(each)
        for query, _ in panel.queries()
        for series in _names(query)
    }
    left = {
        metric.name
        for metric in CATALOGUE
        if not any(PREFIX + metric.name + end in shown for end in _SUFFIXES[metric.kind])
    }
    assert left == {
        "config_last_reload_success_timestamp_seconds",
        "config_reloads",
        "kernel_queue_limit_events",
        "kernel_reads",
        "notifier_up",
        "recorder_up",
        "sink_parked_events",
        "state_databases_set_aside",
    }


def _names(query: str) -> list[str]:
    return [name for name, _ in _series(query)]


def test_sections_of_documents_exist() -> None:
    """Every section of a document that a description names, or docs/monitoring.md links to, is there."""
    named = {
        (document, section)
        for name in NAMES
        for panel in panels(name)
        for document, section in re.findall(r"docs/([\w.-]+), \*([^*]+)\*", panel.definition["description"])
    }
    assert {document for document, _ in named} == {"runbook.md", "operations.md"}
    assert {(document, section) for document, section in named if section not in _headings(document)} == set()
    linked = re.findall(r"\]\(runbook\.md#(\w+)\)", (DOCS / "monitoring.md").read_text())
    assert linked
    assert set(linked) <= {heading.lower() for heading in _headings("runbook.md")}


def _headings(document: str) -> set[str]:
    return set(re.findall(r"^## (.*)$", (DOCS / document).read_text(), re.MULTILINE))
