"""What keeps a relay from delivering, and when people are told of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Final

TOLD_AGAIN: Final = 10.0
"""Seconds after which a failure of the same kind is told of again, where its words have changed."""


class Trouble:
    """
    The present trouble of one relay. Used by its thread.

    Args:
        log: where it is told.
        fields: of every line.
    """

    def __init__(self, log: logging.Logger, fields: Mapping[str, str]) -> None:
        self.reason = ""
        """Class of the failure; empty: there is none."""
        self.connecting = False
        """Whether it showed in connecting."""
        self.since: float | None = None
        """Unix seconds."""
        self._log = log
        self._fields = fields
        self._told = ""
        self._told_at = 0.0

    def met(self, reason: str, detail: str, connecting: bool, what: str) -> None:
        """
        A failure: told where it is of another kind than the last, or in other words that are not told too
        often.

        Args:
            what: failed, in words.
        """
        now = time.monotonic()
        other = reason != self.reason
        if other:
            self.since = time.time()
        if other or (detail != self._told and now - self._told_at >= TOLD_AGAIN):
            self._told, self._told_at = detail, now
            self._log.warning("%s: %s", what, detail, extra={**self._fields, "reason": reason})
        self.reason, self.connecting = reason, connecting

    def over(self) -> None:
        """It has ended."""
        self.reason, self.connecting, self.since = "", False, None
