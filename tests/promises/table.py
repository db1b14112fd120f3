"""Reads docs/promises.md: the promises, the tests that break them on purpose, and the mutants."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final = ROOT / "docs/promises.md"
PROMISES: Final = tuple(f"R{number}" for number in range(1, 21))

_ROW: Final = re.compile(r"\| (R\d+) \|")
_CODE: Final = re.compile(r"`([^`]+)`")


class Row(NamedTuple):
    """
    One line of the table.

    Args:
        promise: R1 to R20.
        sentence: what is promised.
        tests: files, or tests as pytest names them.
        fault: what is done to it, and how that is counted.
        mutants: by name.
    """

    promise: str
    sentence: str
    tests: list[str]
    fault: str
    mutants: list[str]


def rows() -> list[Row]:
    """The table, line by line."""
    found: list[Row] = []
    for line in DOCUMENT.read_text().splitlines():
        if _ROW.match(line):
            promise, sentence, tests, fault, mutants = (cell.strip() for cell in line.strip("|").split("|"))
            found.append(Row(promise, sentence, _CODE.findall(tests), fault, _CODE.findall(mutants)))
    return found


def has_test(node: str) -> bool:
    """Whether a file, a class of tests or a test is there, by its name for pytest (parameters aside)."""
    file, *names = node.partition("[")[0].split("::")
    path = ROOT / file
    if not names:
        return path.is_file()
    return path.is_file() and names[-1] in _functions(path)


def _functions(path: Path) -> set[str]:
    """Functions of a module and of the classes that it takes tests from."""
    tree = ast.parse(path.read_bytes())
    found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests."):
            source = ROOT / (node.module.replace(".", "/") + ".py")
            if source.is_file() and source.stem == "conformance":
                found |= _functions(source)
    return found
