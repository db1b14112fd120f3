"""``inotify-bridge validate``"""

from __future__ import annotations

import os

import click

from inotify_bridge.config import ConfigErrors, Inspection, Problem, inspect
from inotify_bridge.log import escaped


@click.command("validate")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--no-environment", is_flag=True, help="Leave ${VAR} alone, and do not judge its value.")
def command(files: tuple[str, ...], no_environment: bool) -> None:
    """
    Check configuration files and report every error at once.

    Each error names file, line, place in the configuration, value and reason. Roots must exist. Exit code 78
    when there is any.

    \b
    Example:
      inotify-bridge validate config.yaml
    """
    environ = None if no_environment else os.environ
    problems: list[Problem] = []
    for file in files:
        inspection = inspect(file, environ, reach=True)
        problems.extend(inspection.problems)
        _report(file, inspection)
    if problems:
        raise ConfigErrors(problems)


def _report(file: str, inspection: Inspection) -> None:
    for note in inspection.notes:
        click.echo(escaped(f"{file}: note: {note}"))
    if not inspection.problems:
        click.echo(escaped(f"{file}: ok{_count(inspection)}"))


def _count(inspection: Inspection) -> str:
    config = inspection.config
    if config is None:
        return " as far as it can be judged without its environment"
    return f": {len(config.watch_groups)} watch group(s), {len(config.sinks)} sink(s)"
