"""
Mutants: the product with one of its promises broken. A suite that lets one live proves nothing about it.

``python -m tests.mutants`` runs the test of each with and without it. Every mutant binds to names of the
product: where one of them is gone, it fails loudly and is to be mended.
"""

from __future__ import annotations

from tests.mutants import agent, capture, edges, lines, outbox, sinks
from tests.mutants.mutant import Mutant
from tests.mutants.patching import Patch

MUTANTS: tuple[Mutant, ...] = (
    *capture.MUTANTS,
    *agent.MUTANTS,
    *outbox.MUTANTS,
    *sinks.MUTANTS,
    *edges.MUTANTS,
    *lines.MUTANTS,
)

SCHEDULED = tuple(mutant for mutant in MUTANTS if mutant.schedules)
"""Those that the simulation's schedules catch."""

__all__ = ["MUTANTS", "SCHEDULED", "Mutant", "Patch"]
