"""
inotify-bridge: change data capture for directories, a file-event stream that never lies.

    from inotify_bridge import Agent, Config          # embed the agent
    from inotify_bridge.sinks import Sink             # write a sink
    from inotify_bridge.subscribe import parse, Replica, GapDetector   # consume
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inotify_bridge.agent import Agent
    from inotify_bridge.config import Config

__all__ = ["Agent", "Config", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Load the agent only where it is asked for: commands like ``--help`` start at once."""
    if name == "Agent":
        from inotify_bridge.agent import Agent

        return Agent
    if name == "Config":
        from inotify_bridge.config import Config

        return Config
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
