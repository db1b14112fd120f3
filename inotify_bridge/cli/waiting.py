"""Requests that wait for something in the agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from inotify_bridge.units import parse_seconds

_GRACE: Final = 15.0


def _seconds(_: click.Context, __: click.Parameter, value: str) -> float:
    try:
        return parse_seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


timeout_option = click.option(
    "--timeout", default="30s", show_default=True, metavar="TIME", callback=_seconds, help="Longest wait."
)
"""``--timeout TIME``, as the parameter `timeout` in seconds."""


def with_timeout(query: Mapping[str, object], seconds: float | None) -> dict[str, Any]:
    """The arguments of `connection.ask` for a wait of at most so long: the agent's own limit comes first."""
    if seconds is None:
        return {"query": query}
    return {"query": {**query, "timeout": f"{seconds:g}s"}, "timeout": seconds + _GRACE}
