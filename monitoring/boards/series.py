"""The series of a query: the names of metrics with the matchers of the board's variables."""

from __future__ import annotations

from typing import Final

AGENT: Final = 'job=~"$job", instance=~"$instance"'
GROUP: Final = f'{AGENT}, watch_group=~"$watch_group"'
SINK: Final = f'{GROUP}, sink=~"$sink"'

PREFIX: Final = "inotify_bridge_"


def of(scope: str, name: str) -> str:
    """The series of a metric of ours (named without its prefix) that the variables of the board choose."""
    return f"{PREFIX}{name}{{{scope}}}"


def rate(scope: str, name: str) -> str:
    """By how much a counter rises in a second."""
    return f"rate({of(scope, name)}[$__rate_interval])"


def rises(scope: str, name: str) -> str:
    """By how much a counter rises between two points of a graph, or nearly so."""
    return f"increase({of(scope, name)}[$__rate_interval])"


def rise(scope: str, name: str) -> str:
    """By how much a counter rose in the time that the board shows."""
    return f"increase({of(scope, name)}[$__range])"


def quantile(share: float, scope: str, histogram: str, by: str = "") -> str:
    """What so large a share of the observations stays below; NaN while there are none."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) ({rate(scope, histogram + '_bucket')}))"


def seen(query: str, by: str, scope: str, counter: str) -> str:
    """The query, less the values of a label under which nothing was counted since the agents started."""
    return f"{query} and on ({by}) (sum by ({by}) ({of(scope, counter)}) > 0)"


def process(query: str) -> str:
    """The query about metrics of any process, less those that are no agent."""
    return f"{query} and on (job, instance) {of(AGENT, 'build_info')}"


def apart(scope: str) -> str:
    """
    Seconds between the last turns of a group's recorder and its notifier.

    By the agent's own clock: neither a late scrape nor a wrong clock makes a thread look as if it hung.
    """
    recorder, notifier = (
        of(scope, f"{thread}_last_loop_timestamp_seconds") for thread in ("recorder", "notifier")
    )
    return f"{recorder} - {notifier}"
