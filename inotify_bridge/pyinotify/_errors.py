"""What the façade raises. WatchManagerError stands apart from the rest, as programs expect."""

from __future__ import annotations


class PyinotifyError(Exception):
    """The base of all but `WatchManagerError`."""


class UnsupportedPythonVersionError(PyinotifyError):
    """This Python is too old."""

    def __init__(self, version: str) -> None:
        super().__init__(f"Python {version} is unsupported, requires at least Python 3.0")


class InotifyBindingNotFoundError(PyinotifyError):
    """The C library has no inotify."""

    def __init__(self) -> None:
        super().__init__("Couldn't find any inotify binding")


class ProcessEventError(PyinotifyError):
    """An event that has no name reached a handler."""

    def __init__(self, err: object) -> None:
        super().__init__(str(err))


class NotifierError(PyinotifyError):
    """A notifier could not read, or not become a daemon."""

    def __init__(self, err: object) -> None:
        super().__init__(str(err))


class WatchManagerError(Exception):
    """
    A watch could not be added, changed or removed, and `quiet` was false.

    `wmd` is what the call had done so far: path to watch descriptor for `add_watch`, watch descriptor to
    whether that went well for the others.
    """

    def __init__(self, msg: str, wmd: dict[str, int] | dict[int, bool]) -> None:
        super().__init__(msg)
        self.wmd = wmd
