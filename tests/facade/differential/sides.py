"""The two sides as processes: the original on Python 3.11, the façade on any Python."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

from tests.facade.differential.records import Records

Recorded: TypeAlias = Mapping[str, Records]

ROOT = Path(__file__).parents[3]
SECONDS = 240.0
_IN_ITS_PLACE = (
    "import sys\nimport inotify_bridge.pyinotify\nsys.modules[__name__] = inotify_bridge.pyinotify\n"
)


def original_is_here() -> bool:
    """Whether this Python has the original: a development dependency up to Python 3.11."""
    return find_spec("pyinotify") is not None


@functools.cache
def original() -> Recorded:
    """What the scripts record with the original, on this Python."""
    return _recorded(Path(sys.executable), facade=False)


@functools.cache
def facade(python: Path) -> Recorded:
    """What the scripts record with the façade in the original's place."""
    return _recorded(python, facade=True)


def _recorded(python: Path, *, facade: bool) -> Recorded:
    with tempfile.TemporaryDirectory(prefix="inotify-bridge-differential-") as scratch:
        entry, out = Path(scratch, "entry"), Path(scratch, "records")
        entry.mkdir()
        if facade:
            (entry / "pyinotify.py").write_text(_IN_ITS_PLACE)
        module = "inotify_bridge.pyinotify" if facade else "pyinotify"
        path = os.pathsep.join(map(str, (entry, ROOT)))
        # Half of the scripts make the module write to stderr: what counts of that is recorded.
        environment = {**os.environ, "PYTHONPATH": path, "PYINOTIFY_MODULE": module}
        options = ["-B", "-W", "ignore", "-m", "tests.facade.differential.side"]
        done = subprocess.run(
            [os.fspath(python), *options, f"{scratch}/scripts", os.fspath(out)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            raise AssertionError(
                f"the scripts ended with {done.returncode} on {python}: {done.stderr[-2000:]}"
            )
        found: Recorded = json.loads(out.read_text())
        return found
