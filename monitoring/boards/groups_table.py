"""The table of the overview: one line for each watch group, with what is wrong with it in colour."""

from __future__ import annotations

from typing import Final, NamedTuple

from grafana_foundation_sdk.builders import common, dashboard, prometheus, table
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitoring.boards.panels import BAD, GOOD, LOOK, SOURCE, Steps, about
from monitoring.boards.series import AGENT, of, rate, rise


class Column(NamedTuple):
    """
    One figure of a group.

    Args:
        query: what it is summed up from, or taken the largest of.
        words: what is shown instead of a value, and its colour.
    """

    title: str
    query: str
    unit: str
    steps: Steps = ()
    words: tuple[tuple[str, str, str], ...] = ()


_LABELS: Final = {"instance": "Instance", "watch_group": "Watch group"}
_OPEN: Final = (
    ""
    "/d/inotify-bridge-watch-group?var-datasource=${datasource}&var-instance=${__data.fields.Instance}&var-watch_group=${__value.raw}&${__url_time_range}"
)


def _columns() -> tuple[Column, ...]:
    by = "by (instance, watch_group)"
    outbox = f"{of(AGENT, 'outbox_bytes')} / ({of(AGENT, 'outbox_limit_bytes')} > 0)"
    return (
        Column(
            "In step with the disk",
            f"min {by} ({of(AGENT, 'consistent')})",
            "short",
            words=(("1", "yes", GOOD), ("0", "NO", LOOK)),
        ),
        Column("Sinks away", f"sum {by} (1 - {of(AGENT, 'sink_connected')})", "short", [(1, BAD)]),
        Column(
            "Oldest event waiting",
            f"max {by} ({of(AGENT, 'outbox_oldest_event_age_seconds')})",
            "s",
            [(60, LOOK), (300, BAD)],
        ),
        Column("Outbox filled", f"max {by} ({outbox})", "percentunit", [(0.8, LOOK), (0.95, BAD)]),
        Column("Events a second", f"sum {by} ({rate(AGENT, 'events_total')})", "eps"),
        Column("Watches", f"sum {by} ({of(AGENT, 'watches')})", "short"),
        Column("Only polled", f"sum {by} ({of(AGENT, 'watches_uncovered')})", "short", [(1, LOOK)]),
        Column(
            "Overflows",
            f"ceil(sum {by} ({rise(AGENT, 'kernel_queue_overflows_total')}))",
            "short",
            [(1, LOOK)],
        ),
        Column("Set aside", f"sum {by} ({of(AGENT, 'parked_events')})", "short", [(1, LOOK)]),
    )


def panel() -> table.Panel:
    """The table; the name of a group leads to its board."""
    made = (
        table.Panel()
        .title("Watch groups")
        .description(
            about(
                "Every watch group with what is wrong now; overflows in the time shown.",
                "follow the name of the group whose line has colour.",
                operations="Where to look",
            )
        )
        .datasource(SOURCE)
        .unit("short")
        .thresholds(_thresholds(()))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .sort_by([common.TableSortByFieldState().display_name("Watch group")])
        .span(24)
        .height(8)
    )
    columns = _columns()
    for ref, column in _lettered(columns):
        query = prometheus.Dataquery().expr(column.query).ref_id(ref).instant().datasource(SOURCE)
        made.with_target(query.format(PromQueryFormat.TABLE).legend_format(column.title))
        made.override_by_name(column.title, _properties(column))
    link = {"title": "Board of this group", "url": _OPEN}
    made.override_by_name(_LABELS["watch_group"], [DynamicConfigValue("links", [link])])
    return _as_one_table(made, columns)


def _lettered(columns: tuple[Column, ...]) -> list[tuple[str, Column]]:
    return [(chr(ord("A") + place), column) for place, column in enumerate(columns)]


def _properties(column: Column) -> list[DynamicConfigValue]:
    found = [DynamicConfigValue("unit", column.unit)]
    if column.steps or column.words:
        found.append(DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
        found.append(DynamicConfigValue("thresholds", _thresholds(column.steps).build()))
    if column.words:
        options = {value: {"text": text, "color": colour} for value, text, colour in column.words}
        found.append(DynamicConfigValue("mappings", [{"type": "value", "options": options}]))
    return found


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    levels = [Threshold(None, GOOD), *(Threshold(value, colour) for value, colour in steps)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(levels)


def _as_one_table(made: table.Panel, columns: tuple[Column, ...]) -> table.Panel:
    """Each query is a table with the columns of its labels: join them, and name and order what they hold."""
    names = {f"Value #{ref}": column.title for ref, column in _lettered(columns)}
    order = {name: place for place, name in enumerate([*_LABELS, *names])}
    made.with_transformation(DataTransformerConfig("merge", options={}))
    options = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": _LABELS | names}
    return made.with_transformation(DataTransformerConfig("organize", options=options))
