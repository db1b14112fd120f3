"""The manual page: of this command line, well-formed, and put where man(1) looks for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.manual import page
from tests.test_compat import ROOT, build

PAGE = ROOT / "man" / "inotify-bridge.1"


def test_the_page_is_that_of_the_command_line() -> None:
    """The committed page is what the commands say of themselves today; if not: `make man`."""
    assert PAGE.read_text() == page()


@pytest.mark.parametrize(
    "check",
    [
        ["man", "--warnings=w", "--encoding=UTF-8", "--local-file"],
        ["mandoc", "-T", "lint", "-W", "style"],
    ],
    ids=lambda check: str(check[0]),
)
def test_the_page_is_well_formed(check: list[str]) -> None:
    """groff and mandoc have nothing to say against it."""
    if shutil.which(check[0]) is None:
        assert "CI" not in os.environ, f"{check[0]} has to be installed"
        pytest.skip(f"{check[0]} is not installed")
    done = subprocess.run(
        [*check, PAGE],
        env={**os.environ, "MAN_KEEP_STDERR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    complaints = done.stderr if check[0] == "man" else done.stdout + done.stderr
    assert (done.returncode, complaints) == (0, "")


def test_the_wheel_brings_it(tmp_path: Path) -> None:
    """The wheel has the page and the files of the service as data, which pip puts below ``share``."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: `make check` installs it")
    brought = {
        "man/man1/inotify-bridge.1": PAGE,
        "inotify-bridge/systemd/inotify-bridge.service": ROOT / "systemd" / "inotify-bridge.service",
        "inotify-bridge/systemd/inotify-bridge.sysusers": ROOT / "systemd" / "inotify-bridge.sysusers",
    }
    with zipfile.ZipFile(build(ROOT, tmp_path)) as wheel:
        (data,) = {name.partition("/")[0] for name in wheel.namelist() if ".data/" in name}
        for name, source in brought.items():
            assert wheel.read(f"{data}/data/share/{name}") == source.read_bytes()
