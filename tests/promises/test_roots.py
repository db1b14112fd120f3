"""R12: a lost root is not an empty tree."""

from __future__ import annotations

import os
from pathlib import Path

from tests.kernel.watching import Ground, Watching


def test_an_empty_directory_says_nothing(tmp_path: Path) -> None:
    """While an empty directory stands in place of a lost root, the stream holds what it held."""
    ground = Ground(tmp_path / "watched", tmp_path / "outside", tmp_path)
    ground.watched.mkdir()
    ground.outside.mkdir()
    (ground.watched / "kept").write_text("text")
    with Watching.watch(ground) as watching:
        with watching.working(lagging=True):  # so that the first look at the root finds the empty one
            os.rename(ground.watched, ground.outside / "gone")
            ground.watched.mkdir()
        watching.wait_for("root_lost")
        stream = watching.finish()
    assert stream.notices("root_restored") == []
    assert set(stream.replay()) == {b"kept"}
