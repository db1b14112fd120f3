"""
Every error that a person may see.

    BridgeError                     exit 1
    ├── UsageError                  exit 2    the command line is wrong
    ├── ConfigError                 exit 78   the configuration is wrong (EX_CONFIG)
    ├── UnavailableError            exit 69   a service that is needed is not there (EX_UNAVAILABLE)
    │   └── SinkUnavailable                   not connected now: the relay backs off and connects again
    │       ├── SinkMisconfigured             an operator has to act, retrying alone will hardly help
    │       └── SinkGone                      it cannot come back while this process lives
    ├── StoreError                            the state database cannot be used
    └── EpochEnded                            the stream begins a new epoch

An error carries what happened and, where there is one, a hint: what to do about it. The command line prints
both on one line; secrets never stand in either.
"""

from __future__ import annotations

from typing import ClassVar


class BridgeError(Exception):
    """
    Base of all errors raised on purpose.

    Args:
        message: what happened and where, one sentence without a full stop.
        hint: what to do, or empty.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(BridgeError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class ConfigError(BridgeError):
    """The configuration is wrong."""

    exit_code = 78


class UnavailableError(BridgeError):
    """A service, port or lock that is needed is not to be had."""

    exit_code = 69


class SinkUnavailable(UnavailableError):
    """
    A sink is not connected, or lost its connection.

    Args:
        reason: class of the failure, one of `SINK_ERROR_REASONS`: the metric label.
    """

    def __init__(self, message: str, hint: str = "", reason: str = "connection") -> None:
        super().__init__(message, hint)
        self.reason = reason


class SinkMisconfigured(SinkUnavailable):
    """The sink answered and refused: wrong password, missing exchange or topic, certificate not trusted."""


class SinkGone(SinkUnavailable):
    """The sink cannot come back while this process lives: a stop drains nothing to it."""


class StoreError(BridgeError):
    """
    The state database cannot be opened, written or trusted.

    Args:
        reason: class of the failure, one of `STORE_ERROR_REASONS`: the metric label.
    """

    def __init__(self, message: str, hint: str = "", reason: str = "other") -> None:
        super().__init__(message, hint)
        self.reason = reason


class EpochEnded(BridgeError):
    """
    The stream cannot go on in its epoch.

    Args:
        reason: why, one of `metrics.EPOCH_REASONS`.
    """

    def __init__(self, message: str, hint: str, reason: str) -> None:
        super().__init__(message, hint)
        self.reason = reason


STORE_ERROR_REASONS = ("full", "io", "fsync", "corrupt", "replaced", "other")
"""``fsync``: what was written before may be lost too, so the database is opened anew and everything compared.
``replaced``: the file, or the lock of its directory, is not the one any more that was opened."""


SINK_ERROR_REASONS = (
    "connection",
    "auth",
    "timeout",
    "nacked",
    "unroutable",
    "too_large",
    "authorization",
    "not_found",
    "other",
)
