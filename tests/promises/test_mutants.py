"""The mutants fit the product, one for every promise. ``python -m tests.mutants`` shows that they die."""

from __future__ import annotations

import pytest

from tests.mutants import MUTANTS, Mutant, Patch
from tests.promises.table import PROMISES, has_test

NAMES = [mutant.name for mutant in MUTANTS]


@pytest.mark.parametrize("mutant", MUTANTS, ids=NAMES)
def test_it_fits_the_product(mutant: Mutant) -> None:
    """Everything that a mutant replaces is there, and is put back."""
    with Patch() as patch:
        mutant.apply(patch)
        replaced = patch.places()
        assert replaced
        assert all(vars(owner)[name] is not before for owner, name, before in replaced)
    assert all(vars(owner)[name] is before for owner, name, before in replaced)


@pytest.mark.parametrize("mutant", MUTANTS, ids=NAMES)
def test_it_says_what_it_breaks(mutant: Mutant) -> None:
    """A mutant has a promise, a sentence about its harm, and a test that is there."""
    assert mutant.promise in PROMISES
    assert mutant.harm.endswith(".")
    assert has_test(mutant.test), f"{mutant.test} is gone"


def test_one_that_fits_no_more_is_an_error() -> None:
    """Where a function that a mutant replaces was renamed or removed, it cannot be put in, and says so."""
    with Patch() as patch, pytest.raises(LookupError, match=r"Mutant\.renamed is gone"):
        patch.instead_of(Mutant, "renamed")


def test_names_are_unique() -> None:
    """One name, one mutant."""
    assert len(set(NAMES)) == len(NAMES)


def test_every_promise_has_a_mutant() -> None:
    """No promise is without a broken variant of the product that some test catches."""
    assert {mutant.promise for mutant in MUTANTS} == set(PROMISES)
