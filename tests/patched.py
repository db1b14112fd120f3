"""
The agent with something of it replaced: ``python -m tests.patched MODULE:FUNCTION ARGUMENTS…``.

`FUNCTION` is called without arguments before the command line runs. It patches what it wants to, for the
whole life of this process: a fault at a named place, or a mutant that a test has to catch.
"""

from __future__ import annotations

import importlib
import sys

from inotify_bridge.cli import main


def apply(patch: str) -> None:
    """Call the function that ``MODULE:FUNCTION`` names."""
    module, _, function = patch.partition(":")
    getattr(importlib.import_module(module), function)()


if __name__ == "__main__":
    apply(sys.argv.pop(1))
    sys.exit(main())
