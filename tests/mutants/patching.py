"""Replacing methods of the product in a running process, so that it shows whether the replacement was met."""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Protocol, Self, TypeAlias

Replacement: TypeAlias = Callable[..., Any]

_HERE = os.fspath(Path(__file__).parent)
_OWN_FAULTS = (TypeError, AttributeError, NameError, ImportError)


class Witness(Protocol):
    """Who is told what becomes of a patch."""

    def hit(self) -> None:
        """A replacement was called."""

    def broken(self, error: BaseException) -> None:
        """A replacement does not fit the product any more: what it shows is worth nothing."""


class _Nobody:
    def hit(self) -> None:
        """Not asked for."""

    def broken(self, error: BaseException) -> None:
        """It is raised as well."""


class Patch:
    """
    Some replaced functions. A context manager that undoes them; without it they stay for the process's life.

    Args:
        witness: told of every call; nobody unless given.
    """

    def __init__(self, witness: Witness | None = None) -> None:
        self._witness: Witness = witness or _Nobody()
        self._undo: list[tuple[type | ModuleType, str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for owner, name, before in reversed(self._undo):
            setattr(owner, name, before)
        self._undo.clear()

    def places(self) -> list[tuple[type | ModuleType, str, Any]]:
        """What is replaced: owner, name, and what stood there before."""
        return list(self._undo)

    def instead_of(self, owner: type | ModuleType, name: str) -> Callable[[Replacement], Replacement]:
        """
        Decorates what takes the place of a function, method, static method or property.

        Args:
            owner: the class or module that defines it, or that imported it.
            name: of the function.
        Returns:
            The decorator; what it decorates is called with the original before all other arguments.
        Raises:
            LookupError: there is no such function any more: the mutant is to be mended.
        """
        if name not in vars(owner):
            raise LookupError(f"{owner.__name__}.{name} is gone: the mutant that replaces it is to be mended")
        before = vars(owner)[name]

        def decorate(replacement: Replacement) -> Replacement:
            setattr(owner, name, self._stand_in(before, replacement))
            self._undo.append((owner, name, before))
            return replacement

        return decorate

    def _stand_in(self, before: Any, replacement: Replacement) -> Any:
        if isinstance(before, property):
            return property(self._called(before.fget, replacement))
        if isinstance(before, staticmethod | classmethod):
            return type(before)(self._called(before.__func__, replacement))
        return self._called(before, replacement)

    def _called(self, original: Any, replacement: Replacement) -> Replacement:
        @functools.wraps(original)
        def stand_in(*arguments: Any, **named: Any) -> Any:
            self._witness.hit()
            try:
                return replacement(original, *arguments, **named)
            except _OWN_FAULTS as error:
                if _raised_here(error):
                    self._witness.broken(error)
                raise

        return stand_in


def _raised_here(error: BaseException) -> bool:
    """Whether the error comes of a replacement's own code, or of a call that does not fit it."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_HERE)
