"""What is wrong with a configuration, in words: place, value, reason, suggestion. Never a secret."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from pydantic import BaseModel

from inotify_bridge.errors import ConfigError
from inotify_bridge.log import escaped

Place: TypeAlias = tuple[str | int, ...]
"""Where in the configuration: ``("watch_groups", 0, "paths")``."""

UNKNOWN_KEY: Final = "unknown key"
MISSING: Final = "is missing"

NO_MAPPING: Final = "must be a mapping of keys and values"
NO_LIST: Final = "must be a list"

_SECRET_KEY: Final = re.compile(
    r"pass(word|wd|phrase)?$|password|passwd|passphrase|secret|token|credential|sasl|url|uri|dsn",
    re.IGNORECASE,
)
_ADDRESS_KEY: Final = re.compile(r"listen|host|server|broker|address", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"(?:\[[0-9a-fA-F:.]*\]|[^\s:@]*)(?::[0-9]*)?")  # and nothing more
_KEY: Final = re.compile(r"[\w.-]*")
_KEY_LENGTH: Final = 60
_USER: Final = re.compile(r"[^\s'\"]*:[^\s]*@")  # with its password, of whatever looks like an address
_URL_PARAMETER: Final = re.compile(r"((?:password|passphrase|secret|token)=)[^&\s]+", re.IGNORECASE)
_VALUE_LENGTH: Final = 60


class Problem(NamedTuple):
    """
    One thing that is wrong.

    Args:
        file: the configuration file, or empty for a configuration made in Python.
        line: in that file, from 1; 0 where there is none.
        where: place in the configuration, ``watch_groups[0].paths``; empty for the whole.
        value: the offending value as text, secrets left out; empty where there is none.
        reason: what is wrong with it.
        suggestion: what to do, or empty.
    """

    file: str
    line: int
    where: str
    value: str
    reason: str
    suggestion: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        said = f"{self.value} {self.reason}" if self.value else self.reason
        text = ": ".join(part for part in (place, self.where, said) if part)
        return escaped(f"{text} ({self.suggestion})" if self.suggestion else text)


class ConfigErrors(ConfigError):
    """
    Everything that is wrong with a configuration, at once.

    Args:
        problems: at least one, in the order of the file.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def where(place: Place) -> str:
    """The place as people write it: ``watch_groups[0].paths``."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in place]
    return "".join(parts).removeprefix(".")


def _key(key: str) -> str:
    """A key, unless somebody wrote a value into it (``password:hunter2``)."""
    name = _KEY.match(key)
    whole = name[0][:_KEY_LENGTH] if name else ""
    return whole if whole == key else f"{whole}…"


def nearest(word: object, known: Iterable[str]) -> str:
    """A suggestion that names the nearest of the known words, else all of them."""
    words = sorted(known)
    near = difflib.get_close_matches(str(word), words, n=1, cutoff=0.5)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"known: {', '.join(words)}" if words else ""


def shown(place: Place, value: object) -> str:
    """The value as text for a message: short, on one line, without secrets; empty for mappings and lists."""
    if value is None or isinstance(value, dict | list) or not place:
        return ""
    if is_secret(place):
        return "***"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if _ADDRESS_KEY.search(str(place[-1])) and not _ADDRESS.fullmatch(text):
        return "***"
    text = redacted(text)
    return f"'{text[:_VALUE_LENGTH]}…'" if len(text) > _VALUE_LENGTH else f"'{text}'"


def is_secret(place: Place) -> bool:
    """Whether a key names a secret, or what may hold one, as a URL does; the name of a file does not."""
    names = [part for part in place if isinstance(part, str)]
    return any(_SECRET_KEY.search(name) for name in names) and not names[-1].endswith("_file")


def redacted(text: str) -> str:
    """The text without users and passwords of addresses in it."""
    return _URL_PARAMETER.sub(r"\1***", _USER.sub("***@", text))


def explain(error: Any, model: type[BaseModel]) -> tuple[str, str]:
    """
    One of pydantic's errors in our words.

    Args:
        error: an entry of `ValidationError.errors()`.
        model: what was validated.
    Returns:
        Reason and suggestion.
    """
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind == "extra_forbidden":
        return UNKNOWN_KEY, nearest(error["loc"][-1], known_keys(model, error["loc"][:-1]))
    if kind == "missing":
        return MISSING, ""
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", context["expected"])
        return f"is not one of {', '.join(words)}", nearest(value, words) if isinstance(value, str) else ""
    if kind in ("tuple_type", "list_type", "frozen_set_type", "set_type"):
        return NO_LIST, "write it in brackets: […]" if isinstance(value, str) else ""
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return NO_MAPPING, ""
    if kind == "string_type":
        return "must be text", "put it in quotes" if isinstance(value, int | float) else ""
    if kind == "too_short":
        return "must not be empty", ""
    if kind == "string_pattern_mismatch":
        return f"does not match {context['pattern']}", ""
    if "suggestion" in context:
        return error["msg"], context["suggestion"]
    reason = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    return reason[:1].lower() + reason[1:], ""


def known_keys(model: type[BaseModel], place: Place) -> list[str]:
    """The keys that may stand in the mapping at `place` below `model`."""
    for part in place:
        field = next((f for n, f in model.model_fields.items() if part in (n, f.validation_alias)), None)
        inner = _model_in(field.annotation) if field else None
        if inner is not None:
            model = inner
    return [str(field.validation_alias or name) for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that an annotation such as ``tuple[Root, ...]`` or ``Tls | None`` holds."""
    waiting = [annotation]
    while waiting:
        part = waiting.pop()
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part
        waiting.extend(getattr(part, "__args__", ()))
    return None
