"""An agent for `tests.patched` that does not wait a minute for a renamed log file to grow."""

from __future__ import annotations

from inotify_bridge.lines.options import Options


def impatient() -> None:
    """A fifth of a second is enough."""
    Options.__init__.__defaults__ = (0.2,)
