"""One watch, and which paths get none."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TypeAlias

import inotify_bridge.pyinotify as module
from inotify_bridge.pyinotify._handlers import Handler

PathFilter: TypeAlias = Callable[[str], object]


class Watch:
    """
    What a watch descriptor stands for.

    Attributes:
        wd: the kernel's number.
        path: normalised, relative where it was given so; follows the moves that the notifier sees.
        mask: the flags asked for.
        proc_fun: its own handler, or None for the notifier's.
        auto_add: whether new directories in it are watched too.
        exclude_filter: true for paths that are not.
        dir: whether `path` was a directory when the watch was added.
    """

    __slots__ = ("auto_add", "dir", "exclude_filter", "mask", "path", "proc_fun", "wd")

    def __init__(
        self,
        wd: int,
        path: str,
        mask: int,
        proc_fun: Handler | None,
        auto_add: bool,
        exclude_filter: PathFilter,
    ) -> None:
        self.wd = wd
        self.path = path
        self.mask = mask
        self.proc_fun = proc_fun
        self.auto_add = auto_add
        self.exclude_filter = exclude_filter
        self.dir = os.path.isdir(path)

    def __repr__(self) -> str:
        style = module.output_format
        fields = [
            style.field_name(name) + style.punctuation("=") + style.field_value(getattr(self, name))
            for name in ("wd", "path", "mask", "proc_fun", "auto_add", "exclude_filter", "dir")
        ]
        head = style.punctuation("<") + style.class_name(type(self).__name__)
        return " ".join([head, *fields, style.punctuation(">")])


class ExcludeFilter:
    """
    A filter of paths by regular expressions that match from the beginning.

    Args:
        arg_lst: a list of expressions, or the name of a file with one a line, where empty lines and those
            that begin with ``#`` do not count.

    Raises:
        TypeError: it is something else.
        OSError: the file cannot be read.
        re.error: an expression is malformed.
    """

    def __init__(self, arg_lst: str | list[str]) -> None:
        if isinstance(arg_lst, str):
            expressions = self._load_patterns_from_file(arg_lst)
        elif isinstance(arg_lst, list):
            expressions = arg_lst
        else:
            raise TypeError(f"a list of expressions or the name of a file, not {type(arg_lst).__name__}")
        self._lregex = [re.compile(expression, re.UNICODE) for expression in expressions]

    def _load_patterns_from_file(self, filename: str) -> list[str]:
        with open(filename, encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.strip() for line in file]
        return [line for line in lines if line and not line.startswith("#")]

    def __call__(self, path: str) -> bool:
        """Whether `path` is to be left out."""
        return any(regex.match(path) for regex in self._lregex)
