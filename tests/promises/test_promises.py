"""The table of docs/promises.md says what is so."""

from __future__ import annotations

import pytest

from tests.mutants import MUTANTS
from tests.promises.table import PROMISES, Row, has_test, rows

ROWS = rows()


def test_every_promise_has_its_line() -> None:
    """R1 to R20, once each, in order."""
    assert tuple(row.promise for row in ROWS) == PROMISES


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.promise)
def test_its_tests_are_there(row: Row) -> None:
    """A promise has at least one test, every test named is there, and the fault is described."""
    assert row.tests
    assert [test for test in row.tests if not has_test(test)] == []
    assert row.sentence
    assert row.fault


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.promise)
def test_its_mutants_are_named(row: Row) -> None:
    """The mutants of a promise are those that the registry has for it, one at the least."""
    assert row.mutants
    assert sorted(row.mutants) == sorted(mutant.name for mutant in MUTANTS if mutant.promise == row.promise)
