"""What two sides recorded, beside each other: columns, differences, the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple, TypeAlias

Record: TypeAlias = Mapping[str, Any]
Records: TypeAlias = Sequence[Record]

EVENT_COLUMNS = (
    "wd", "mask", "maskname", "path", "name", "pathname", "dir", "cookie", "src_pathname",
    "other", "handler", "str",
)  # fmt: skip
COLUMNS = (*EVENT_COLUMNS, "answer", "raised", "log", "exit", "stdout", "stderr", "sequence")
_HANDLER = ("by", "type")
_COLUMN_OF = {"level": "log", "message": "log", "logger": "log", "wmd": "raised", "broken": "sequence"}
_ABSENT = "absent"


class Compared(NamedTuple):
    """One value of one record on both sides."""

    at: int
    column: str
    field: str
    original: Any
    facade: Any

    @property
    def equal(self) -> bool:
        """Whether both sides say the same."""
        return bool(self.original == self.facade)

    def __str__(self) -> str:
        return f"record {self.at}, {self.field}: {self.original!r} is {self.facade!r}"


def compared(original: Records, facade: Records) -> Iterator[Compared]:
    """
    Every value of every record.

    A record that stands beside one of another kind, or beside none, is one difference in `sequence`.
    """
    for at, (one, other) in enumerate(zip_longest(original, facade)):
        if one is None or other is None or one["kind"] != other["kind"]:
            yield Compared(at, "sequence", "record", one, other)
            continue
        yield Compared(at, "sequence", "kind", one["kind"], other["kind"])
        for field in sorted({*one, *other} - {"kind"}):
            yield Compared(
                at, column(one["kind"], field), field, one.get(field, _ABSENT), other.get(field, _ABSENT)
            )


def column(kind: str, field: str) -> str:
    """Under which column of the table a field of a record stands."""
    if kind == "event":
        if field in _HANDLER:
            return "handler"
        return field if field in EVENT_COLUMNS else "other"
    if field == "what":
        return "sequence"
    return _COLUMN_OF.get(field, field)


def differences(original: Records, facade: Records) -> list[Compared]:
    """What is not equal."""
    return [one for one in compared(original, facade) if not one.equal]


class Row(NamedTuple):
    """A script's line: compared values and differences by column."""

    script: str
    values: Counter[str]
    different: Counter[str]

    @classmethod
    def of(cls, script: str, original: Records, facade: Records) -> Row:
        """Count."""
        every = list(compared(original, facade))
        different = Counter(one.column for one in every if not one.equal)
        return cls(script, Counter(one.column for one in every), different)

    def cell(self, name: str) -> str:
        """``12``: twelve values, all equal; ``12≠2``: two of them differ; empty: no such value."""
        if not self.values[name]:
            return ""
        return (
            f"{self.values[name]}≠{self.different[name]}" if self.different[name] else str(self.values[name])
        )


def table(rows: Sequence[Row], reasons: Mapping[str, str]) -> str:
    """
    Scripts × columns as text.

    Args:
        reasons: of the scripts that may differ, by their names: what the façade does better there.
    """
    total = Row(
        "all", sum((row.values for row in rows), Counter()), sum((row.different for row in rows), Counter())
    )
    lines: list[tuple[str, ...]] = [("script", *COLUMNS)]
    lines += [(row.script, *(row.cell(name) for name in COLUMNS)) for row in (*rows, total)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    shown = ["  ".join(_aligned(line, widths)).rstrip() for line in lines]
    equal = sum(1 for row in rows if not row.different)
    named = [f"{row.script}: {reasons.get(row.script, 'NOT ALLOWED')}" for row in rows if row.different]
    return "\n".join([*shown, "", f"{equal} of {len(rows)} scripts equal; different:", *named])


def _aligned(line: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    yield line[0].ljust(widths[0])
    yield from (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
