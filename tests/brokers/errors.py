"""What can go wrong with a broker."""

from __future__ import annotations


class BrokerError(Exception):
    """A broker did not do what it was told; the message holds the end of its log."""


class NotInstalled(BrokerError):
    """The broker's program is not on this machine; the message says how to get it."""
