"""
The status page: HTML made from `AgentStatus`, whole in one answer, with its style and its script.

Without JavaScript it is a page that says when it was made. The script asks for the same page again and puts
what has changed into the one that stands: there is one place that turns figures into words, this one.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final

from inotify_bridge.web.html import Html, badge, clock, name, text
from inotify_bridge.web.sections import overview, section
from inotify_bridge.web.view import AgentStatus, FindingStatus
from inotify_bridge.web.words import duration, plural

_HERE: Final = files("inotify_bridge.web")
STYLE: Final = _HERE.joinpath("page.css").read_text(encoding="utf-8")
SCRIPT: Final = _HERE.joinpath("page.js").read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


# Both stand in the page and their hashes in the policy: nothing else may style, load, frame or run, and the
# script may ask this server only.
CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_hash(STYLE)}'; script-src 'sha256-{_hash(SCRIPT)}'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_LOOKS: Final = hashlib.sha256((STYLE + SCRIPT).encode()).hexdigest()[:16]
"""The script loads the page anew where the agent is another release, with another style or script."""


def status_page(status: AgentStatus) -> bytes:
    """The page, UTF-8. Every word of the status is escaped, whatever a name or a broker put into it."""
    now = datetime.now(UTC)
    found = [("", finding) for finding in status["findings"]]
    found += [(group["name"], finding) for group in status["groups"] for finding in group["findings"]]
    title = f"{plural(len(found), 'problem')} · inotify-bridge" if found else "OK · inotify-bridge"
    sections = "".join(section(group, status["watches_limit"], now) for group in status["groups"])
    page = (
        f'<!doctype html>\n<html lang="en" data-looks="{_LOOKS}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#main">To the figures</a>\n{_head(status, now)}'
        f'<main id="main" tabindex="-1">\n{_findings(found)}{_nothing_yet(status)}{overview(status)}'
        f"{sections}</main>\n"
        f"{_FOOT}<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
    return page.encode(errors="backslashreplace")


def _head(status: AgentStatus, now: datetime) -> str:
    source = f", configuration {name(path)}" if (path := status["config"]["path"]) else ""
    made = clock(now.isoformat(timespec="seconds"), now)
    return (
        '<header>\n<div id="facts">\n<h1>inotify-bridge</h1>\n'
        f'<p class="soft name">Version {text(status["version"])}, up {duration(status["uptime_seconds"])}'
        f"{source}</p>\n</div>\n"
        f'<div class="fresh"><p>Made at <span id="made">{made}</span> UTC<span id="age"></span></p>\n'
        '<noscript><a class="button" href="/">Look again</a></noscript>\n'
        '<button id="pause" type="button" hidden>Pause</button></div>\n</header>\n'
        '<div id="reach" role="alert"></div>\n<p id="said" class="unseen" role="status"></p>\n'
    )


_FOOT: Final = (
    '<footer>\n<p class="soft">The same figures: <a href="/api/v1/status">JSON</a>, '
    '<a href="/metrics">metrics</a>. In a terminal: <code>inotify-bridge top</code>.</p>\n</footer>\n'
)


def _findings(found: Sequence[tuple[str, FindingStatus]]) -> Html:
    """What is wrong and what to do, before everything else."""
    if not found:
        return Html(f'<section id="verdict" class="well"><h2>{badge("good", "No problems")}</h2></section>\n')
    items = "".join(_finding(group, finding) for group, finding in found)
    title = badge("bad", plural(len(found), "problem"))
    return Html(f'<section id="verdict"><h2>{title}</h2>\n<ul id="findings">\n{items}</ul></section>\n')


def _finding(group: str, finding: FindingStatus) -> str:
    where = f' <span class="soft">group {name(group)}</span>' if group else ""
    return (
        f"<li><p><strong>{name(finding['title'])}</strong>{where}</p>\n"
        f'<p class="name">{name(finding["what"])}</p>\n'
        f"<p><b>Do:</b> {_commands(finding['do'])}</p>\n"
        f'<p class="soft">More: docs/operations.md, “{text(finding["see"])}”</p></li>\n'
    )


def _commands(words: str) -> str:
    """What stands between backquotes is to be typed."""
    parts = text(words).split("`")
    if len(parts) % 2 == 0:
        return text(words)
    return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))


def _nothing_yet(status: AgentStatus) -> str:
    return "" if status["groups"] else '<p id="nothing">No group runs yet: the agent is starting.</p>\n'
