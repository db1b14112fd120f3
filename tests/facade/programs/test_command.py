"""``python -m tests.facade.programs``: what it is asked for."""

from __future__ import annotations

from click.testing import CliRunner

from tests.facade.programs.__main__ import main
from tests.facade.programs.programs import PROGRAMS


def test_a_name_that_is_none() -> None:
    """A program that is not among them is refused in words that name those that are."""
    done = CliRunner().invoke(main, ["nonsense"])
    assert done.exit_code == 2
    assert all(name in done.output for name in ("nonsense", *PROGRAMS))
