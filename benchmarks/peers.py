"""The peers: pyinotify in an environment of its own, inotifywait and kcat from the system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import click

from tests.brokers.broker import cache_directory

_PACKAGES = ("pyinotify==0.9.6", "pika==1.4.4")
_SCRIPT = Path(__file__).with_name("pyinotify_peer.py")


def pyinotify(*arguments: str) -> list[str] | None:
    """
    The command that runs `pyinotify_peer`; None, with a word why, where it cannot be had.

    pyinotify 0.9.6 needs asyncore, which Python has up to 3.11. It is installed once a machine.
    """
    if sys.version_info >= (3, 12):
        click.echo("pyinotify 0.9.6 does not run on this Python: it is left out", err=True)
        return None
    environment = cache_directory() / "benchmarks" / f"pyinotify-{sys.version_info[0]}.{sys.version_info[1]}"
    python = environment / "bin" / "python"
    stamp = environment / "installed"
    if not stamp.exists():
        venv.create(environment, with_pip=True)
        pip = [os.fspath(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        if subprocess.run([*pip, *_PACKAGES], check=False).returncode:
            click.echo("pyinotify cannot be installed: it is left out", err=True)
            return None
        stamp.touch()
    return [os.fspath(python), "-W", "ignore", os.fspath(_SCRIPT), *arguments]


def inotifywait(*arguments: str) -> Sequence[str] | None:
    """The command; None, with a word why, where it is not installed."""
    if shutil.which("inotifywait") is None:
        click.echo("inotifywait (Debian: inotify-tools) is not installed: it is left out", err=True)
        return None
    return ["inotifywait", "-m", "-r", *arguments]


def kcat(*arguments: str) -> Sequence[str] | None:
    """The command; None, with a word why, where it is not installed."""
    if shutil.which("kcat") is None:
        click.echo("kcat (Debian: kcat) is not installed: it is left out", err=True)
        return None
    return ["kcat", *arguments]
