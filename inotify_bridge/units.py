"""
Sizes and times as people write them in a configuration, and as the program holds them: bytes and seconds.

`Bytes` and `Seconds` are the field types of every option model. A plain number is taken as bytes or seconds.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, WithJsonSchema

_BYTES: Final[dict[str, int]] = {
    "": 1,
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
_SECONDS: Final[dict[str, float]] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}

_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_BYTES_PATTERN: Final = rf"^{_NUMBER} ?([kKMGT]i?B|B)?$"
_SECONDS_PATTERN: Final = rf"^{_NUMBER} ?(ms|s|m|h|d)?$"


def parse_bytes(value: Any) -> int:
    """
    Bytes from ``64MiB``, ``100MB``, ``512`` or a whole number.

    Raises:
        ValueError: it is none of these, or negative.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (found := re.fullmatch(_BYTES_PATTERN, value.strip())):
        number, factor = found[1], _BYTES.get(found[2] or "", 0)
        if factor:
            return round(float(number) * factor) if "." in number else int(number) * factor
    raise ValueError(
        "is no size: write a whole number of bytes, or a number with a unit such as 64MiB or 100MB"
    )


def parse_seconds(value: Any) -> float:
    """
    Seconds from ``5s``, ``250ms``, ``1h``, ``0`` or a number.

    Raises:
        ValueError: it is none of these, negative, or not finite.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and math.isfinite(value):
        return float(value)
    if isinstance(value, str) and (found := re.fullmatch(_SECONDS_PATTERN, value.strip())):
        return float(found[1]) * _SECONDS[found[2] or ""]
    raise ValueError("is no time: write a number with a unit such as 5s, 250ms, 10m or 1h")


Bytes: TypeAlias = Annotated[
    int,
    BeforeValidator(parse_bytes),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _BYTES_PATTERN}]}
    ),
]
"""A size in bytes, from ``64MiB``, ``100MB`` or a whole number."""

Seconds: TypeAlias = Annotated[
    float,
    BeforeValidator(parse_seconds),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": _SECONDS_PATTERN}]}
    ),
]
"""A time in seconds, from ``5s``, ``250ms``, ``1h`` or a number."""
