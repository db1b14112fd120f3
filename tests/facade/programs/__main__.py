"""``python -m tests.facade.programs``: run them, and say what they did."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from tests.facade.programs.place import Place, Unavailable
from tests.facade.programs.programs import PROGRAMS


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(PROGRAMS)))
@click.option("--python", default="3.12", show_default=True, help="The version that runs them.")
def main(names: tuple[str, ...], python: str) -> None:
    """Run programs written for pyinotify on the façade (all, where no NAMES are given)."""
    for name in names or PROGRAMS:
        with tempfile.TemporaryDirectory(prefix="inotify-bridge-program-") as scratch:
            place = Place(Path(scratch), python)
            try:
                did = PROGRAMS[name].run(place, Path(scratch))
            except Unavailable as error:
                raise click.ClickException(f"{name}: {error}") from error
        click.echo("\n  ".join([f"{name} on Python {python}", *did]))


if __name__ == "__main__":
    main(prog_name="python -m tests.facade.programs")
