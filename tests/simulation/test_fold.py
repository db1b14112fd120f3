"""The oracle itself."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from inotify_bridge.capture.change import Change, Kind, Notice
from tests.fold import Entry, Fold, Unfoldable, differences, disk

FILE, DIR = stat.S_IFREG, stat.S_IFDIR


def change(kind: Kind, path: bytes, type: int = FILE, source: bytes | None = None) -> Change:
    return Change(kind, path, type, "kernel", 0, source)


def test_a_moved_directory_takes_its_whole_subtree_along() -> None:
    """directory.moved alone moves every path below it."""
    fold = Fold()
    for path in (b"a", b"a/b"):
        fold.item(change("created", path, DIR))
    fold.item(change("created", b"a/b/f"))
    fold.item(change("moved", b"z", DIR, source=b"a"))
    assert list(fold.entries()) == [b"z", b"z/b", b"z/b/f"]


@pytest.mark.parametrize(
    "wrong",
    [
        change("created", b"f"),
        change("created", b"none/f"),
        change("created", b"f/below"),
        change("written", b"none"),
        change("deleted", b"none"),
        change("deleted", b"d", DIR),
        change("deleted", b"f", DIR),
        change("attributes_changed", b"d"),
        change("moved", b"g", source=b"none"),
        change("moved", b"d", source=b"f"),
        Notice("resync_completed", 0, data={"resync_id": 1}),
    ],
    ids=repr,
)
def test_strict_refuses_what_cannot_be(wrong: Change | Notice) -> None:
    """What is there is not created, what is absent not changed, and no full directory goes in one piece."""
    fold = Fold()
    for item in (change("created", b"d", DIR), change("created", b"d/g"), change("created", b"f")):
        fold.item(item)
    with pytest.raises(Unfoldable):
        fold.item(wrong)


def envelope(sequence: str, type: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"sequence": sequence, "type": f"io.inotify-bridge.{type}.v1", "data": data}


def test_envelopes_fold_by_number_epoch_and_raw_path() -> None:
    """A repeat is dropped, a hole refused, a new epoch starts empty, and path_b64 is what counts."""
    fold = Fold()
    fold.event(envelope("a-000000000001", "stream.started", {}))
    stats = {"size": 3, "mode": "0644", "owner": {"id": "5"}, "group": {"id": "6"}}
    file = {"path": "%FF", "path_b64": "/w==", "type": "file", **stats}
    for _ in range(2):
        fold.event(envelope("a-000000000002", "file.created", {"file": file}))
    assert fold.entries() == {b"\xff": Entry("file", 3, 0o644, 5, 6)}
    assert fold.repeats == 1
    parked = {"type": "x.file.deleted.v1", "file": {"path": "%FF", "path_b64": "/w==", "type": "file"}}
    fold.event(envelope("a-000000000003", "stream.event_parked", parked))
    assert fold.entries() == {}
    with pytest.raises(Unfoldable):
        fold.event(envelope("a-000000000005", "file.created", {"file": file}))
    fold.event(envelope("b-000000000001", "stream.started", {}))


def test_the_disk_is_walked_at_any_depth_and_through_no_link(tmp_path: Path) -> None:
    """3,000 levels, far beyond PATH_MAX, with a link back to the top at the end."""
    root = os.open(tmp_path, os.O_RDONLY)
    here = os.dup(root)
    for _ in range(3000):
        os.mkdir("deep", dir_fd=here)
        here, old = os.open("deep", os.O_RDONLY, dir_fd=here), here
        os.close(old)
    os.symlink(tmp_path, "up", dir_fd=here)
    os.close(here)
    try:
        found = disk(os.fsencode(tmp_path))
    finally:
        _remove_chain(root, b"deep", 3000)
    assert len(found) == 3001
    assert found[b"/".join([b"deep"] * 3000 + [b"up"])].target == os.fsencode(tmp_path)


def _remove_chain(top: int, name: bytes, levels: int) -> None:
    """shutil.rmtree cannot: it recurses."""
    here = top
    for _ in range(levels):
        here, old = os.open(name, os.O_RDONLY, dir_fd=here), here
        os.close(old)
    os.unlink(b"up", dir_fd=here)
    for _ in range(levels):
        here, old = os.open(b"..", os.O_RDONLY, dir_fd=here), here
        os.close(old)
        os.rmdir(name, dir_fd=here)
    os.close(here)


def test_differences_name_what_is_missing_too_much_and_different() -> None:
    """Each kind of difference is one line; sizes of directories are none."""
    replica = {b"a": Entry("file", 1, 0, 0, 0), b"b": Entry("dir", 1, 0, 0, 0), b"c": Entry("fifo")}
    real = {b"a": Entry("file", 2, 0, 0, 0), b"b": Entry("dir", 4096, 0, 0, 0), b"d": Entry("fifo")}
    found = differences(replica, real)
    assert [line.split(":")[0] for line in found] == ["differs", "too much", "missing"]
