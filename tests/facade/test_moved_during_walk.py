"""A tree that is moved in while `rec=True` walks there, with `report_all`."""

from __future__ import annotations

from pathlib import Path

from inotify_bridge import pyinotify


def test_what_the_walk_has_met_is_told(tmp_path: Path) -> None:
    """Contents of a tree that was moved in are told although the walk had watched its directories already."""
    inbox, ready = tmp_path / "inbox", tmp_path / "ready"
    inbox.mkdir()
    (ready / "deep").mkdir(parents=True)
    (ready / "deep" / "file").touch()
    manager = pyinotify.WatchManager(report_all=True)
    told: list[str] = []
    notifier = pyinotify.Notifier(manager, lambda event: told.append(event.name))
    mask = pyinotify.IN_CREATE | pyinotify.IN_MOVED_TO
    # The walk watches its top before it lists it; here the move comes between the two.
    manager.add_watch(str(inbox), mask, auto_add=True)
    ready.rename(inbox / "ready")
    assert len(manager.add_watch(str(inbox), mask, rec=True, auto_add=True)) == 3
    notifier.read_events()
    notifier.process_events()
    notifier.stop()
    assert told == ["ready", "deep", "file"]
