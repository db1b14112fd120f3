"""Numbers out of logs: those of JSON, or their text. Python itself takes ``1_000``, infinity and NaN too."""

from __future__ import annotations

import math
from typing import Any


def whole(value: Any) -> int:
    """A whole number. Raises: ValueError: it is none."""
    try:
        number = int(value)
    except (ValueError, TypeError, OverflowError):
        number = None
    if number is None or _is_written_for_python(value) or (isinstance(value, float) and number != value):
        raise ValueError("it is no whole number")
    return number


def real(value: Any) -> float:
    """A number that has an end. Raises: ValueError: it is none."""
    try:
        number = float(value)
    except (ValueError, TypeError, OverflowError):
        number = math.nan
    if _is_written_for_python(value) or not math.isfinite(number):
        raise ValueError("it is no number")
    return number


def _is_written_for_python(value: Any) -> bool:
    return isinstance(value, str) and "_" in value
