"""One writer for each state directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inotify_bridge.errors import UnavailableError
from inotify_bridge.outbox.lock import DirectoryLock

HOLDER = (
    "import sys\n"
    "from pathlib import Path\n"
    "from inotify_bridge.outbox.lock import DirectoryLock\n"
    "lock = DirectoryLock(Path(sys.argv[1]))\n"
    "print('held', flush=True)\n"
    "sys.stdin.read()\n"
)


def test_held_by_another_process(tmp_path: Path) -> None:
    """While a process holds the directory another one is refused with its number; after a kill it is free."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UnavailableError, match=f"in use by process {holder.pid}") as caught:
            DirectoryLock(tmp_path)
        assert caught.value.exit_code == 69
        holder.kill()
        holder.wait(60)
    lock = DirectoryLock(tmp_path)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.close()
    lock.close()


def test_given_back(tmp_path: Path) -> None:
    """A lock that was closed can be taken again, in the same process too."""
    DirectoryLock(tmp_path).close()
    lock = DirectoryLock(tmp_path)
    with pytest.raises(UnavailableError):
        DirectoryLock(tmp_path)
    lock.close()


def test_no_directory(tmp_path: Path) -> None:
    """A directory that is missing is named with what to do."""
    with pytest.raises(UnavailableError, match="missing") as caught:
        DirectoryLock(tmp_path / "missing")
    assert caught.value.hint
