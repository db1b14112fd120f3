"""The alerts: what promtool says, what they speak of, and whom they send an operator to."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from typing import Any

import pytest
import yaml

from inotify_bridge.metrics import CATALOGUE
from tests.agent.embedded import Embedded
from tests.agent.trees import Trees
from tests.monitoring.following import RUNBOOK
from tests.monitoring.prometheus import program
from tests.monitoring.rules import ALERTS, MONITORING, PREFIX, Alert, alerts, quickened, rules
from tests.waiting import eventually

TESTS = MONITORING / "alerts_test.yml"
NOT_OURS = {"up", "process_start_time_seconds"}
PARTS = ["Means", "Look", "Do"]

_HISTOGRAM = ("_count", "_sum", "_bucket")
_MATCHER = r'(\w+)(=~|!~|!=|=)"([^"]*)"'

named = pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)


def labels_of(metric: str) -> dict[str, tuple[str, ...]] | None:
    """Labels of a metric of the catalogue with their values (none: any); None: there is no such metric."""
    for one in CATALOGUE:
        names = [one.exposed_name]
        if one.kind == "histogram":
            names = [one.exposed_name + end for end in _HISTOGRAM]
        if metric in names:
            return {**dict.fromkeys(one.label_names, ()), **one.labels, "job": (), "instance": ()}
    return None


def metrics_in(expr: str) -> set[str]:
    """Names of metrics in an expression."""
    found = set(re.findall(r"inotify_bridge_\w+", expr))
    return found | {name for name in NOT_OURS if re.search(rf"\b{name}\b", expr)}


@cache
def blocks() -> list[dict[str, Any]]:
    """What promtool's file holds."""
    found: list[dict[str, Any]] = yaml.safe_load(TESTS.read_text())["tests"]
    return found


def unit_tests(alert: Alert) -> list[dict[str, Any]]:
    """The blocks that look at an alert."""
    return [
        block
        for block in blocks()
        if {check["alertname"] for check in block["alert_rule_test"]} == {PREFIX + alert.name}
    ]


def sections() -> dict[str, str]:
    """The runbook's sections by their headings."""
    parts = re.split(r"^## (.*)$", RUNBOOK.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.timeout(600)  # it computes for seconds, with every processor that there is
@pytest.mark.parametrize("arguments", [["check", "rules", ALERTS], ["test", "rules", TESTS]], ids=str)
def test_promtool(arguments: list[str]) -> None:
    """promtool finds nothing wrong in the rules, and every unit test of them passes."""
    done = subprocess.run(
        [program("promtool"), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@named
def test_each_alert_fires_and_does_not(alert: Alert) -> None:
    """promtool's file has series at which an alert fires, and others of its metrics at which it does not."""
    fires: list[dict[str, Any]] = []
    silent: list[dict[str, Any]] = []
    for block in unit_tests(alert):
        answers = {bool(check["exp_alerts"]) for check in block["alert_rule_test"]}
        (fires if True in answers else silent).append(block)
    assert fires
    assert silent
    for block in fires + silent:
        given = {re.split(r"[{ ]", series["series"])[0] for series in block["input_series"]}
        assert given & metrics_in(alert.expr), block["name"]


@named
def test_metrics_are_of_the_catalogue(alert: Alert) -> None:
    """An alert asks for metrics, labels and values of labels that the agent has."""
    assert metrics_in(alert.expr)
    known: set[str] = set()
    for name in metrics_in(alert.expr) - NOT_OURS:
        labels = labels_of(name)
        assert labels is not None, name
        known |= labels.keys()
        for matchers in re.findall(rf"{name}{{([^}}]*)}}", alert.expr):
            for label, _, value in re.findall(_MATCHER, matchers):
                assert set(value.split("|")) <= set(labels[label]), (name, label)
    joined = re.findall(r"(?:on|by) \(([^)]*)\)", alert.expr)
    assert {label for group in joined for label in re.findall(r"\w+", group)} <= known | {"job", "instance"}


@named
def test_an_alert_says_what_it_is(alert: Alert) -> None:
    """Severity is one of three, the summary a few words; description and link name agent and section."""
    assert alert.severity in {"critical", "warning", "info"}
    assert alert.annotations.keys() == {"summary", "description", "runbook_url"}
    assert len(alert.annotations["summary"]) < 60
    assert alert.annotations["runbook_url"] == f"docs/runbook.md#{alert.name.lower()}"
    if alert.name != "AgentAbsent":
        assert "$labels.instance" in alert.annotations["description"]


def test_names() -> None:
    """Each name begins with the project's and is there once."""
    found = [rule["alert"] for rule in rules()]
    assert all(re.fullmatch(rf"{PREFIX}[A-Za-z]+", name) for name in found)
    assert len(set(found)) == len(found)


def test_the_runbook_has_each_alert() -> None:
    """Each alert has a section, in their order, that says what it means, what to look at and what to do."""
    found = sections()
    with_parts = [name for name, text in found.items() if re.search(r"^\*\*Do\.\*\*", text, re.MULTILINE)]
    assert with_parts == [alert.name for alert in alerts()]
    for name in with_parts:
        assert re.findall(r"^\*\*(\w+)\.\*\*", found[name], re.MULTILINE)[:3] == PARTS, name


def test_the_runbook_names_what_there_is() -> None:
    """Every metric in the runbook is one that the agent has."""
    found = set(re.findall(r"inotify_bridge_\w+", RUNBOOK.read_text()))
    whole = {metric.exposed_name for metric in CATALOGUE}
    assert {name for name in found - whole if labels_of(name) is None} == set()


def test_quickened_changes_times_alone() -> None:
    """What a test loads in place of the file differs from it in `for` and in ranges."""
    before, after = ALERTS.read_text().splitlines(), quickened(ALERTS.read_text()).splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed
    for old, new in changed:
        assert re.sub(r"\[\w+\]|for: \w+", "", old) == re.sub(r"\[\w+\]|for: \w+", "", new)


def test_a_recorder_that_waits_for_room_turns(trees: Trees) -> None:
    """While the journal is full the recorder is seen to turn: nobody calls it stalled."""
    with Embedded(trees, state={"max_bytes": "1MiB"}) as embedded:
        embedded.broker.freeze()
        trees.files("late", 1500)
        eventually(lambda: embedded.metric("outbox_blocked") == 1, what="a full journal")
        turned = "recorder_last_loop_timestamp_seconds"
        before = embedded.metric(turned)
        eventually(lambda: embedded.metric(turned) > before + 0.1, what="it turns")
        embedded.broker.thaw()
        embedded.settled()


def test_a_lost_root_is_counted(trees: Trees) -> None:
    """`roots_lost` is 1 while the root is away."""
    with Embedded(trees) as embedded:
        assert embedded.metric("roots_lost") == 0
        away = trees.root.rename(trees.outside / "root")
        eventually(lambda: embedded.metric("roots_lost") == 1, what="it is lost")
        away.rename(trees.root)
        eventually(lambda: embedded.metric("roots_lost") == 0, what="it is back")
