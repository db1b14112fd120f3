"""The check of the order of arrival itself."""

from __future__ import annotations

import json

import pytest

from tests.sinks.messages import assert_go_back_n, messages, received


@pytest.mark.parametrize(
    "sequences",
    [
        [1, 2, 3, 4],
        [1, 2, 3, 2, 3, 4],
        [1, 3, 2, 3, 4],
        [1, 1, 1, 2, 3, 4],
        [2, 4, 1, 2, 3, 4],
        [1, 2, 4, 2, 4, 3, 4],
    ],
)
def test_legal_orders(sequences: list[int]) -> None:
    """Repeats that start at a hole and take all after it are go-back-N."""
    assert_go_back_n(sequences, 1, 4)


@pytest.mark.parametrize(
    "sequences",
    [
        [],
        [1, 2, 3],
        [1, 3, 2, 4],
        [1, 2, 4, 3],
        [1, 2, 3, 4, 2],
        [1, 2, 3, 4, 5],
        [2, 1, 3, 4],
        [1, 2, 2, 4, 3],
    ],
)
def test_illegal_orders(sequences: list[int]) -> None:
    """A message that is missing, never sent, or re-sent alone is found."""
    with pytest.raises(AssertionError):
        assert_go_back_n(sequences, 1, 4)


def test_messages_are_events() -> None:
    """The messages carry their number, split into attributes and data, and have the length asked for."""
    (message,) = messages(1, first=7, body_bytes=5000)
    assert received(message.body).sequence == 7
    assert len(message.body) == 5000
    assert message.attributes()["subject"] == '2026/ä "7".csv'
    assert json.loads(message.data())["origin"] == "kernel"
