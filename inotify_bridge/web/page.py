"""The status page: HTML made from `AgentStatus`, whole in one answer: no script, no further request."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from inotify_bridge.web.view import AgentStatus, GroupStatus, SinkStatus

STYLE: Final = """
:root { color-scheme: light dark;
  --text: #1b1f24; --back: #fff; --soft: #59636e; --line: #d1d9e0; --good: #116329; --bad: #a40e26; }
@media (prefers-color-scheme: dark) { :root {
  --text: #e6edf3; --back: #0d1117; --soft: #9198a1; --line: #3d444d; --good: #56d364; --bad: #ff938a; } }
body { margin: 0 auto; max-width: 72rem; padding: 1rem 1.5rem 3rem;
  background: var(--back); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
p { margin: .25rem 0; }
.soft { color: var(--soft); }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .75rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); }
th, td { text-align: left; vertical-align: top; padding: .3rem 1.25rem .3rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { font-weight: 600; white-space: nowrap; }
a { color: inherit; }
"""

# The style stands in the page and its hash in the policy: nothing else may style, load, frame or run.
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


class _Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def status_page(status: AgentStatus) -> bytes:
    """The page, UTF-8. Every word of the status is escaped, whatever a name or a broker put into it."""
    problems = [*status["problems"], *(f"{g['name']}: {p}" for g in status["groups"] for p in g["problems"])]
    body = "".join((_head(status, problems), *map(_group, status["groups"]), _foot()))
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{'Problems' if problems else 'OK'} · inotify-bridge</title>\n<style>{STYLE}</style>\n"
        "</head>\n"
        f"<body>\n{body}</body>\n</html>\n"
    )
    return page.encode(errors="backslashreplace")


def _head(status: AgentStatus, problems: Sequence[str]) -> str:
    config, reload = status["config"], status["config"]["last_reload"]
    source = f", configuration {config['path']}" if config["path"] else ""
    refused = (
        f"The last reload, at {reload['at']}, was refused: {reload['error']}"
        if reload and not reload["ok"]
        else ""
    )
    return (
        "<header>\n<h1>inotify-bridge</h1>\n"
        f'<p class="soft">Version {_text(status["version"])}, up {_text(duration(status["uptime_seconds"]))}'
        f"{_text(source)}</p>\n"
        f"{_verdict(not problems, 'No problems.', f'{len(problems)} to look at:')}"
        f"{_list(problems)}"
        f"{_paragraph(refused)}</header>\n"
    )


def _foot() -> str:
    return (
        '<footer>\n<p class="soft">The same figures: <a href="/api/v1/status">JSON</a>, '
        '<a href="/metrics">metrics</a>.</p>\n</footer>\n'
    )


def _group(group: GroupStatus) -> str:
    name = _text(group["name"])
    return (
        f"<section>\n<h2>{name}</h2>\n"
        f'<p class="soft">{_text(group["source"])}</p>\n'
        f"{_table('Figures', (), _figures(group))}"
        f"{_table('Roots', ('Directory', 'Name', 'State'), _roots(group))}"
        f"{_table('Sinks', _SINK_HEAD, map(_sink, group['sinks']))}"
        f"{_uncovered(group)}</section>\n"
    )


def _figures(group: GroupStatus) -> list[tuple[str, str]]:
    outbox, last = group["outbox"], group["resync"]["last"]
    resync = "running" if group["resync"]["running"] else "none yet"
    if last:
        took = f"{last['entries']:,} entries in {duration(last['duration_seconds'])}"
        now = "one is running; the last one: " if group["resync"]["running"] else ""
        resync = f"{now}{last['reason']}, {took}, {last['completed_at']}"
    waiting = f"{outbox['events']:,} events, {size(outbox['bytes'])} of {size(outbox['limit_bytes'])}"
    if outbox["events"]:
        waiting += f", the oldest {duration(outbox['oldest_age_seconds'])} old"
    if outbox["blocked"]:
        waiting += " (full: nothing is taken from the kernel)"
    return [
        ("State", group["state"]),
        ("Agrees with the disk", "yes" if group["consistent"] else "not known yet"),
        ("Epoch and sequence", f"{group['epoch']} · {group['sequence']:,}"),
        ("Watches", f"{group['watches']:,}, and {group['uncovered_count']:,} directories polled instead"),
        ("Waiting for a sink", waiting),
        ("Last resync", resync),
    ]


def _roots(group: GroupStatus) -> Iterable[Sequence[str]]:
    return (
        (root["path"], root["name"], _good(root["state"] == "covered", root["state"]))
        for root in group["roots"]
    )


_SINK_HEAD: Final = ("Sink", "Type", "Connection", "Acknowledged", "Behind", "Parked", "Last error")


def _sink(sink: SinkStatus) -> tuple[str, ...]:
    state = "connected" if sink["connected"] else "not connected"
    kind = f"{sink['type']} (insecure)" if sink["insecure"] else sink["type"]
    return (
        sink["name"],
        kind,
        _Html(f"{_good(sink['connected'], state)} since {_text(sink['since'])}"),
        f"{sink['acked_sequence']:,}",
        f"{sink['lag_events']:,}",
        f"{sink['parked']:,}",
        sink["last_error"] or "",
    )


def _uncovered(group: GroupStatus) -> str:
    rows = [(place["path"] or ".", place["error"]) for place in group["uncovered"]]
    shown = f"Polled directories, {len(rows):,} of {group['uncovered_count']:,}"
    return _table(shown, ("Directory", "Why"), rows)


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose rows begin with their heading; nothing where there are no rows."""
    lines = [
        f'<tr><th scope="row">{_text(first)}</th>{"".join(f"<td>{_text(cell)}</td>" for cell in rest)}</tr>\n'
        for first, *rest in rows
    ]
    if not lines:
        return ""
    columns = "".join(f'<th scope="col">{_text(name)}</th>' for name in head)
    top = f"<thead><tr>{columns}</tr></thead>\n" if head else ""
    return (
        f'<div class="wide"><table>\n<caption>{_text(caption)}</caption>\n{top}'
        f"<tbody>\n{''.join(lines)}</tbody>\n</table></div>\n"
    )


def _verdict(good: bool, yes: str, no: str) -> str:
    return f"<p>{_good(good, yes if good else no)}</p>\n"


def _good(good: bool, words: str) -> _Html:
    return _Html(f'<span class="{"good" if good else "bad"}">{_text(words)}</span>')


def _list(items: Sequence[str]) -> str:
    lines = "".join(f"<li>{_text(item)}</li>\n" for item in items)
    return f"<ul>\n{lines}</ul>\n" if lines else ""


def _paragraph(words: str) -> str:
    return f"<p>{_text(words)}</p>\n" if words else ""


def _text(words: str) -> str:
    return words if isinstance(words, _Html) else escape(words)


def duration(seconds: float) -> str:
    """Seconds in the unit that a person would use."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def size(count: float) -> str:
    """Bytes in the unit that a person would use."""
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count:.0f} B"
