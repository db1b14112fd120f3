"""
One's own patterns, by RE2: linear in the length of the text, whatever the pattern.

So the time that a match may take is known without a clock, and the same line matches or does not, however
busy the machine is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from inotify_bridge.errors import ConfigError

Parse: TypeAlias = Callable[[str], Mapping[str, Any]]
"""The text of an entry to its fields. Raises Mismatch."""

# What is quoted, and classes of characters, are none.
_GROUP: Final = re.compile(r"\\Q.*?(?:\\E|\Z)|\\.|\[\^?\]?(?:\\.|[^\]\\])*+\]|\(\?P?<(\w+)>", re.DOTALL)
_INSTALL: Final = "pip install 'inotify-bridge[lines]'"


class Mismatch(Exception):
    """The text is not what was expected; says why."""


def _compile(text: str) -> Any:
    """Raises: ConfigError."""
    try:
        import re2
    except ImportError:
        raise ConfigError("needs the package google-re2 for a pattern of your own", _INSTALL) from None
    options = re2.Options()
    options.log_errors = False  # it would write to stderr
    options.dot_nl = True  # an entry may have several lines
    try:
        return re2.compile(text, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ConfigError(
            f"does not compile: {reason}", "RE2 has no look-around and no back-references"
        ) from None


def own(text: str) -> tuple[Parse, frozenset[str]]:
    """
    A pattern that the whole entry must match, and the names of its groups.

    Raises:
        ConfigError: it does not compile, has no named group or one twice, or RE2 is not installed.
    """
    regex = _compile(text)
    groups = tuple(regex.groupindex.items())
    if not groups:
        raise ConfigError("has no named group, so nothing would be extracted", "write (?P<name>…)")
    twice = [name for name, count in _names(text).items() if count > 1]
    if twice:  # RE2 takes that, and gives the first of them alone
        raise ConfigError(f"has the group {', '.join(twice)} twice", "give each a name of its own")

    def parse(text: str) -> dict[str, str | None]:
        raw = text.encode()
        match = regex.fullmatch(raw)
        if match is None:
            raise Mismatch("does not match the pattern")
        fields: dict[str, str | None] = {}
        for name, index in groups:
            start, end = match.span(index)
            fields[name] = None if start < 0 else raw[start:end].decode("utf-8", "replace")
        return fields

    return parse, frozenset(name for name, _ in groups)


def _names(text: str) -> Counter[str]:
    """How often each name of a group stands in a pattern that compiles."""
    return Counter(match[1] for match in _GROUP.finditer(text) if match[1] is not None)


def starts(text: str) -> Callable[[bytes], bool]:
    """Whether a line is the first of an entry. Raises: ConfigError, as `own`."""
    regex = _compile(text)
    return lambda line: regex.search(line) is not None
