"""The committed boards as tests read them: panels and variables, and queries as Grafana sends them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

DASHBOARDS = Path(__file__).parents[2] / "monitoring" / "dashboards"
NAMES = ("overview", "watch-group", "sink")


class Panel(NamedTuple):
    """One panel, rows left out; `definition` is its JSON."""

    title: str
    definition: dict[str, Any]

    def queries(self) -> list[tuple[str, bool]]:
        """Its expressions, and whether each is asked for one moment only."""
        return [(target["expr"], target.get("instant", False)) for target in self.definition["targets"]]


def board(name: str) -> dict[str, Any]:
    """A committed board."""
    found: dict[str, Any] = json.loads((DASHBOARDS / f"{name}.json").read_text())
    return found


def panels(name: str) -> Iterator[Panel]:
    """The panels of a board that ask for something."""
    for panel in board(name)["panels"]:
        if panel["type"] != "row":
            yield Panel(panel["title"], panel)


def variables(name: str) -> dict[str, dict[str, Any]]:
    """The variables of a board by name, in order."""
    return {variable["name"]: variable for variable in board(name)["templating"]["list"]}


def expanded(query: str, values: Mapping[str, str]) -> str:
    """The query with every variable replaced; KeyError where one has no value."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: values[found[1] or found[2]], query)
