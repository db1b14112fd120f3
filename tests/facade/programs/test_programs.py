"""Programs written for pyinotify do their job on the façade, unchanged, where pyinotify does not run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.facade.programs.place import Place, Unavailable
from tests.facade.programs.programs import PROGRAMS, VERSIONS

VARIABLE = "INOTIFY_BRIDGE_PROGRAMS"

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not os.environ.get(VARIABLE),
        reason=f"installs other people's programs from their archives, half a minute each: set {VARIABLE}=1",
    ),
]


@pytest.mark.parametrize(("name", "version"), [(name, one) for name in PROGRAMS for one in VERSIONS[name]])
def test_a_program_does_its_job(name: str, version: str, tmp_path: Path) -> None:
    """A program that imports pyinotify runs on the façade, and does what it is for."""
    try:
        assert PROGRAMS[name].run(Place(tmp_path, version), tmp_path)
    except Unavailable as error:
        pytest.skip(str(error))
