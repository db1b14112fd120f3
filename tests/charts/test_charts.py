"""The charts as files: what they promise their users, and what has to agree with what."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from inotify_bridge import __version__
from tests.charts import derived
from tests.charts.derived import BRIDGE, SIDECAR

BOTH = pytest.mark.parametrize("chart", [BRIDGE, SIDECAR], ids=lambda chart: chart.name)

KUBERNETES = {
    "affinity",
    "egress",
    "extraEnv",
    "global",
    "ingressFrom",
    "tolerations",
    "seLinuxOptions",
    "appArmorProfile",
}
"""Values that are handed on as they are: Kubernetes says what may stand in them."""


def values(chart: Path) -> dict[str, Any]:
    """The default values."""
    loaded: dict[str, Any] = yaml.safe_load((chart / "values.yaml").read_text())
    return loaded


def rows(chart: Path) -> dict[str, Any]:
    """The table of values in the README: key to default."""
    text = (chart / "README.md").read_text().partition("## Values")[2]
    found = re.findall(r"^\| `([\w.]+)` \| `(.*?)` \|", text, re.MULTILINE)
    assert len(found) == len(dict(found)), "a key stands there twice"
    return {key: yaml.safe_load(default) for key, default in found}


def leaves(tree: dict[str, Any], stop: set[str], at: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its value; one of `stop` is not descended into."""
    for key, value in tree.items():
        path = f"{at}.{key}".lstrip(".")
        if isinstance(value, dict) and value and path not in stop:
            yield from leaves(value, stop, path)
        else:
            yield path, value


@BOTH
def test_the_table_of_values(chart: Path) -> None:
    """The README's table has every value with its default, and no other."""
    table = rows(chart)
    assert table == dict(leaves(values(chart), set(table)))


@BOTH
def test_versions(chart: Path) -> None:
    """Chart, application and the image that is used by default are of this version."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (__version__, __version__)
    assert f'default "{__version__}"' in (SIDECAR / "templates" / "_sidecar.tpl").read_text()


@pytest.mark.parametrize("path", derived.copies(), ids=lambda path: path.name)
def test_copies(path: Path) -> None:
    """What the charts carry of other folders is what stands there: `make charts` writes it."""
    assert path.read_text() == derived.copies()[path]


def test_no_copy_is_left_over() -> None:
    """The chart carries no alert file or dashboard that is no longer there."""
    if derived.MONITORING.exists():
        carried = {path for path in (BRIDGE / "files").rglob("*") if path.is_file()}
        assert carried == {path for path in derived.copies() if BRIDGE / "files" in path.parents}


def objects(schema: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of an object within the schema of the values, with the key that it is for."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield name, schema
        for key, part in schema.items():
            if key == "properties":
                for inner, of in part.items():
                    yield from objects(of, inner)
            elif key != "$defs":
                yield from objects(part, name)
    elif isinstance(schema, list):
        for part in schema:
            yield from objects(part, name)


@BOTH
def test_unknown_keys(chart: Path) -> None:
    """No object of the schema takes a key that it does not know, except what Kubernetes defines."""
    schema = json.loads((chart / "values.schema.json").read_text())
    found = list(objects(schema))
    assert len(found) > 10
    open_ones = {
        name
        for name, one in found
        if one.get("additionalProperties", True) is True and one.get("maxProperties") != 0
    }
    assert open_ones <= KUBERNETES


@BOTH
def test_the_schema_knows_every_value(chart: Path) -> None:
    """Every key of the values is one of the schema, and the other way round, but `global`."""
    schema = json.loads((chart / "values.schema.json").read_text())
    assert set(schema["properties"]) - {"global"} == set(values(chart))
