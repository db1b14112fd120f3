"""``python -m tests.facade.differential``: scripts × attributes, the original beside the façade."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from tests.facade.differential import sides
from tests.facade.differential.improvements import IMPROVEMENTS
from tests.facade.differential.records import Row, differences, table


@click.command()
@click.option("--python", default=sys.executable, help="The Python that runs the façade.")
@click.option("--script", "only", help="One script, and every difference of it.")
def main(python: str, only: str | None) -> None:
    """The original on this Python beside the façade."""
    if not sides.original_is_here():
        raise click.ClickException(
            "the original runs up to Python 3.11 and is a development dependency there"
        )
    one, other = sides.original(), sides.facade(Path(shutil.which(python) or python))
    if only:
        for difference in differences(one[only], other[only]):
            click.echo(difference)
        return
    rows = [Row.of(name, one[name], other[name]) for name in one]
    click.echo(table(rows, {improvement.script: improvement.why for improvement in IMPROVEMENTS}))


if __name__ == "__main__":
    main(prog_name="python -m tests.facade.differential")
