"""
Which names of a tree belong to a group: include and exclude, in the pattern language of gitignore(5).

Patterns match the path as it is published, so below the name of the root where the root has one.

    exclude   directories and files. An excluded directory gets no watch, and nothing below it can come back.
    include   files alone; directories are always followed. A pattern without a slash is about the name
              of the file; one with a slash, like ``logs/`` or ``in/2026``, takes in all below that directory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

_Key = TypeVar("_Key", bytes, tuple[bytes, bool])

_CACHE_BYTES: Final = 8 << 20
_ENTRY_BYTES: Final = 128  # besides the path
_ANY_DIRECTORY: Final = re.compile(r"\*/|/?(\*\*/)+(\*/)?")
_ANYTHING: Final = re.compile(r"\*|/?(\*\*/)*\*\*|/?(\*\*/)+\*")


class Rule(NamedTuple):
    """
    One pattern, compiled.

    Args:
        matches: whether it is about the very entry whose path, with a slash at its end, is given; matching an
            ancestor does not count.
        picks: False for a pattern that begins with ``!``.
        directories_only: it ends with a slash.
        by_name: it has no other slash, so the last component alone decides.
    """

    matches: Callable[[str], object]
    picks: bool
    directories_only: bool
    by_name: bool


def compile_pattern(text: str) -> Rule:
    """
    Compile one pattern.

    Raises:
        ValueError: it is no gitignore pattern, or a comment, or can match nothing.
    """
    pattern = GitIgnoreSpecPattern(text)
    regex = pattern.regex
    if pattern.include is None or regex is None:
        raise ValueError("matches nothing")
    body = (text if text.endswith("\\ ") else text.rstrip()).removeprefix("!")
    return Rule(
        matches=_matcher(body, str(regex.pattern)),
        picks=pattern.include,
        directories_only=body.endswith("/"),
        by_name="/" not in body.removesuffix("/"),
    )


def _matcher(body: str, regex: str) -> Callable[[str], object]:
    """
    Matching of the very entry, by pathspec's translation of the pattern.

    DOTALL and fullmatch, because a name may hold a newline, which ``.`` leaves out and ``$`` looks past.
    """
    if _ANYTHING.fullmatch(body) or _ANY_DIRECTORY.fullmatch(body):
        return bool
    if body.endswith(("/**", "/**/")):
        return re.compile(regex + ".", re.DOTALL).search
    return re.compile(regex, re.DOTALL).fullmatch


class _Verdicts(dict[_Key, bool]):
    """Verdicts that were given, as many as a few megabytes hold; a path may have hundreds of kilobytes."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0

    def remember(self, key: _Key, verdict: bool, size: int) -> None:
        if self._bytes >= _CACHE_BYTES:
            self.clear()
            self._bytes = 0
        self[key] = verdict
        self._bytes += size + _ENTRY_BYTES


class Filters:
    """
    The verdict on every path of a group. Used by one thread at a time.

    Args:
        include: gitignore patterns; none: every file.
        exclude: gitignore patterns.
    Raises:
        ValueError: a pattern cannot be compiled.
    """

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        # Reversed: the last pattern that matches decides.
        self._include: Final = _compile_all(include)
        self._exclude: Final = _compile_all(exclude)
        self._rules_see_path = not all(rule.by_name for rule in (*self._include, *self._exclude))
        self._own: _Verdicts[tuple[bytes, bool]] = _Verdicts()
        self._followed: _Verdicts[bytes] = _Verdicts()

    @property
    def empty(self) -> bool:
        """True: there are no patterns, every path is admitted."""
        return not (self._include or self._exclude)

    @property
    def path_dependent(self) -> bool:
        """True: renaming a directory that is admitted before and after may change verdicts below it."""
        return self._rules_see_path or any(rule.directories_only for rule in self._include)

    def admits(self, path: bytes, is_dir: bool) -> bool:
        """
        Whether the entry belongs to the group.

        Args:
            path: raw bytes as published, relative, without a slash at the end; b"" is the root itself.
            is_dir: it is a directory (a symbolic link to one is none).
        """
        if self.empty or not path:
            return True
        if is_dir:
            return self._follows(path)
        directory = path.rpartition(b"/")[0]
        return self._follows(directory) and self._admits_itself(path, False)

    def _follows(self, directory: bytes) -> bool:
        """Whether neither the directory nor one above it is excluded."""
        if not directory:
            return True
        known = self._followed.get(directory)
        if known is None:
            above = directory.rpartition(b"/")[0]
            if not above or self._followed.get(above):
                known = self._admits_itself(directory, True)
            else:
                known = all(self._admits_itself(prefix, True) for prefix in _prefixes(directory))
            self._followed.remember(directory, known, len(directory))
        return known

    def _admits_itself(self, path: bytes, is_dir: bool) -> bool:
        """The verdict apart from excluded ancestors, looked up by the name where nothing else counts."""
        if self.path_dependent:
            return self._judge(path, is_dir)
        key = (path.rpartition(b"/")[2], is_dir)
        verdict = self._own.get(key)
        if verdict is None:
            verdict = self._judge(*key)
            self._own.remember(key, verdict, len(key[0]))
        return verdict

    def _judge(self, path: bytes, is_dir: bool) -> bool:
        if _decide(self._exclude, path, is_dir):
            return False
        return is_dir or not self._include or self._included(path)

    def _included(self, path: bytes) -> bool:
        """The file's own match decides, else that of the nearest directory above that has one."""
        own = _decide(self._include, path, False)
        if own is not None or not self.path_dependent:
            return bool(own)
        directory = path.rpartition(b"/")[0]
        while directory:
            above = _decide(self._include, directory, True, names=False)
            if above is not None:
                return above
            directory = directory.rpartition(b"/")[0]
        return False


def _compile_all(patterns: Sequence[str]) -> tuple[Rule, ...]:
    return tuple(compile_pattern(text) for text in reversed(patterns))


def _decide(rules: Iterable[Rule], path: bytes, is_dir: bool, names: bool = True) -> bool | None:
    """
    What the last matching pattern says about this very entry; None: no pattern matches.

    Args:
        names: False leaves out the patterns that are about the names of files.
    """
    whole = os.fsdecode(path) + "/"
    name = whole[whole.rfind("/", 0, -1) + 1 :]
    for rule in rules:
        if (rule.directories_only and not is_dir) or not (names or rule.directories_only or not rule.by_name):
            continue
        if rule.matches(name if rule.by_name else whole):
            return rule.picks
    return None


def _prefixes(path: bytes) -> Iterable[bytes]:
    """The path's ancestors from the top, and the path."""
    end = path.find(b"/")
    while end != -1:
        yield path[:end]
        end = path.find(b"/", end + 1)
    yield path
