"""``python -m benchmarks``: everything in a short form; ``python -m benchmarks NAME``: one thing in full."""

from __future__ import annotations

import click

from benchmarks import burst, percall
from benchmarks.report import machine


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Measure. Without a command: everything in a short form."""
    if context.invoked_subcommand is None:
        machine()
        burst.run(30_000, kafka=True)
        percall.run(8)


for module in (burst, percall):
    main.add_command(module.main)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
