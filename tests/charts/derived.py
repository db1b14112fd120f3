"""
What stands in the charts and follows from something else: helm reads nothing outside of a chart, so that the
chart carries copies, and its schema the schema of the configuration. The examples are kept as they render.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from tests.charts.helm import CHARTS, helm, template

BRIDGE, SIDECAR = CHARTS / "inotify-bridge", CHARTS / "inotify-bridge-sidecar"
MONITORING = CHARTS.parent / "monitoring"
AGENT_SCHEMA = CHARTS.parent / "examples" / "config.schema.json"
APPLICATION = SIDECAR / "examples" / "application"


def copies() -> dict[Path, str]:
    """File of a chart to what it must hold."""
    made = {BRIDGE / "templates" / "_sidecar.tpl": (SIDECAR / "templates" / "_sidecar.tpl").read_text()}
    for pattern in ("alerts.yml", "recording.yml", "dashboards/*.json"):
        for source in MONITORING.glob(pattern):
            made[BRIDGE / "files" / source.relative_to(MONITORING)] = source.read_text()
    for chart in (BRIDGE, SIDECAR):
        made[chart / "values.schema.json"] = _schema(chart / "values.schema.json")
    return made


def _schema(path: Path) -> str:
    """The schema of the values, whose definitions are those of the agent's configuration."""
    schema = json.loads(path.read_text())
    agent = json.loads(AGENT_SCHEMA.read_text())
    definitions = agent.pop("$defs")
    config = {key: value for key, value in agent.items() if not key.startswith("$")}
    schema["$defs"] = {"config": config, **definitions}
    return json.dumps(schema, indent=2) + "\n"


def examples() -> list[Path]:
    """The folders of the examples of `inotify-bridge`: values and what they render to."""
    return sorted(path.parent for path in BRIDGE.glob("examples/*/values.yaml"))


def renderings() -> dict[Path, str]:
    """File of a rendered example to what it must hold."""
    made = {example / "rendered.yaml": rendered(example) for example in examples()}
    with tempfile.TemporaryDirectory() as directory:
        made[APPLICATION.with_suffix(".rendered.yaml")] = template(application(Path(directory)))
    return made


def rendered(example: Path) -> str:
    """What the values of an example render to, without alerts and dashboards, which are copies themselves."""
    off = "prometheusRule.enabled=false,dashboards.enabled=false"
    return template(BRIDGE, "--values", example / "values.yaml", "--set", off)


def application(directory: Path) -> Path:
    """The chart of the example application, in a copy that has its dependency, as an operator builds it."""
    for source in (SIDECAR, APPLICATION):
        shutil.copytree(source, directory / source.relative_to(CHARTS), dirs_exist_ok=True)
    chart = directory / APPLICATION.relative_to(CHARTS)
    helm("dependency", "build", chart)
    return chart


def write(path: Path, text: str) -> None:
    """Write a file where it does not hold this already."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
