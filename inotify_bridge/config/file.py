"""
A configuration file: from YAML to the frozen tree, with all that is wrong with it at once.

    bytes -> YAML nodes -> values, each with its line (environment filled in) -> parts -> rules -> Config
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from inotify_bridge.config import document, rules
from inotify_bridge.config.document import Document
from inotify_bridge.config.model import Config, Events, Http, SinkEntry, WatchGroup
from inotify_bridge.config.problems import (
    MISSING,
    NO_LIST,
    NO_MAPPING,
    UNKNOWN_KEY,
    ConfigErrors,
    Place,
    Problem,
    explain,
    is_secret,
    known_keys,
    nearest,
    redacted,
    shown,
    where,
)
from inotify_bridge.log import escaped
from inotify_bridge.sinks.registry import sink_class

_MAX_BYTES: Final = 1024**2
_QUOTED: Final = re.compile(r"""(['"])[^<'"\s][^'"\s]+\1""")  # in an error of YAML: a piece of the file
_LISTS: Final[dict[str, type[BaseModel]]] = {"watch_groups": WatchGroup, "sinks": SinkEntry}


class Inspection(NamedTuple):
    """
    What is to be said about a file.

    Args:
        config: None where there are problems, or where references to the environment were left alone.
        problems: all of them, in the order of the file.
        notes: what is allowed, but may surprise.
    """

    config: Config | None
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def load(
    path: str | os.PathLike[str], environ: Mapping[str, str] | None = None, reach: bool = False
) -> Config:
    """
    Read a configuration file.

    Args:
        environ: the environment for ``${VAR}``; None: that of the process.
        reach: roots and sinks that cannot be reached now are errors too.
    Raises:
        ConfigErrors: it cannot be read or is wrong; holds every problem.
    """
    inspection = inspect(path, os.environ if environ is None else environ, reach)
    if inspection.config is None:
        raise ConfigErrors(inspection.problems)
    return inspection.config


def load_http(path: str | os.PathLike[str]) -> Http:
    """
    The section `http` alone: for whoever asks a running agent, whose environment the other parts may need.

    Raises:
        ConfigErrors: the file cannot be read, or this section is wrong.
    """
    inspection = inspect(path, os.environ)
    if inspection.config is not None:
        return inspection.config.http
    mine = [problem for problem in inspection.problems if problem.where.partition(".")[0] in ("", "http")]
    if mine:
        raise ConfigErrors(mine)
    tree = document.parse(_read(os.fspath(path)), os.environ).value
    return Http.model_validate(tree.get("http") or {})


def inspect(
    path: str | os.PathLike[str], environ: Mapping[str, str] | None, reach: bool = False
) -> Inspection:
    """
    Read a configuration file and say all that is to be said about it; raises nothing.

    Args:
        environ: the environment for ``${VAR}``; None leaves the references alone, and their values unjudged.
        reach: as for `load`.
    """
    file = os.fspath(path)
    try:
        found = document.parse(_read(file), environ)
    except OSError as error:
        return _refused(file, 0, f"cannot be read: {error.strerror}", "name another file with -c")
    except UnicodeDecodeError as error:
        return _refused(file, error.object.count(b"\n", 0, error.start) + 1, "is not UTF-8", "")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = _QUOTED.sub("'…'", " ".join(filter(None, (error.context, error.problem))))
        return _refused(file, mark.line + 1 if mark else 0, f"is no YAML: {reason}", "")
    except (yaml.YAMLError, document.TooMuch) as error:
        return _refused(file, 0, f"is no YAML that can be used: {error}", "")
    return _Inspector(file, found, reach).run()


def _read(file: str) -> str:
    with open(file, "rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise document.TooMuch(f"larger than {_MAX_BYTES} bytes")
    return content.decode("utf-8-sig")


def _refused(file: str, line: int, reason: str, suggestion: str) -> Inspection:
    return Inspection(None, (Problem(file, line, "", "", escaped(reason), suggestion),), ())


class _Inspector:
    """Judges one document: part by part, then what the parts are to each other."""

    def __init__(self, file: str, found: Document, reach: bool) -> None:
        self._file = file
        self._document = found
        self._reach = reach
        self._problems: list[Problem] = []

    def run(self) -> Inspection:
        """Raises nothing: all that is wrong is in the result."""
        for place, reason, suggestion in self._document.faults:
            self._note(place, reason, suggestion)
        tree = self._document.value
        if not isinstance(tree, dict):
            self._note((), "is not a mapping of keys and values", "begin with watch_groups: and sinks:")
            return self._result(None)
        values = self._parts(tree)
        for place, reason, suggestion in self._between(tree, values):
            self._add(place, reason, suggestion)
        if self._problems or self._document.unresolved:
            return self._result(None)
        lists = {key: tuple(values[key].values()) for key in _LISTS}
        return self._result(Config.model_validate({**values, **lists}))

    def _result(self, config: Config | None) -> Inspection:
        problems = sorted(self._problems, key=lambda problem: problem.line)
        return Inspection(config, tuple(problems), tuple(rules.notes(config)) if config else ())

    def _parts(self, tree: dict[str, Any]) -> dict[str, Any]:
        """Every section that is valid by itself; of the lists their valid entries, by index."""
        values: dict[str, Any] = {key: self._missing(key) for key in _LISTS if key not in tree}
        for key, value in tree.items():
            if key in _LISTS:
                values[key] = self._entries(key, value)
            elif key not in Config.model_fields:
                self._add((key,), UNKNOWN_KEY, nearest(key, known_keys(Config, ())))
            elif value is not None:  # a section all of whose keys are commented out has its defaults
                self._keep(values, key, Config.model_fields[key].rebuild_annotation(), value, (key,))
        return values

    def _missing(self, key: str) -> dict[int, Any]:
        self._add((key,), MISSING, "a configuration has watch_groups and sinks")
        return {}

    def _entries(self, key: str, value: Any) -> dict[int, Any]:
        parts: dict[int, Any] = {}
        if not isinstance(value, list) or not value:
            self._add((key,), f"{NO_LIST} of at least one entry", "each entry begins with `- name:`")
            return parts
        for index, entry in enumerate(value):
            self._keep(parts, index, _LISTS[key], entry, (key, index))
        return parts

    def _keep(self, parts: dict[Any, Any], key: str | int, type_: Any, value: Any, place: Place) -> None:
        """Validate one part, and keep it under `key` if it is valid."""
        try:
            parts[key] = TypeAdapter(type_).validate_python(value)
        except ValidationError as invalid:
            model = type_ if isinstance(type_, type) and issubclass(type_, BaseModel) else Config
            errors = invalid.errors(include_url=False)
            for error in errors:
                if not _follows(error, errors):
                    self._add_error(error, model, place)

    def _add_error(self, error: Any, model: type[BaseModel], place: Place) -> None:
        loc: Place = error["loc"]
        if model is SinkEntry and loc[:1] == ("options",):  # in the file they stand beside name and type
            loc = loc[1:]
            model = self._options_of(place)
        reason, suggestion = explain({**error, "loc": loc}, model)
        inner = (*place, *loc)
        if error["type"] != "missing":
            inner = self._standing(inner)
        self._add(inner, reason, suggestion)

    def _options_of(self, place: Place) -> type[BaseModel]:
        options: type[BaseModel] = sink_class(str(self._document.at(place)["type"])).Options
        return options

    def _standing(self, place: Place) -> Place:
        """The place, or the nearest around it that is in the file: a plain path stands for `{path: …}`."""
        while place not in self._document.lines:
            place = place[:-1]
        return place

    def _between(self, tree: dict[str, Any], values: dict[str, Any]) -> Iterator[rules.Violation]:
        sink_names = self._texts(tree, "sinks", "name")
        all_named = len(sink_names) == len(tree.get("sinks") or ())
        parts = rules.Parts(
            groups=values["watch_groups"],
            sinks=values["sinks"],
            group_names=self._texts(tree, "watch_groups", "name"),
            sink_names=sink_names,
            wanted=_text_lists(tree.get("watch_groups"), "sinks") if all_named else {},
            state=values.get("state"),
            events=values.get("events") if tree.get("events") else Events(),
        )
        yield from rules.violations(parts)
        if self._reach:
            yield from rules.unreachable(parts)

    def _texts(self, tree: dict[str, Any], section: str, key: str) -> dict[int, str]:
        """What stands under `key` in the entries of a list, where it is text and known, by index."""
        return {
            index: value
            for index, value in _under(tree.get(section), key)
            if isinstance(value, str) and (section, index, key) not in self._document.unresolved
        }

    def _add(self, place: Place, reason: str, suggestion: str) -> None:
        """Note a problem, unless its value is unknown, or could not even be read."""
        faults = (fault[0] for fault in self._document.faults)
        if place not in self._document.unresolved and not any(
            place[: len(fault)] == fault for fault in faults
        ):
            self._note(place, reason, suggestion)

    def _note(self, place: Place, reason: str, suggestion: str) -> None:
        value = self._document.at(place)
        written = self._document.written.get(place)
        if written is not None or is_secret(place):
            reason = _without(reason, value)
        # What stands in place of a whole section was written by somebody who took it for something else.
        mute = reason in (UNKNOWN_KEY, MISSING, NO_MAPPING) or reason.startswith(NO_LIST)
        text = "" if mute else shown(place, value if written is None else written)
        line = self._document.line(place)
        self._problems.append(Problem(self._file, line, where(place), text, redacted(reason), suggestion))


def _without(reason: str, value: object) -> str:
    """The reason, should it quote a value that must not be shown."""
    return reason.replace(str(value), "***") if value else reason


def _follows(error: Any, errors: Sequence[Any]) -> bool:
    """Whether a list only seems empty because its entries are wrong."""
    loc = error["loc"]
    return error["type"] == "too_short" and any(
        len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in errors
    )


def _text_lists(entries: object, key: str) -> dict[int, list[str]]:
    """What stands under `key` in a list of raw entries, where it is a list of text, by index."""
    return {
        index: value
        for index, value in _under(entries, key)
        if isinstance(value, list) and all(isinstance(item, str) for item in value)
    }


def _under(entries: object, key: str) -> Iterator[tuple[int, object]]:
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(entry, dict):
            yield index, entry.get(key)
