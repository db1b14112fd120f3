"""No public name, signature, default, attribute or base class of the original is missing from the façade."""

from __future__ import annotations

import importlib
import inspect
import warnings
from functools import cache
from inspect import _ParameterKind as Kind
from types import ModuleType
from typing import Any

import pytest

import inotify_bridge.pyinotify as facade
from tests.facade.differential.sides import original_is_here

pytestmark = pytest.mark.skipif(
    not original_is_here(), reason="pyinotify 0.9.6 runs up to Python 3.11, and is installed there"
)

# Variables of loops that the original forgets to delete, and what it imports for itself.
LEFT_OVER = {"attrname", "flagc", "inotify_syscalls", "name", "val", "valc"}
LEFT_OVER |= {"datetime", "deque", "reduce", "timedelta"}
# Without a public name, and known to be used by programs.
KNOWN = {"__author__", "__version__", "_Event", "_ProcessEvent", "_RawEvent", "_SysProcessEvent"}
# Only the notifier calls its methods.
BOOK_KEEPING = "_SysProcessEvent"
SPECIAL = {"__call__", "__init__", "__repr__", "__str__"}
INSTANCE_ATTRIBUTES = (
    "_coalesce", "_default_proc_fun", "_eventq", "_fd", "_pipe", "_pollobj", "_read_freq", "_sys_proc_fun",
    "_threshold", "_timeout", "_watch_manager",
)  # fmt: skip


@cache
def original() -> ModuleType:
    """The original; it warns of asyncore, which Python 3.12 removed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("pyinotify")
    assert "inotify_bridge" not in str(module.__file__)
    return module


def names() -> list[str]:
    """Every name of the original that a program can mean."""
    if not original_is_here():
        return []
    found = {name for name, value in vars(original()).items() if not inspect.ismodule(value)}
    return sorted({name for name in found if not name.startswith("_")} - LEFT_OVER | KNOWN)


def classes() -> list[str]:
    """Names of the original's classes."""
    return [name for name in names() if inspect.isclass(getattr(original(), name))]


def members(name: str) -> dict[str, Any]:
    """What a class of the original defines itself, for everybody."""
    found = vars(getattr(original(), name))
    return {one: value for one, value in found.items() if not one.startswith("_") or one in SPECIAL}


def accepts(theirs: inspect.Signature, ours: inspect.Signature) -> bool:
    """The same parameters by name, order, kind and default; ours may have more, which no call gives."""

    def shape(signature: inspect.Signature) -> list[tuple[str, object, str]]:
        parameters = signature.parameters.values()
        return [(one.name, one.kind, "function" if inspect.isfunction(one.default) else repr(one.default))
                for one in parameters]  # fmt: skip

    wanted = shape(theirs)
    got = [
        one for one in shape(ours) if one in wanted or one[1] not in (Kind.KEYWORD_ONLY, Kind.VAR_POSITIONAL)
    ]
    return got == wanted


def test_a_name_is_there() -> None:
    """Every public name of the original stands in the façade."""
    assert names()
    assert [name for name in names() if not hasattr(facade, name)] == []


def test_the_star_gives_the_names() -> None:
    """``from … import *`` gives what it gives of the original: no __all__ hides a name."""
    given: dict[str, object] = {}
    exec("from inotify_bridge.pyinotify import *", given)  # what a program writes
    assert [name for name in names() if not name.startswith("_") and name not in given] == []


@pytest.mark.parametrize("name", [name for name in names() if name not in classes()])
def test_a_value_is_of_the_same_type(name: str) -> None:
    """A constant is equal; an object is of a class of the same name; a function takes the same."""
    theirs, ours = getattr(original(), name), getattr(facade, name)
    if inspect.isfunction(theirs):
        assert accepts(inspect.signature(theirs), inspect.signature(ours))
    else:
        assert type(theirs).__name__ == type(ours).__name__
        assert not isinstance(theirs, int) or theirs == ours


@pytest.mark.parametrize("name", classes())
def test_bases_are_the_same(name: str) -> None:
    """A class has the original's bases, in their order."""
    theirs = [base.__name__ for base in getattr(original(), name).__mro__]
    ours = [base.__name__ for base in getattr(facade, name).__mro__]
    assert [base for base in ours if base in theirs] == theirs


@pytest.mark.parametrize("name", [name for name in classes() if name != BOOK_KEEPING])
def test_members_are_the_same(name: str) -> None:
    """A class has every attribute of the original's with its value, and every method with its parameters."""
    ours = getattr(facade, name)
    wrong = {
        one: value for one, value in members(name).items() if not same(value, getattr(ours, one, None), one)
    }
    assert wrong == {}


def same(theirs: Any, ours: Any, name: str) -> bool:
    """Whether a member is what the original's is."""
    plain = theirs.__func__ if isinstance(theirs, staticmethod | classmethod) else theirs
    if inspect.isfunction(plain):
        method = inspect.unwrap(getattr(ours, "__func__", ours)) if ours else None
        return inspect.isfunction(method) and accepts(inspect.signature(plain), inspect.signature(method))
    if isinstance(theirs, property):
        return isinstance(ours, property) and (theirs.fset is None or ours.fset is not None)
    return inspect.isroutine(ours) == inspect.isroutine(theirs) and (
        type(theirs) is not dict or theirs == ours
    )


def test_private_attributes_that_clients_read_are_there() -> None:
    """A notifier and a manager have the attributes without a public name that programs read."""
    manager = facade.WatchManager()
    notifier = facade.Notifier(manager)
    assert [name for name in INSTANCE_ATTRIBUTES if not hasattr(notifier, name)] == []
    assert [name for name in ("_fd", "_wmd") if not hasattr(manager, name)] == []
    notifier.stop()
