"""The Pythons that are installed here, and environments of them that hold what a test puts there."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

VERSIONS = ("3.11", "3.12", "3.13", "3.14")


@functools.cache
def interpreter(version: str) -> Path | None:
    """A Python of this version: the one that runs this, one on the path, or one of pyenv's."""
    return next((path for path in _candidates(version) if _is(path, version)), None)


def _candidates(version: str) -> Iterator[Path]:
    yield Path(sys.executable)
    if found := shutil.which(f"python{version}"):
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)


def _is(path: Path, version: str) -> bool:
    # A shim of pyenv is there for every version that it has, and works for those that are switched on.
    code = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() == version


class Environment:
    """
    A virtual environment without pip.

    Raises:
        pytest.skip.Exception: there is no such Python here.
    """

    def __init__(self, place: Path, version: str) -> None:
        found = interpreter(version)
        if found is None:
            pytest.skip(f"Python {version} is not installed")
        subprocess.run([found, "-m", "venv", "--without-pip", place], check=True)
        self.python = place / "bin" / "python"
        self.packages = place / "lib" / f"python{version}" / "site-packages"

    def unpack(self, *wheels: Path) -> None:
        """Put in what wheels hold: all that an installer does but for scripts."""
        for wheel in wheels:
            zipfile.ZipFile(wheel).extractall(self.packages)

    def pip(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Call the suite's pip for this environment."""
        # Not pip's directory as a program: it would see what is installed beside it.
        call: list[str | Path] = [sys.executable, "-m", "pip", "--python", self.python, "--isolated"]
        call += ["--disable-pip-version-check", *arguments]
        return subprocess.run(call, capture_output=True, text=True, timeout=100, check=False)

    def install(self, *wheels: str | Path) -> None:
        """Have pip install wheels, without what they depend on and without an index."""
        done = self.pip("install", "--no-index", "--no-deps", "--no-compile", *wheels)
        assert done.returncode == 0, done.stderr

    def run(self, code: str) -> str:
        """What a program prints that sees this environment alone; a warning ends it."""
        call = [str(self.python), "-I", "-W", "error", "-c", code]
        done = subprocess.run(call, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout
