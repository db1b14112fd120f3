"""What is printed: the machine, and tables."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

import click


def machine() -> None:
    """The machine and how busy it is: figures of a busy one are upper bounds."""
    click.echo(
        f"{platform.system()} {platform.release()}, {os.cpu_count()} CPUs, "
        f"Python {platform.python_version()}, load average {_load()}"
    )


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """
    A table with its title and the load average at its end; the first column is text, the others are figures.

    Args:
        rows: floats are shown with three significant digits, None as a dash.
    """
    cells = [[*map(_shown, row)] for row in rows]
    widths = [max(len(line[place]) for line in (header, *cells)) for place in range(len(header))]
    click.echo(f"\n{title} (load average {_load()})")
    for line in (header, *cells):
        first, *others = line
        figures = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        click.echo("  ".join([f"  {first.ljust(widths[0])}", *figures]).rstrip())


def _load() -> str:
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
