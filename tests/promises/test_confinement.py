"""R18: a symbolic link is never followed on the way from a root to a directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from inotify_bridge.capture import filesystem
from inotify_bridge.capture.filesystem import KernelFileSystem
from inotify_bridge.capture.inotify import Inotify

NO_SUCH_CALL = 1 << 20


@pytest.fixture(params=["openat2", "without openat2"])
def port(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[KernelFileSystem]:
    """The real port, also as on a kernel that does not have openat2(2)."""
    if request.param != "openat2":
        monkeypatch.setattr(filesystem, "_SYS_OPENAT2", NO_SUCH_CALL)
    inotify = Inotify()
    yield KernelFileSystem(inotify)
    inotify.close()


@pytest.mark.parametrize("path", [b"link", b"link/inner", b"plain/link", b"plain/link/inner", b"up/outside"])
def test_no_link_is_followed(port: KernelFileSystem, tmp_path: Path, path: bytes) -> None:
    """Whether a link is the last part of a path or one before it, nothing behind it is opened."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    for directory in (outside / "inner", root / "plain/inner"):
        directory.mkdir(parents=True)
    for place in (root / "link", root / "plain/link"):
        place.symlink_to(outside)
    (root / "up").symlink_to("..")
    top = port.open_root(os.fsencode(root))
    with pytest.raises(OSError, match=r".*") as caught:
        port.open_below(top, path).close()
    assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)
    inner = port.open_below(top, b"plain/inner")
    assert inner.identity.inode == (root / "plain/inner").stat().st_ino
    inner.close()
    top.close()
