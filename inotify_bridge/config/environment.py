"""
References to environment variables in scalar values, in the grammar of OpenTelemetry's configuration files.

    ${NAME}  ${env:NAME}     the variable; undefined is an error
    ${NAME:-default}         the default where the variable is undefined or empty
    $$                       one dollar sign, never the beginning of a reference

What a variable holds is never looked into again, and a default ends at the first closing brace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE: Final = re.compile(r"\$\{([^}\n]*)\}")
_CONTENT: Final = re.compile(rf"(?:env:)?(?P<name>{_NAME})(?::-(?P<default>.*))?", re.DOTALL)


class BadReference(ValueError):
    """
    A reference that cannot be filled.

    Args:
        reason: why.
        suggestion: what to write instead.
    """

    def __init__(self, reason: str, suggestion: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.suggestion = suggestion


def has_reference(text: str) -> bool:
    """Whether `substitute` would look up or refuse anything in the text."""
    return any(_REFERENCE.search(part) for part in text.split("$$"))


def is_reference(text: str) -> bool:
    """Whether the text is one reference without a default, and so nothing but the name of a variable."""
    found = _REFERENCE.fullmatch(text)
    return found is not None and re.fullmatch(rf"(?:env:)?{_NAME}", found[1]) is not None


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """
    The text with every reference filled.

    Raises:
        BadReference: a variable is undefined and has no default, or a reference is malformed.
    """
    return "$".join(
        _REFERENCE.sub(lambda found: _value(found[1], environ), part) for part in text.split("$$")
    )


def _value(content: str, environ: Mapping[str, str]) -> str:
    found = _CONTENT.fullmatch(content)
    if found is None:
        raise BadReference(
            "is no reference to an environment variable",
            "write ${NAME}, ${env:NAME} or ${NAME:-default}; a dollar sign is $$",
        )
    name, default = found["name"], found["default"]
    value = environ.get(name)
    if default is not None:
        return value or default
    if value is None:
        raise BadReference(
            f"environment variable {name} is not defined", f"set it, or write a default: ${{{name}:-value}}"
        )
    return value
