"""The elements of which the status page is made. Whatever is not `Html` is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final, Literal, NamedTuple, TypeAlias

from inotify_bridge.log import escaped
from inotify_bridge.web.words import duration, moment

Tone: TypeAlias = Literal["good", "bad", "wait"]

_LONGEST: Final = 400
_HEAD: Final = 200
_TAIL: Final = 150
"""Characters that are shown of what is longer than the longest."""

_SIGNS: Final = {"good": "✓", "bad": "!", "wait": "…"}


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


class Column(NamedTuple):
    """
    A column of a table.

    Args:
        name: its heading.
        kind: ``number`` is aligned right, ``name`` may break anywhere: names of files have no spaces.
    """

    name: str
    kind: Literal["words", "number", "name"] = "words"


def text(words: str) -> str:
    """Words as HTML."""
    return words if isinstance(words, Html) else escape(words)


def join(*parts: str) -> Html:
    """Parts one after the other."""
    return Html("".join(map(text, parts)))


def name(words: str) -> Html:
    """Words from outside, shortened, written as on a terminal: nothing in them hides or turns the text."""
    if isinstance(words, Html):
        return words
    return Html(f"<bdi>{escape(escaped(shortened(words)))}</bdi>")


def shortened(words: str) -> str:
    """Long words without their middle: a path may have thousands of characters. The JSON has it whole."""
    if len(words) <= _LONGEST:
        return words
    return f"{words[:_HEAD]} […{len(words) - _HEAD - _TAIL:,} characters…] {words[-_TAIL:]}"


def small(words: str) -> Html:
    """Words beside a figure, on a line of their own; nothing where there are none."""
    return Html(f'<span class="small">{text(words)}</span>' if words else "")


def badge(tone: Tone, words: str) -> Html:
    """A state: the sign and the word say what the colour says."""
    sign = f'<span class="sign" aria-hidden="true">{_SIGNS[tone]}</span>'
    return Html(f'<span class="badge {tone}">{sign}{text(words)}</span>')


def meter(label: str, value: float, limit: float) -> Html:
    """How much of something is used; the figures stand beside it in words."""
    share = min(1.0, value / limit) if limit > 0 else 0.0
    return Html(
        f'<meter min="0" max="1" low="0.5" high="0.8" optimum="0" value="{share:.3f}" '
        f'aria-label="{escape(label)}">{share:.0%}</meter>'
    )


def clock(timestamp: str, now: datetime, fraction: bool = False) -> Html:
    """A time of the status, in UTC; with its date where that is not the day of `now`."""
    at = moment(timestamp)
    if at is None:
        return name(timestamp)
    at = at.astimezone(UTC)
    day = "" if at.date() == now.astimezone(UTC).date() else f"{at:%Y-%m-%d} "
    shown = f"{at:%H:%M:%S}" + (f".{at.microsecond // 1000:03}" if fraction else "")
    return Html(f'<time datetime="{escape(timestamp)}">{day}{shown}</time>')


def ago(timestamp: str, now: datetime) -> Html:
    """For how long something lasts: ``for 2.0 h, since 16:42:03 UTC``."""
    at = moment(timestamp)
    length = f"for {duration(max(0.0, (now - at).total_seconds()))}, " if at is not None else ""
    return Html(f"{length}since {clock(timestamp, now)} UTC")


def table(
    caption: str, columns: Sequence[Column], rows: Iterable[Sequence[str]], fold: str = "", css: str = ""
) -> Html:
    """
    A table whose rows begin with their heading; nothing where there are no rows.

    On a narrow screen its cells stand below each other: the roles say that it is a table still.

    Args:
        fold: the id under which it is folded away; empty: it is not.
        css: class of the table.
    """
    lines = "".join(_row(columns, row) for row in rows)
    if not lines:
        return Html("")
    heads = "".join(
        f'<th scope="col" role="columnheader" class="{kind}">{text(title)}</th>' for title, kind in columns
    )
    said = f'<caption class="{"unseen" if fold else ""}">{text(caption)}</caption>'
    made = (
        f'<table role="table" class="{css}">\n{said}\n'
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{lines}</tbody>\n</table>\n'
    )
    if fold:
        made = f'<details id="{escape(fold)}"><summary>{text(caption)}</summary>\n{made}</details>\n'
    return Html(made)


def _row(columns: Sequence[Column], row: Sequence[str]) -> str:
    first, *rest = zip(columns, row, strict=True)
    return (
        f'<tr role="row"><th scope="row" role="rowheader" class="{first[0].kind}">{text(first[1])}</th>'
        + "".join(
            f'<td role="cell" class="{column.kind}" data-name="{escape(column.name)}">'
            f"<div>{text(cell)}</div></td>"
            for column, cell in rest
        )
        + "</tr>\n"
    )


def tiles(figures: Iterable[tuple[str, str]]) -> Html:
    """Figures with their names."""
    return Html(
        '<dl class="tiles">\n'
        + "".join(f"<div><dt>{text(title)}</dt><dd>{text(figure)}</dd></div>\n" for title, figure in figures)
        + "</dl>\n"
    )
