"""Numbers out of logs: those of JSON, or their text. Python itself takes ``1_000``, infinity and NaN too."""

from __future__ import annotations

import math
from typing import Any


def whole(value: Any) -> int:
    """A whole number. Raises: ValueError, TypeError, OverflowError: it is none."""
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("it is no whole number")
    return int(_plain(value))


def real(value: Any) -> float:
    """A number that has an end. Raises: ValueError, TypeError, OverflowError: it is none."""
    number = float(_plain(value))
    if not math.isfinite(number):
        raise ValueError("it is no number")
    return number


def _plain(value: Any) -> Any:
    if isinstance(value, str) and "_" in value:
        raise ValueError("it is no number")
    return value
