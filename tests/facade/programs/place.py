"""An environment of a newer Python in which the façade stands for pyinotify, and programs that run in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pip

from tests.interpreters import Environment
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]
SECONDS = 300.0
_ITS_OWN = "import pyinotify, inotify_bridge.pyinotify as facade; print(pyinotify is facade)"


class Unavailable(Exception):
    """A program cannot be had here; the text says why."""


class Place:
    """
    A virtual environment that has `pyinotify` of this tree, under the distribution name pyinotify.

    Args:
        directory: empty.
        version: of Python: "3.12" or newer.
    Raises:
        pytest.skip.Exception: there is no such Python here.
    """

    def __init__(self, directory: Path, version: str) -> None:
        self._environment = Environment(directory / "venv", version)
        self.python = self._environment.python
        self._wheels = directory / "wheels"
        for project in (ROOT, ROOT / "compat" / "as-pyinotify"):
            call = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(self._wheels)]
            subprocess.run(call, cwd=project, check=True, capture_output=True, timeout=SECONDS)
        # The façade alone: none of what the agent needs is installed.
        self._environment.install(*self._wheels.glob("*.whl"))

    def install(self, *requirements: str) -> None:
        """
        Have pip install programs with what they require from the package index. What they require of
        pyinotify is met already: pip leaves it alone.

        Raises:
            Unavailable: pip could not.
        """
        pip_program = os.fspath(Path(pip.__file__).parent)
        call = [
            str(self.python),
            pip_program,
            "--disable-pip-version-check",
            "install",
            "--quiet",
            *requirements,
        ]
        done = subprocess.run(
            call, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if done.returncode:
            raise Unavailable(f"pip install {' '.join(requirements)}: {done.stderr[-500:]}")
        assert self.run("-c", _ITS_OWN) == "True\n"

    def run(self, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> str:
        """Run Python to its end; what it printed."""
        done = subprocess.run(
            [self.python, *arguments], env=self._variables(environment), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def running(
        self, log: Path, *arguments: str | Path, environment: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """
        A program that runs until the block ends; then SIGTERM ends it.

        Args:
            log: takes what it writes; shown where it fails.
        """
        with log.open("wb") as out:
            process = subprocess.Popen(
                [self.python, *arguments], env=self._variables(environment), stdin=subprocess.DEVNULL,
                stdout=out, stderr=out,
            )  # fmt: skip
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        except BaseException:
            sys.stderr.write(log.read_text(errors="replace")[-4000:])
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _variables(self, more: Mapping[str, str] | None) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return {**plain, **(more or {})}


def says(file: Path, text: str, what: str) -> None:
    """Wait until a file holds a text."""
    eventually(lambda: file.exists() and text in file.read_text(errors="replace"), within=90, what=what)
