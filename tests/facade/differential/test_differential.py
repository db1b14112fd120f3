"""The façade behaves as the original does, script by script, but for the improvements that have a name."""

from __future__ import annotations

import ast
import functools
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.facade.differential import sides
from tests.facade.differential.improvements import IMPROVEMENTS
from tests.facade.differential.records import Records, differences
from tests.interpreters import VERSIONS, interpreter

HERE = Path(__file__).parent
SCRIPTS = sorted(
    node.name
    for path in HERE.glob("scripts_*.py")
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.FunctionDef)
    if any(isinstance(one, ast.Name) and one.id == "script" for one in node.decorator_list)
)
NAMED = {improvement.script: improvement for improvement in IMPROVEMENTS}
NEWER = [version for version in VERSIONS if version != "3.11"]

# Two sides one after the other, each with its own deadline.
pytestmark = pytest.mark.timeout(2 * sides.SECONDS + 60)

needs_original = pytest.mark.skipif(
    not sides.original_is_here(), reason="pyinotify 0.9.6 runs up to Python 3.11, and is installed there"
)


@functools.cache
def _ran() -> tuple[Future[sides.Recorded], Future[sides.Recorded]]:
    """Both sides, through: what went wrong is kept as well, and not tried again by every test."""
    with ThreadPoolExecutor(2) as threads:
        return threads.submit(sides.original), threads.submit(sides.facade, Path(sys.executable))


# Of each test, and not of the module: only a test keeps others from changing the kernel's limits meanwhile.
@pytest.fixture
def both() -> tuple[sides.Recorded, sides.Recorded]:
    """The original's records and the façade's, on this Python."""
    one, other = _ran()
    return one.result(), other.result()


def judge(script: str, original: Records, facade: Records, python: tuple[int, int]) -> None:
    """Equal, or different exactly as its improvement says."""
    found = differences(original, facade)
    improvement = NAMED.get(script)
    if improvement is None or python < improvement.since:
        assert not found, "\n".join(map(str, found))
        return
    assert {one.column for one in found} == improvement.columns, "\n".join(map(str, found))
    for text in improvement.shows:
        assert text in str(facade), f"the façade's records hold {text!r}"
        assert text not in str(original), f"the original's records do not hold {text!r}"


@needs_original
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_sees_the_same(script: str, both: tuple[sides.Recorded, sides.Recorded]) -> None:
    """A program sees the same with the façade as with the original, or what an improvement says."""
    judge(script, both[0][script], both[1][script], sys.version_info[:2])


@needs_original
@pytest.mark.parametrize("version", NEWER)
def test_newer_pythons_see_the_same(version: str) -> None:
    """On a Python that the original does not run on, the façade does what the original did on 3.11."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"Python {version} is not installed")
    original, facade = sides.original(), sides.facade(python)
    assert sorted(original) == sorted(facade) == SCRIPTS
    major, minor = map(int, version.split("."))
    for script in SCRIPTS:
        judge(script, original[script], facade[script], (major, minor))


def test_improvements_are_about_scripts() -> None:
    """Every improvement names a script that there is, once, and says why."""
    assert sorted(NAMED) == sorted({improvement.script for improvement in IMPROVEMENTS})
    assert len(NAMED) == len(IMPROVEMENTS)
    assert set(NAMED) <= set(SCRIPTS)
    assert all(improvement.why and improvement.columns and improvement.shows for improvement in IMPROVEMENTS)


def test_an_improvement_must_be_seen() -> None:
    """A script whose improvement is gone fails, as one does that differs without an improvement."""
    same: Records = [{"kind": "answer", "what": "x", "answer": 1}]
    other: Records = [{"kind": "answer", "what": "x", "answer": 2}]
    with pytest.raises(AssertionError):
        judge("a_tuple_of_paths", same, same, (3, 11))
    with pytest.raises(AssertionError):
        judge("one_shot", same, other, (3, 11))
