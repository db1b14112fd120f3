"""
Packages of any release of Debian, unpacked in a directory: what this machine's own release does not have.

    python -m tests.debian DIRECTORY        Python 3.14 of Debian testing, as DIRECTORY/usr/bin/python3.14

Nothing is installed and no right is needed. The archive is the one that this machine's apt is set up for.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

_SECONDS = 300.0
_PYTHON = "python3.14"


class Unavailable(Exception):
    """There is no apt here, or its archive does not answer; the text says which."""


def unpack(directory: Path, suite: str, packages: Sequence[str], *, dependencies: bool = False) -> None:
    """
    Download packages of a release and unpack them, without running what they bring.

    Args:
        directory: becomes the root of what they contain; apt keeps its books in `directory`/apt.
        suite: "trixie", "testing" …
        dependencies: theirs too, but for what is only recommended.
    Raises:
        Unavailable: they cannot be had here.
    """
    apt = directory / "apt"
    for name in ("lists/partial", "archives/partial"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(f"deb [check-valid-until=no] {_archive()} {suite} main\n")
    _run([*_apt_get(apt), "update"])
    everything = ["--download-only", "--yes", "--no-install-recommends", "install"]
    _run([*_apt_get(apt), *(everything if dependencies else ["download"]), *packages], apt / "archives")
    for package in sorted((apt / "archives").glob("*.deb")):
        _run(["dpkg-deb", "--extract", os.fspath(package), os.fspath(directory)])


def _archive() -> str:
    """The archive that apt uses here for Debian itself."""
    said = _run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI) $(SUITE)", "Created-By: Packages"]
    )
    for line in said.splitlines():
        match line.split():
            case ["Debian", address, suite] if "-" not in suite:
                return address
    raise Unavailable("apt knows no archive of Debian: apt-get update")


def _apt_get(apt: Path) -> Iterator[str]:
    settings = {
        "Dir::State": apt,
        "Dir::State::lists": apt / "lists",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt,
        "Dir::Cache::archives": apt / "archives",
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "APT::Sandbox::User": "",  # it could not read a directory that is only ours
    }
    yield "apt-get"
    for name, value in settings.items():
        yield from ("-o", f"{name}={value}")


def _run(command: Sequence[str], directory: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
    except FileNotFoundError as error:
        raise Unavailable(f"{error.filename} is not installed") from error
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"{error.cmd[0]}: {error.stderr[-500:]}") from error
    return done.stdout


def python(directory: Path, suite: str = "testing") -> Path:
    """
    Python 3.14 with the C library it was made for, which need not be this machine's.

    Raises:
        Unavailable: it cannot be had here, or patchelf is not installed.
    """
    unpack(directory, suite, [_PYTHON], dependencies=True)
    libraries = next(directory.glob("usr/lib/*/libc.so.6")).parent
    (loader,) = libraries.glob("ld-linux*.so.*")
    binary = directory / "usr" / "bin" / _PYTHON
    both = ["--set-interpreter", os.fspath(loader), "--force-rpath", "--set-rpath", os.fspath(libraries)]
    _run(["patchelf", *both, os.fspath(binary)])
    return binary


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
def main(directory: Path) -> None:
    """Unpack Python 3.14 of Debian testing."""
    try:
        click.echo(python(directory.absolute()))
    except Unavailable as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main(prog_name="python -m tests.debian")
