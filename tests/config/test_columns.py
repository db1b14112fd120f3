"""What a sink keeps of log entries, compared with what the patterns of its groups extract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from inotify_bridge.config import Inspection, inspect

Check = Callable[..., Inspection]
EXAMPLE = Path(__file__).parents[2] / "examples" / "log-monitor.yaml"
OWN = r"(?P<level>\S+) (?P<code>\d+) (?P<text>.*)"


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Reads a configuration of groups with these patterns (None: no `lines`) that use one SQL sink."""

    def write(*patterns: str | None, columns: dict[str, Any], **sink: Any) -> Inspection:
        groups = [
            {"name": f"g{number}", "paths": [f"/srv/{number}"], "sinks": ["table"]}
            | ({} if pattern is None else {"lines": {"pattern": pattern}})
            for number, pattern in enumerate(patterns)
        ]
        options = {"log_table": "entries", "columns": columns, **sink}
        tree = {"watch_groups": groups, "sinks": [{"name": "table", "type": "sql", **options}]}
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(tree, sort_keys=False))
        return inspect(file, {})

    return write


@pytest.mark.parametrize("column", ["data.fields.stat", {"path": "data.fields.stat", "type": "integer"}])
def test_a_field_that_no_pattern_extracts(check: Check, column: Any) -> None:
    """A column whose field is in no pattern is refused, at its line, with the nearest that is."""
    found = check("combined", columns={"method": "data.fields.method", "status": column})
    (problem,) = found.problems
    assert problem.where == "sinks[0].columns.status"
    assert "'stat'" in problem.reason
    assert problem.suggestion == "did you mean 'status'?"
    lines = Path(problem.file).read_text().splitlines()
    assert lines[problem.line - 1].strip().startswith("status:")


def test_any_group_may_give_the_field(check: Check) -> None:
    """A field that one group of several extracts is taken; one of none of them is not."""
    columns = {"method": "data.fields.method", "facility": "data.fields.facility"}
    assert check("combined", "syslog", None, columns=columns).problems == ()
    (problem,) = check("combined", None, columns=columns).problems
    assert problem.where == "sinks[0].columns.facility"


@pytest.mark.parametrize("pattern", ["json", "logfmt", None])
def test_nobody_knows_the_fields(check: Check, pattern: str | None) -> None:
    """Where every line brings its own fields, or no group has any, columns are taken as they are."""
    assert check(pattern, columns={"x": "data.fields.anything"}).problems == ()


def test_a_group_that_is_wrong_otherwise(check: Check) -> None:
    """While a group cannot be read nothing is said of its fields."""
    found = check("combined", "", columns={"x": "data.fields.anything"})
    assert [problem.where for problem in found.problems] == ["watch_groups[1].lines.pattern"]


def test_a_structure_below_a_field(check: Check) -> None:
    """What stands deeper in a field is not compared, the field itself is."""
    assert check("syslog", columns={"x": "data.fields.data.origin.ip"}).problems == ()


@pytest.mark.usefixtures("re2")
def test_named_groups_without_a_column(check: Check) -> None:
    """Groups of a pattern of one's own that no column takes are named in a note, a format's are not."""
    (note,) = notes(check(OWN, columns={"level": "data.fields.level", "at": "time"}))
    assert note == "group 'g0': sink 'table' has no column for code, text"
    assert notes(check("combined", columns={"path": "data.fields.path"})) == []


@pytest.mark.usefixtures("re2")
@pytest.mark.parametrize("columns", [{}, {"f": "data.fields"}, {"e": "envelope"}, {"d": "data"}])
def test_all_fields_are_kept(check: Check, columns: dict[str, Any]) -> None:
    """The default columns keep every field, and so does a column of all of them."""
    assert notes(check(OWN, columns=columns)) == []


def test_entries_without_a_table(check: Check) -> None:
    """Where a group follows logs and its sink has a table of files only, a note says that nothing is kept."""
    found = check("combined", columns={}, log_table=None, table="files")
    assert notes(found) == ["group 'g0': sink 'table' keeps none of its log entries"]


@pytest.mark.usefixtures("re2")
def test_the_example() -> None:
    """The example of the log monitor is a valid configuration, and nothing of it is left out."""
    found = inspect(EXAMPLE, {})
    assert found.problems == ()
    assert found.config is not None
    assert all(group.lines is not None for group in found.config.watch_groups)


def notes(found: Inspection) -> list[str]:
    """What is said of the groups' fields."""
    assert found.problems == ()
    return [note for note in found.notes if "sink 'table'" in note]
