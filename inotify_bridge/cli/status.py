"""``inotify-bridge status``: the figures of a running agent, once."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, cast

import click

from inotify_bridge.cli.connection import connection
from inotify_bridge.cli.options import url_option
from inotify_bridge.errors import BridgeError, UnavailableError, UsageError
from inotify_bridge.log import escaped
from inotify_bridge.web.page import duration, size
from inotify_bridge.web.view import AgentStatus, GroupStatus, SinkStatus

TIMEOUT_SECONDS: Final = 10.0
# A status has a few hundred bytes a pair and at most 100 uncovered directories a group.
ANSWER_LIMIT: Final = 64 * 1024 * 1024


@click.command("status")
@url_option
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the bearer token, where the agent listens on other than a loopback address.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole status as JSON (docs/status.md).")
def command(url: str, token_file: Path | None, as_json: bool) -> None:
    """
    Print the figures of a running agent: its groups, their sinks and what is wrong.

    \b
    Example:
      inotify-bridge status --url http://127.0.0.1:10477
    """
    figures = fetch_status(url, read_token(token_file) if token_file else None)
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    for line in lines(figures):
        click.echo(line)


def read_token(path: Path) -> str:
    """
    The bearer token of a file, without the white space around it.

    Raises:
        UsageError: it cannot be read, or holds no token.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not ASCII text"
        raise UsageError(f"--token-file {path}: {reason}") from exc
    if not token or not token.isprintable():
        raise UsageError(
            f"--token-file {path}: no token in it", "one line, the same as in http.admin_token_file"
        )
    return token


def fetch_status(url: str, token: str | None) -> AgentStatus:
    """
    Ask the agent at `url` for its status.

    Raises:
        UsageError: `url` is no address.
        UnavailableError: nothing answers there, or something else does.
        BridgeError: it refused to answer.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    asked = connection(url, TIMEOUT_SECONDS)
    try:
        asked.request("GET", "/api/v1/status", headers=headers)
        response = asked.getresponse()
        return _status(url, response.status, response.read(ANSWER_LIMIT))
    except (OSError, http.client.HTTPException, UnicodeError) as exc:  # the last: a name no DNS can hold
        reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
        raise UnavailableError(
            f"no agent answers at {url}: {reason}",
            "is it running? --url takes the address of its http.listen",
        ) from exc
    finally:
        asked.close()


def _status(url: str, code: int, body: bytes) -> AgentStatus:
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if code == 200 and isinstance(content, dict) and "groups" in content:
        return cast(AgentStatus, content)
    if isinstance(content, dict) and "error" in content:
        raise BridgeError(
            f"{url} refused: {escaped(str(content['error']))}", escaped(str(content.get("hint", "")))
        )
    raise UnavailableError(
        f"what answers at {url} is no inotify-bridge (HTTP {code})", "--url takes the address of http.listen"
    )


def lines(figures: AgentStatus) -> Iterator[str]:
    """The compact table, line by line."""
    source = f", {figures['config']['path']}" if figures["config"]["path"] else ""
    yield escaped(f"inotify-bridge {figures['version']}, up {duration(figures['uptime_seconds'])}{source}")
    groups = figures["groups"]
    if groups:
        yield ""
        yield from _table(_GROUP_HEAD, [_group_row(group) for group in groups])
        yield ""
        yield from _table(_SINK_HEAD, [_sink_row(group, sink) for group in groups for sink in group["sinks"]])
    problems = [*figures["problems"], *(f"{g['name']}: {p}" for g in groups for p in g["problems"])]
    yield ""
    yield "No problems." if not problems else "Problems:"
    for problem in problems:
        yield f"  {escaped(problem)}"


_GROUP_HEAD: Final = (
    "GROUP",
    "STATE",
    "CONSISTENT",
    "SEQUENCE",
    "WATCHES",
    "POLLED",
    "WAITING",
    "OLDEST",
    "RESYNC",
)
_SINK_HEAD: Final = ("GROUP", "SINK", "TYPE", "CONNECTED", "ACKED", "BEHIND", "PARKED", "LAST ERROR")


def _group_row(group: GroupStatus) -> tuple[str, ...]:
    outbox, resync = group["outbox"], group["resync"]
    last = resync["last"]
    done = f"{last['reason']}, {duration(last['duration_seconds'])}" if last else "none yet"
    return (
        group["name"],
        group["state"],
        "yes" if group["consistent"] else "no",
        str(group["sequence"]),
        str(group["watches"]),
        str(group["uncovered_count"]),
        f"{outbox['events']} ({size(outbox['bytes'])} of {size(outbox['limit_bytes'])})",
        duration(outbox["oldest_age_seconds"]) if outbox["events"] else "-",
        "running" if resync["running"] else done,
    )


def _sink_row(group: GroupStatus, sink: SinkStatus) -> tuple[str, ...]:
    return (
        group["name"],
        sink["name"],
        sink["type"],
        "yes" if sink["connected"] else "no",
        str(sink["acked_sequence"]),
        str(sink["lag_events"]),
        str(sink["parked"]),
        sink["last_error"] or "-",
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    cells = [head, *([escaped(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
