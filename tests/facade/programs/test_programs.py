"""Programs written for pyinotify do their job on the façade, unchanged, on Pythons that pyinotify does not run on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.facade.programs.place import Place, Unavailable
from tests.facade.programs.programs import PROGRAMS

VARIABLE = "INOTIFY_BRIDGE_PROGRAMS"

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not os.environ.get(VARIABLE),
        reason=f"installs other people's programs from their archives, half a minute each: set {VARIABLE}=1",
    ),
]


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_its_job(name: str, version: str, tmp_path: Path) -> None:
    """A program that imports pyinotify runs on the façade, and does what it is for."""
    try:
        assert PROGRAMS[name].run(Place(tmp_path, version), tmp_path)
    except Unavailable as error:
        pytest.skip(str(error))
