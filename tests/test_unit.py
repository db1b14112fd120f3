"""The unit of systemd, as systemd's own tools judge it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.test_compat import ROOT

UNIT = ROOT / "systemd" / "inotify-bridge.service"
USER = ROOT / "systemd" / "inotify-bridge.sysusers"
EXPOSURE = 1.4
"""Of 10, by systemd 252."""


def tool(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tool of systemd."""
    if shutil.which(command[0]) is None:
        assert "CI" not in os.environ, "systemd has to be installed"
        pytest.skip(f"{command[0]} (Debian: systemd) is not installed")
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_unit_is_right(tmp_path: Path) -> None:
    """systemd-analyze has nothing to say against the unit, but that its program is not installed here."""
    here = tmp_path / UNIT.name
    here.write_text(UNIT.read_text().replace("/opt/inotify-bridge/bin/inotify-bridge", "/bin/true"))
    done = tool("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", here)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_is_hardened() -> None:
    """The service is no more exposed than the documentation says."""
    threshold = f"--threshold={round(EXPOSURE * 10)}"
    done = tool("systemd-analyze", "security", "--offline=true", threshold, UNIT)
    assert done.returncode == 0, done.stdout
    assert f"exposure level {EXPOSURE}" in (ROOT / "docs" / "systemd.md").read_text()


def test_the_user_is_made(tmp_path: Path) -> None:
    """systemd-sysusers makes the user and group of the unit."""
    (user,) = set(re.findall(r"^(?:User|Group)=(.+)$", UNIT.read_text(), re.MULTILINE))
    (tmp_path / "etc").mkdir()
    done = tool("systemd-sysusers", f"--root={tmp_path}", USER)
    assert done.returncode == 0, done.stderr
    for table in ("passwd", "group"):
        assert f"\n{user}:" in f"\n{(tmp_path / 'etc' / table).read_text()}"
