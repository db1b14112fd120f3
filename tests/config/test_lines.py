"""What is refused of the section `lines`: each mistake at its place, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from inotify_bridge.config import Problem, inspect

CONFIG = """\
watch_groups:
  - name: logs
    paths: [/srv/log]
    lines:
      {lines}
    sinks: [memory]
sinks:
  - {{name: memory, type: memory}}
"""


def problems(directory: Path, lines: str) -> list[Problem]:
    """Of a configuration with one line in this section, the fifth."""
    file = directory / "config.yaml"
    file.write_text(CONFIG.format(lines=lines))
    return [*inspect(file, {}).problems]


@pytest.mark.usefixtures("re2")
@pytest.mark.parametrize(
    ("wrong", "key", "reason"),
    [
        ("pattern: '('", "pattern", "does not compile"),
        ("pattern: '(?P<a>.)(?=b)'", "pattern", "does not compile"),
        ("pattern: '(?P<a>.)|(?P<a>x)'", "pattern", "has the group a twice"),
        ("pattern: '(?P<a>[^]](?P<b>)[.])(?<a>.)'", "pattern", "has the group a twice"),
        ("pattern: 'x(.*)'", "pattern", "has no named group"),
        ("multiline: {start: '['}", "multiline.start", "does not compile"),
    ],
)
def test_a_pattern_that_is_none(tmp_path: Path, wrong: str, key: str, reason: str) -> None:
    """What does not compile, or would extract nothing, is refused at its line."""
    (problem,) = problems(tmp_path, wrong)
    assert (problem.line, problem.where) == (5, f"watch_groups[0].lines.{key}")
    assert reason in problem.reason


@pytest.mark.parametrize(
    ("wrong", "key", "reason"),
    [
        ("encoding: utf-16", ".encoding", "newline"),
        ("on: [deleted]", ".on[0]", "is not one of"),
        ("patern: combined", ".patern", "unknown key"),
        ("{pattern: combined, fields: {stat: int}}", "", "names stat"),
        ("fields: {a: int}", "", "without a pattern"),
        ("{pattern: json, time_format: unix}", "", "time_format has no effect"),
        ("{pattern: json, fields: {t: timestamp}, time_format: '%Q'}", ".time_format", "no format of times"),
        ("{pattern: json, fields: {t: timestamp}, time_format: '%T'}", ".time_format", "names no day"),
    ],
)
def test_one_mistake_one_problem(tmp_path: Path, wrong: str, key: str, reason: str) -> None:
    """A single mistake gives a single problem, at its place, with its reason."""
    (problem,) = problems(tmp_path, wrong)
    assert problem.where == f"watch_groups[0].lines{key}"
    assert problem.line in (4, 5)
    assert reason in problem.reason


def test_a_log_that_is_a_link(tmp_path: Path) -> None:
    """Of a link nothing would be read: `validate` names it and the file that it leads to."""
    (tmp_path / "real.log").touch()
    (tmp_path / "link.log").symlink_to("real.log")
    file = tmp_path / "config.yaml"
    sinks = "sinks: [{name: out, type: stdout}]\nstate: {dir: /nowhere}\n"
    for name, expected in (("link.log", True), ("real.log", False)):
        file.write_text(
            f"watch_groups: [{{name: g, paths: ['{tmp_path / name}'], lines: {{}}, sinks: [out]}}]\n{sinks}"
        )
        notes = [note for note in inspect(file, {}).notes if "symbolic link" in note]
        assert bool(notes) == expected
        assert all(str(tmp_path / "real.log") in note for note in notes)
