"""Other Pythons than the one that runs the suite: the newer ones that the façade serves."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PYTHONS_VARIABLE = "INOTIFY_BRIDGE_PYTHONS"
"""Paths of interpreters, separated by colons, that are neither on PATH nor where pyenv and uv put theirs."""

_SECONDS = 30.0
_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def python(version: str) -> Path:
    """An interpreter of that version; skips where the machine has none."""
    found = find(version)
    if found is None:
        pytest.skip(f"no Python {version} on PATH, of pyenv or uv, nor in ${PYTHONS_VARIABLE}")
    return found


@functools.cache
def find(version: str) -> Path | None:
    """An interpreter of that version that really starts: a shim of pyenv may stand for none."""
    for path in _candidates(version):
        done = subprocess.run(
            [path, "-c", _VERSION], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if done.stdout.strip() == version:
            return path
    return None


def _candidates(version: str) -> Iterator[Path]:
    yield from (
        Path(one) for one in os.environ.get(PYTHONS_VARIABLE, "").split(":") if os.access(one, os.X_OK)
    )
    if on_path := shutil.which(f"python{version}"):
        yield Path(on_path)
    home = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted((home / "versions").glob(f"{version}.*/bin/python{version}"))
    yield from sorted(
        (Path.home() / ".local/share/uv/python").glob(f"cpython-{version}.*/bin/python{version}")
    )
