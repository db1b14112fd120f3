"""The recording rules: what promtool says of them, and what docs/monitoring.md does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.documents import blocks
from tests.monitoring.prometheus import program

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "monitoring"
RULES = [
    rule
    for group in yaml.safe_load((MONITORING / "recording.yml").read_text())["groups"]
    for rule in group["rules"]
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("arguments", [("check", "recording.yml"), ("test", "recording_test.yml")])
def test_promtool_is_content(arguments: tuple[str, str]) -> None:
    """promtool finds no mistake in the rules, and their unit tests pass."""
    what, file = arguments
    done = subprocess.run(
        [program("promtool"), what, "rules", file],
        cwd=MONITORING,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def test_every_rule_has_a_unit_test() -> None:
    """Each recorded series is asked for in monitoring/recording_test.yml."""
    tests = yaml.safe_load((MONITORING / "recording_test.yml").read_text())["tests"]
    asked = " ".join(each["expr"] for test in tests for each in test["promql_expr_test"])
    assert [rule["record"] for rule in RULES if rule["record"] not in asked] == []


@pytest.mark.parametrize("rule", RULES, ids=[rule["record"] for rule in RULES])
def test_names_say_what_was_done(rule: dict[str, str]) -> None:
    """A recorded name is level:metric:operation, with the metric and the window of its expression."""
    level, metric, operation = rule["record"].split(":")
    assert level in {"instance", "job_type", "watch_group", "sink", "sink_le"}
    assert metric in rule["expr"]
    window = re.search(r"\d+[mh]$", operation)
    assert window is None or f"[{window[0]}]" in rule["expr"] or f"rate{window[0]}" in rule["expr"]


def test_the_document_has_every_rule() -> None:
    """The table of docs/monitoring.md lists every recorded series, and no other."""
    text = (ROOT / "docs" / "monitoring.md").read_text()
    assert re.findall(r"^\| `(\w+:\w+:\w+)` \|", text, re.MULTILINE) == [rule["record"] for rule in RULES]


def test_the_configuration_of_the_document(tmp_path: Path) -> None:
    """What docs/monitoring.md shows of prometheus.yml is a configuration, and names files that there are."""
    text = (ROOT / "docs" / "monitoring.md").read_text()
    (shown,) = [block.text for block in blocks(text) if block.text.startswith("# prometheus.yml\n")]
    file = tmp_path / "prometheus.yml"
    file.write_text(shown)
    subprocess.run(
        [program("promtool"), "check", "config", "--syntax-only", file],
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert "recording.yml" in yaml.safe_load(shown)["rule_files"]
