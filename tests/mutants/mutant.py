"""What a mutant is: the product with one of its promises broken on purpose, and the test that must notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.mutants.patching import Patch


class Mutant(NamedTuple):
    """
    One mutant.

    Args:
        name: what it leaves out, in a few words.
        promise: the one of R1 to R20 that it breaks, see docs/promises.md.
        apply: replaces functions; its docstring says what is wrong then.
        test: the smallest selection of tests that has to fail, as pytest names it.
        schedules: within so many of the simulation it must be caught; 0: it is none of the capture's.
    """

    name: str
    promise: str
    apply: Callable[[Patch], None]
    test: str
    schedules: int = 0

    @property
    def harm(self) -> str:
        """What is wrong with it."""
        return " ".join((self.apply.__doc__ or "").split())
