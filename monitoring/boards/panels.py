"""The panels that the boards are made of: figures, graphs, and what all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

SOURCE: Final = DataSourceRef("prometheus", "${datasource}")

# What is good, what wants a look by day, what wants one now, and what is only a number.
GOOD: Final = "green"
LOOK: Final = "orange"
BAD: Final = "red"
PLAIN: Final = "blue"

# The axis of a number of things goes at least so far: nothing but zeros is no reason for 100.
_SMALL: Final = 5

Steps = Sequence[tuple[float, str]]
"""From this value on, this colour; below the first step everything is well."""

AnyPanel = TypeVar("AnyPanel", stat.Panel, timeseries.Panel)


class Query(NamedTuple):
    """
    One query of a panel.

    Args:
        expr: in PromQL.
        legend: the name of its series, with ``{{label}}``.
    """

    expr: str
    legend: str


def about(shows: str, do: str, *, runbook: str = "", operations: str = "") -> str:
    """
    The description of a panel, which Grafana shows as Markdown.

    Args:
        shows: what the panel shows, and when that is bad.
        do: what to do then.
        runbook: the alert whose section of docs/runbook.md goes on from there.
        operations: the section of docs/operations.md that does.
    """
    more = [f"docs/runbook.md, *{runbook}*"] if runbook else []
    more += [f"docs/operations.md, *{operations}*"] if operations else []
    return f"{shows}\n\n**What to do:** {do}" + (f"\n\n**More:** {'; '.join(more)}" if more else "")


def figure(
    title: str,
    description: str,
    unit: str,
    expr: str,
    steps: Steps = (),
    *,
    base: str = GOOD,
    words: Mapping[str, tuple[str, str]] | None = None,
    sparkline: bool = False,
) -> stat.Panel:
    """
    One number, coloured by its steps.

    Args:
        base: colour below the first step.
        words: what to show instead of a value, and its colour.
        sparkline: draw how it came to this behind it; else the number is asked for now only.
    """
    query = prometheus.Dataquery().expr(expr).legend_format(title).ref_id("A").datasource(SOURCE)
    panel = (
        stat.Panel()
        .with_target(query.range() if sparkline else query.instant())
        .color_mode(BigValueColorMode.VALUE if base == PLAIN else BigValueColorMode.BACKGROUND)
        .graph_mode(BigValueGraphMode.AREA if sparkline else BigValueGraphMode.NONE)
        .text_mode(BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .span(4)
        .height(4)
    )
    if words:
        panel.mappings([ValueMap({value: ValueMappingResult(*word) for value, word in words.items()})])
    return _finished(panel, title, description, unit, steps, base)


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    steps: Steps = (),
    top: float | None = None,
    stacked: bool = False,
    bars: bool = False,
    aside: bool = False,
    width: int = 8,
) -> timeseries.Panel:
    """
    Lines over time.

    Args:
        steps: drawn as dashed lines.
        top: where the axis ends; None: where the values do.
        stacked: one upon the other, for parts of a sum.
        bars: for what happens seldom, and is counted.
        aside: the legend stands on the right, with figures, the largest first.
        width: of 24 columns.
    """
    panel = timeseries.Panel()
    for number, (expr, legend) in enumerate(queries):
        query = prometheus.Dataquery().expr(expr).legend_format(legend).range()
        panel.with_target(query.ref_id(chr(ord("A") + number)).datasource(SOURCE))
    panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
    panel.line_width(2).fill_opacity(30 if stacked else 8).show_points(VisibilityMode.NEVER).min(0)
    panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    panel.legend(_legend(aside)).span(width).height(8)
    if steps:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if bars:
        panel.draw_style(GraphDrawStyle.BARS).fill_opacity(60).line_width(0).decimals(0)
    if unit == "short":
        panel.axis_soft_max(_SMALL)
    if top is not None:
        panel.max(top)
    return _finished(panel, title, description, unit, steps, GOOD)


def _legend(aside: bool) -> common.VizLegendOptions:
    legend = common.VizLegendOptions().show_legend(True)
    if not aside:
        return legend.display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).calcs([])
    legend.display_mode(LegendDisplayMode.TABLE).placement(LegendPlacement.RIGHT)
    return legend.calcs(["mean", "max"]).sort_by("Mean").sort_desc(True)


def _finished(panel: AnyPanel, title: str, description: str, unit: str, steps: Steps, base: str) -> AnyPanel:
    levels = [Threshold(None, base), *(Threshold(value, colour) for value, colour in steps)]
    thresholds = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(levels)
    panel.title(title).description(description).datasource(SOURCE).unit(unit).thresholds(thresholds)
    return panel
