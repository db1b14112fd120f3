"""Sizes and times as a configuration writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from inotify_bridge.units import Bytes, Seconds, parse_bytes, parse_seconds


class Options(BaseModel):
    size: Bytes = 0
    wait: Seconds = 0.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("64MiB", 64 * 1024**2),
        ("100MB", 100_000_000),
        ("1GiB", 1024**3),
        ("1.5KiB", 1536),
        ("2 kB", 2000),
        ("2KB", 2000),
        ("7B", 7),
        ("12", 12),
        (12, 12),
        (0, 0),
        ("3TB", 3 * 1000**4),
    ],
)
def test_bytes(text: object, expected: int) -> None:
    """A size with a decimal or binary unit, or a plain number, is read as bytes."""
    assert Options.model_validate({"size": text}).size == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5s", 5.0),
        ("250ms", 0.25),
        ("1h", 3600.0),
        ("10m", 600.0),
        ("1d", 86400.0),
        ("0s", 0.0),
        (3, 3.0),
        ("2", 2.0),
    ],
)
def test_seconds(text: object, expected: float) -> None:
    """A time with a unit, or a plain number, is read as seconds."""
    assert Options.model_validate({"wait": text}).wait == pytest.approx(expected)


@pytest.mark.parametrize(
    "value", ["", "MiB", "-1", -1, "1 parsec", "1MiBs", "64M", "TiB1", True, 1.5, None, [1], "1iB"]
)
def test_wrong_sizes_are_refused(value: object) -> None:
    """What is no size is refused with a sentence that shows how to write one."""
    with pytest.raises(ValidationError, match="64MiB"):
        Options.model_validate({"size": value})


@pytest.mark.parametrize(
    "value", ["", "s", "-1s", -1, "5 weeks", "1h30m", True, None, float("nan"), float("inf")]
)
def test_wrong_times_are_refused(value: object) -> None:
    """What is no time is refused with a sentence that shows how to write one."""
    with pytest.raises(ValidationError, match="250ms"):
        Options.model_validate({"wait": value})


@given(st.integers(min_value=0, max_value=2**62), st.sampled_from(["", "B", "KiB", "GiB", "MB"]))
def test_whole_numbers_are_exact(number: int, unit: str) -> None:
    """A whole number of any unit loses no byte to floating point."""
    factor = {"": 1, "B": 1, "KiB": 1024, "GiB": 1024**3, "MB": 1000**2}[unit]
    assert parse_bytes(f"{number}{unit}") == number * factor


@given(st.integers(min_value=0, max_value=10**6))
def test_milliseconds(number: int) -> None:
    """Milliseconds are thousandths of a second."""
    assert parse_seconds(f"{number}ms") == pytest.approx(number / 1000)


def test_schema_says_number_or_text() -> None:
    """The JSON Schema of both types allows a number as well as a text with a unit."""
    schema = Options.model_json_schema()["properties"]
    assert {part["type"] for part in schema["size"]["anyOf"]} == {"integer", "string"}
    assert {part["type"] for part in schema["wait"]["anyOf"]} == {"number", "string"}
