"""The alerts as they are shipped, and what is in them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

MONITORING = Path(__file__).parents[2] / "monitoring"
ALERTS = MONITORING / "alerts.yml"
PREFIX = "InotifyBridge"
RANGE = "5m"


class Alert(NamedTuple):
    """
    One alert.

    Args:
        name: without `PREFIX`.
        expr: in PromQL.
    """

    name: str
    expr: str
    severity: str
    annotations: dict[str, str]


def alerts() -> list[Alert]:
    """All of them, in the order of the file."""
    return [
        Alert(
            rule["alert"].removeprefix(PREFIX),
            rule["expr"],
            rule["labels"]["severity"],
            rule["annotations"],
        )
        for rule in rules()
    ]


@cache
def rules() -> list[dict[str, Any]]:
    """All rules as they stand there."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def quickened(text: str) -> str:
    """
    The file for a test that has no half hour: every `for` is a second, every range below a day five minutes,
    for what has to come together in one may take its time on a slow machine.

    Nothing else is changed: conditions and thresholds are those that are shipped.
    """
    text = re.sub(r"^( +for: ).*$", r"\g<1>1s", text, flags=re.MULTILINE)
    return re.sub(r"\[\d+[mh]\]", f"[{RANGE}]", text)
