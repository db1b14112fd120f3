"""Waiting for a condition with a deadline: what every test does instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.01


def eventually(
    condition: Callable[[], T], *, within: float = 30.0, what: str = "", poll: float = POLL_SECONDS
) -> T:
    """
    Call `condition` until what it returns is true.

    Args:
        condition: must return soon; an exception from it ends the wait at once.
        within: seconds; one last look is taken when they are over, so that a stalled machine decides nothing.
        what: the condition in words, for the failure message.
        poll: seconds between two looks.
    Returns:
        The first truthy value.
    Raises:
        AssertionError: it never was true; names `what`, the seconds and the last value.
    """
    deadline = time.monotonic() + within
    while True:
        last_look = time.monotonic() >= deadline
        value = condition()
        if value:
            return value
        if last_look:
            raise AssertionError(
                f"not within {within:g} s: {what or 'the condition'} (last value: {value!r})"
            )
        time.sleep(poll)
