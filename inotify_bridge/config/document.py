"""
YAML text to plain values, each with the line it stands on.

Scalars are read by the core schema of YAML 1.2, so that ``on`` and ``no`` are words and ``10:30`` is no
number. References to the environment are filled after parsing and in scalar values only; then the result gets
its type, unless it stands in quotes. What goes wrong with one value is noted, and the others are read all the
same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from inotify_bridge.config.environment import BadReference, has_reference, is_reference, substitute
from inotify_bridge.config.problems import Place, is_secret

_TAGGED: Final = "!"
_TAG: Final = "tag:yaml.org,2002:"
_MAX_VALUES: Final = 50_000  # after aliases are followed: a few lines of them can stand for billions
_MAX_DEPTH: Final = 32
_NO_REFERENCE: Final = "holds a reference to the environment that cannot be filled"

_RESOLVERS: Final[tuple[tuple[str, str, str], ...]] = (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
)


class TooMuch(ValueError):
    """The document is larger or deeper than a configuration can be."""


class _Loader(yaml.SafeLoader):
    """Reads YAML 1.2 scalars, and marks those with a tag of their own: nothing changes their type."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        tagged = self.peek_event().tag is not None  # type: ignore[no-untyped-call]
        node: yaml.ScalarNode = super().compose_scalar_node(anchor)
        if tagged:
            node.style = _TAGGED
        return node


for _name, _pattern, _first in _RESOLVERS:
    _characters = [*_first, ""] if _name == "null" else [*_first]
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z"), _characters)


class Document:
    """
    The values of a document.

    Args:
        value: mappings, lists and scalars; None for an empty document.
        lines: place to line, from 1, of every key and entry.
        written: place to text as it stands in the file, where a reference to the environment was filled: what
            the environment holds is never shown.
        unresolved: places whose references were left alone.
        faults: (place, reason, suggestion) of values that could not be read; they are None.
    """

    def __init__(self) -> None:
        self.value: Any = None
        self.lines: dict[Place, int] = {(): 1}
        self.written: dict[Place, str] = {}
        self.unresolved: set[Place] = set()
        self.faults: list[tuple[Place, str, str]] = []

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest place around it that is in the file."""
        while place not in self.lines:
            place = place[:-1]
        return self.lines[place]

    def at(self, place: Place) -> Any:
        """The value at a place, or None."""
        value = self.value
        for part in place:
            if isinstance(value, dict):
                value = value.get(part)
            else:
                value = value[part] if isinstance(value, list) and isinstance(part, int) else None
        return value


def parse(text: str, environ: Mapping[str, str] | None) -> Document:
    """
    Read one YAML document.

    Args:
        environ: fills the references; None leaves them alone.
    Raises:
        yaml.YAMLError: it is not YAML.
        TooMuch: it is too deep, or its aliases stand for too much.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except RecursionError:
        raise TooMuch("nested too deeply") from None
    builder = _Builder(environ)
    if node is not None:
        builder.document.value = builder.build(node, ())
    return builder.document


class _Builder:
    """Turns nodes into values. Recursion is bounded by `_MAX_DEPTH`."""

    def __init__(self, environ: Mapping[str, str] | None) -> None:
        self.document = Document()
        self._environ = environ
        self._resolver = _Loader("")
        self._count = 0

    def build(self, node: yaml.Node, place: Place) -> Any:
        self._count += 1
        if self._count > _MAX_VALUES or len(place) > _MAX_DEPTH:
            raise TooMuch("too many values, or nested too deeply")
        self.document.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(child, (*place, index)) for index, child in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, place)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.document.faults.append((place, "has a key that is no text", ""))
                continue
            key = key_node.value
            inner = (*place, key)
            if key in values:
                first = self.document.lines[inner]
                self.document.lines[inner] = line
                self.document.faults.append((inner, "stands twice", f"first on line {first}"))
                continue
            self.document.lines[inner] = line
            values[key] = self.build(value_node, inner)
        return values

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        text: str = node.value
        tag = node.tag
        if "$" in text:
            text = self._filled(text, place)
            if node.style is None:  # a tag or quotes settle the type before anything is filled in
                tag = self._implicit(text)
        return self._typed(tag, text, place)

    def _filled(self, text: str, place: Place) -> str:
        if self._environ is None:
            if has_reference(text):
                self.document.unresolved.add(place)
            return text
        try:
            filled = substitute(text, self._environ)
        except BadReference as error:
            if is_secret(place) and not is_reference(text):
                self.document.faults.append((place, _NO_REFERENCE, "a dollar sign is $$"))
            else:
                self.document.faults.append((place, error.reason, error.suggestion))
            self.document.written[place] = text
            return text
        if has_reference(text):
            self.document.written[place] = text
        return filled

    def _implicit(self, text: str) -> str:
        tag: str = self._resolver.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        return tag

    def _typed(self, tag: str, text: str, place: Place) -> Any:
        try:
            return _TYPES[tag.removeprefix(_TAG)](text)
        except KeyError:
            reason, suggestion = "has a tag, which means nothing here", "leave the tag out"
        except ValueError:
            reason, suggestion = f"is no {tag.removeprefix(_TAG)}", ""
        self.document.faults.append((place, reason, suggestion))
        return None


def _integer(text: str) -> int:
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _boolean(text: str) -> bool:
    return text.lower() == "true"


def _null(text: str) -> None:
    return None


_TYPES: Final[Mapping[str, Any]] = {
    "null": _null,
    "bool": _boolean,
    "int": _integer,
    "float": _float,
    "str": str,
}
