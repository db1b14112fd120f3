"""``inotify-bridge doctor``"""

from __future__ import annotations

import json
from typing import Final

import click

from inotify_bridge.config import load
from inotify_bridge.doctor import Finding, examine
from inotify_bridge.errors import BridgeError
from inotify_bridge.log import escaped

_MARKS: Final = {"ok": "ok     ", "warning": "warning", "failed": "FAILED "}


@click.command("doctor")
@click.option(
    "-c", "--config", "config_file", metavar="FILE", help="Look at the roots and the state directory of FILE."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.option(
    "--seconds", type=click.FloatRange(min=0.1), default=10.0, show_default=True, help="Longest count."
)
def command(config_file: str | None, as_json: bool, seconds: float) -> None:
    """
    Check this machine: limits, permissions, file systems, state directory, clock.

    Says what to change, and changes nothing. Exit code 1 when something will not work.

    \b
    Example:
      inotify-bridge doctor -c config.yaml
    """
    config = load(config_file) if config_file is not None else None
    findings = []
    for finding in examine(config, seconds):
        findings.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    failed = sum(finding.status == "failed" for finding in findings)
    if failed:
        raise BridgeError(
            f"{failed} of {len(findings)} checks failed", "what to change stands behind each arrow"
        )


def _show(finding: Finding) -> None:
    click.echo(escaped(f"{_MARKS[finding.status]} {finding.subject}: {finding.detail}"))
    if finding.advice:
        click.echo(escaped(f"        -> {finding.advice}"))
