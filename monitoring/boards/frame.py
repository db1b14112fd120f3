"""What a board is besides its panels: identity, variables, links to the others, and the grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from grafana_foundation_sdk.builders import dashboard, stat, table, timeseries
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    GridPos,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from monitoring.boards.panels import SOURCE
from monitoring.boards.series import AGENT, GROUP, of

TAG: Final = "inotify-bridge"
COLUMNS: Final = 24

AnyPanel: TypeAlias = stat.Panel | timeseries.Panel | table.Panel


class Variable(NamedTuple):
    """A variable that is a label of a metric: its name is the label's."""

    name: str
    label: str
    series: str


JOB: Final = Variable("job", "Job", of("", "build_info"))
INSTANCE: Final = Variable("instance", "Instance", of('job=~"$job"', "build_info"))
WATCH_GROUP: Final = Variable("watch_group", "Watch group", of(AGENT, "consistent"))
SINK: Final = Variable("sink", "Sink", of(GROUP, "sink_connected"))


class Section(NamedTuple):
    """Panels under a heading, which fill lines of the grid from the left."""

    title: str
    panels: Sequence[AnyPanel]


def frame(
    uid: str, title: str, description: str, variables: Sequence[Variable], sections: Sequence[Section]
) -> dashboard.Dashboard:
    """
    A whole board.

    Args:
        uid: stable, so that links to the board stay good.
        variables: besides the data source, each after those that its series names.
    """
    board = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .link(_others())
    )
    for variable in variables:
        board.with_variable(_variable(variable))
    _place(board, sections)
    return board


def _variable(variable: Variable) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .query(f"label_values({variable.series.replace('{}', '')}, {variable.name})")
        .datasource(SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(VariableOption(text="All", value="$__all", selected=True))
    )


def _others() -> dashboard.DashboardLink:
    """A row of links to all boards of ours, which keep the time and the variables."""
    return (
        dashboard.DashboardLink("Boards of inotify-bridge")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(False)
        .include_vars(True)
        .keep_time(True)
    )


def _place(board: dashboard.Dashboard, sections: Sequence[Section]) -> None:
    """Number the panels and lay them out: lines of panels of one height, below the section's heading."""
    number, y = 1, 0
    for section in sections:
        board.with_row(dashboard.Row(section.title).id(number).grid_pos(GridPos(1, COLUMNS, 0, y)))
        number, y, x, height = number + 1, y + 1, 0, 0
        for panel in section.panels:
            place = panel.build().grid_pos
            assert place is not None
            if x + place.w > COLUMNS:
                x, y = 0, y + height
            board.with_panel(panel.id(number).grid_pos(GridPos(place.h, place.w, x, y)))
            number, x, height = number + 1, x + place.w, place.h
        y += height
