"""
Where the façade may differ from the original, and how: each is a defect of the original that it mends.

A script that stands here must differ, in these columns and in no other; one that does not must be equal.
"""

from __future__ import annotations

from typing import NamedTuple


class Improvement(NamedTuple):
    """
    A difference that is meant.

    Args:
        script: whose records differ.
        why: what the original does wrong, and what the façade does.
        columns: of the table: exactly these differ.
        shows: texts of the façade's records that the original's do not have.
        since: the first Python on which it is so.
    """

    script: str
    why: str
    columns: frozenset[str]
    shows: tuple[str, ...] = ()
    since: tuple[int, int] = (3, 11)


IMPROVEMENTS: tuple[Improvement, ...] = ()
