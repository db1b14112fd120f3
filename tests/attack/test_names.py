"""Names that look like the kernel's own, and a root that turns into a link."""

from __future__ import annotations

import os

from tests.kernel.watching import Ground, Watching


def test_unnamed_looking_files_stop_nothing(disk_ground: Ground) -> None:
    """Files called like a huge inode number, written after they were unlinked, do not end the watching."""
    tree = disk_ground.watched
    with Watching.watch(disk_ground) as watching:
        for digits in (19, 20, 21, 200):
            path = tree / ("#" + "9" * digits)
            with path.open("w") as file:
                path.unlink()
                file.write("x")
        (tree / "after").mkdir()
        stream = watching.finish()
    assert any(event["data"].get("file", {}).get("path") == "after" for event in stream.events)


def test_a_root_that_becomes_a_link_is_lost(disk_ground: Ground) -> None:
    """A root that was a directory and is a symbolic link now leads nowhere: nothing outside is published."""
    tree = disk_ground.watched
    elsewhere = disk_ground.outside / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "secret").mkdir()
    with Watching.watch(disk_ground) as watching:
        os.rename(tree, disk_ground.outside / "old")
        os.symlink(elsewhere, tree)
        watching.wait_until(
            lambda stream: any("root_lost" in event["type"] for event in stream.events), "the lost root"
        )
        stream = watching.finish()
    assert not any("secret" in str(event["data"]) for event in stream.events)
    assert not any(event["type"].endswith("root_restored.v1") for event in stream.events)
