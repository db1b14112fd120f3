"""A symbolic link is swapped for something else in the moment between two looks at it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inotify_bridge.capture.filesystem import KernelFileSystem
from inotify_bridge.capture.inotify import Inotify


@pytest.fixture
def port() -> Iterator[KernelFileSystem]:
    """The port to the real disk."""
    inotify = Inotify()
    yield KernelFileSystem(inotify)
    inotify.close()


def _swapping(monkeypatch: pytest.MonkeyPatch, swap: Callable[[], None]) -> list[int]:
    """Have `swap` done right before the next readlink(2). Returns what counts how often it was."""
    swaps: list[int] = []
    readlink = os.readlink

    def swapped(*arguments: Any, **named: Any) -> Any:
        if not swaps:
            swaps.append(1)
            swap()
        return readlink(*arguments, **named)

    monkeypatch.setattr(os, "readlink", swapped)
    return swaps


def test_a_link_that_becomes_a_file(
    port: KernelFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at again, and is a file: not an error that its directory would count as uncovered for."""
    (tmp_path / "l").symlink_to("target")
    (tmp_path / "file").write_bytes(b"123")
    handle = port.open_root(os.fsencode(tmp_path))
    swaps = _swapping(monkeypatch, lambda: os.replace(tmp_path / "file", tmp_path / "l"))
    seen = port.lstat(handle, b"l")
    handle.close()
    assert swaps
    assert (stat.S_ISREG(seen.mode), seen.size, seen.target) == (True, 3, None)


def test_a_link_that_becomes_another(
    port: KernelFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that is removed and made again meanwhile is seen with its own target."""
    (tmp_path / "l").symlink_to("target")
    handle = port.open_root(os.fsencode(tmp_path))

    def swap() -> None:
        (tmp_path / "l").unlink()

    swaps = _swapping(monkeypatch, swap)
    with pytest.raises(FileNotFoundError):
        port.lstat(handle, b"l")
    assert swaps
    (tmp_path / "l").symlink_to("other")
    assert port.lstat(handle, b"l").target == b"other"
    handle.close()
