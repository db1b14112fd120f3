"""
Puts a mutant into this process, as the environment says.

`site/sitecustomize.py` calls it in every Python process that has that directory in PYTHONPATH: in pytest and
in whatever a test starts. What happens is written to a trace that all processes share.
"""

from __future__ import annotations

import os
import traceback

from tests.mutants.patching import Patch

MUTANT = "INOTIFY_BRIDGE_TEST_MUTANT"
"""Environment variable: the mutant's name."""

TRACE = "INOTIFY_BRIDGE_TEST_MUTANT_TRACE"
"""Environment variable: the file of the trace; a line for each ``applied``, ``hit`` and ``broken``."""

BROKEN = 70
"""Exit code of a process into which the mutant could not be put."""


class Trace:
    """Appends to the trace; the first hit of a process is enough. Open from the start: tests watch opens."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._was_hit = False

    def applied(self) -> None:
        """The mutant is in place."""
        self._write("applied")

    def hit(self) -> None:
        """See `patching.Witness`."""
        if not self._was_hit:
            self._was_hit = True
            self._write("hit")

    def broken(self, error: BaseException) -> None:
        """See `patching.Witness`."""
        lines = traceback.format_exception(error)
        self._write("broken " + " | ".join(" ".join(line.split()) for line in lines[-3:]))

    def _write(self, line: str) -> None:
        os.write(self._descriptor, f"{line}\n".encode(errors="backslashreplace"))


def inject(name: str) -> None:
    """Apply the mutant of this name for the life of the process, which ends at once where it does not fit."""
    trace = Trace(os.environ[TRACE])
    try:
        from tests.mutants import MUTANTS

        next(mutant for mutant in MUTANTS if mutant.name == name).apply(Patch(trace))
    except BaseException as error:
        trace.broken(error)
        os._exit(BROKEN)
    trace.applied()
