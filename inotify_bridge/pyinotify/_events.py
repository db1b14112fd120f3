"""Events: as they are queued (`_RawEvent`) and as handlers get them (`Event`)."""

from __future__ import annotations

import os
import sys
from typing import Any

import inotify_bridge.pyinotify as module
from inotify_bridge.pyinotify._flags import EventsCodes

_ENCODING = sys.getfilesystemencoding()
_ERRORS = sys.getfilesystemencodeerrors()
# Absolute paths of watches to what stands before a name in them: abspath() is most of the price of an event.
_PREFIXES: dict[str, str] = {}
_MOST_PREFIXES = 65536


def text(name: bytes) -> str:
    """A name as os.fsdecode gives it, which is slower."""
    return name.decode(_ENCODING, _ERRORS)


def pathname(path: str, name: str) -> str:
    """The absolute, normalised path of `name` in `path`, or of `path` itself where `name` is empty."""
    prefix = _PREFIXES.get(path) or _prefix(path)
    if not prefix or not name or "/" in name or name in {".", ".."}:
        return os.path.abspath(os.path.join(path, name) if name else path)
    return prefix + name


def _prefix(path: str) -> str:
    """What stands before a name in the absolute `path`; empty for a relative one: it can change."""
    if not os.path.isabs(path):
        return ""
    if len(_PREFIXES) >= _MOST_PREFIXES:
        _PREFIXES.clear()
    prefix = _PREFIXES[path] = os.path.join(os.path.abspath(path), "")
    return prefix


class _Event:
    """Attributes with a name each, and how they are written."""

    def __init__(self, dict_: dict[str, Any]) -> None:
        for name, value in dict_.items():
            setattr(self, name, value)

    def __repr__(self) -> str:
        style = module.output_format
        pieces = [style.punctuation("<") + style.class_name(type(self).__name__)]
        for name, value in sorted(vars(self).items()):
            if name.startswith("_"):
                continue
            if name == "mask":
                value = hex(value)
            elif isinstance(value, str) and not value:
                value = "''"
            pieces.append(style.field_name(name) + style.punctuation("=") + style.field_value(value))
        return " ".join([*pieces, style.punctuation(">")])

    def __str__(self) -> str:
        return repr(self)


class _RawEvent(_Event):
    """
    What the kernel told, as it is queued. Programs make these too and hand them to `Notifier.append_event`.

    Attributes:
        wd, mask, cookie: as in inotify(7).
        name: of the child, without padding; empty where the watched item itself is meant.
    """

    _str: str | None = None

    def __init__(self, wd: int, mask: int, cookie: int, name: str) -> None:
        self.wd = wd
        self.mask = mask
        self.cookie = cookie
        self.name = name.rstrip("\0")

    def __str__(self) -> str:
        if self._str is None:
            self._str = repr(self)
        return self._str


class Event(_Event):
    """
    What a handler is called with. It takes further attributes.

    `raw` gives the attributes; `maskname` follows from `mask`, and `pathname` from `path` and `name` where
    both are there. An overflow of the kernel's queue has `mask` and `maskname` only; `cookie` is there for
    moves, and `src_pathname` for IN_MOVED_TO whose source is known.

    Raises:
        KeyError: `mask` is no single event.
    """

    wd: int
    mask: int
    maskname: str
    path: str
    name: str
    pathname: str
    dir: bool
    cookie: int
    src_pathname: str
    is_dir: bool
    event_name: str

    def __init__(self, raw: dict[str, Any]) -> None:
        super().__init__(raw)
        self.maskname = EventsCodes.maskname(self.mask)
        if module.COMPATIBILITY_MODE:
            self.event_name = self.maskname
        if hasattr(self, "path") and hasattr(self, "name"):
            self.pathname = pathname(self.path, self.name)
