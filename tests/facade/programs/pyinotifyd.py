"""
pyinotifyd 0.0.9 (PyPI): a daemon that runs tasks on file events. `AsyncioNotifier`; handlers make tasks.
Up to Python 3.13: it wants an event loop that 3.14 no longer makes by itself.

A ProcessEvent with my_init and an ExcludeFilter; watches with rec and auto_add; ends by SIGTERM.
"""

from __future__ import annotations

from pathlib import Path

from tests.facade.programs.place import Place, says

_CONFIG = """
from pyinotifyd import EventMap
note = ShellScheduler(cmd="echo {{maskname}} {{pathname}} {{src_pathname}} >> {out}")
kinds = {{"IN_CLOSE_WRITE": note, "IN_MOVED_TO": note, "IN_MOVED_FROM": None}}
wanted = EventMap(event_map=kinds, exclude_filter=[".*\\\\.tmp$"])
pyinotifyd = Pyinotifyd(watches=[Watch(path="{watched}", event_map=wanted, rec=True, auto_add=True)])
"""


def run(place: Place, scratch: Path) -> list[str]:
    """A file in the directory, one in a new directory, one that is moved, and one that is excluded."""
    place.install("pyinotifyd==0.0.9")
    watched, out, said = scratch / "watched", scratch / "out", scratch / "pyinotifyd.log"
    watched.mkdir()
    config = scratch / "config.py"
    config.write_text(_CONFIG.format(watched=watched, out=out))
    daemon: list[str | Path] = [place.python.parent / "pyinotifyd", "-c", config, "-d"]
    with place.running(said, *daemon) as process:
        says(said, "listen", "the daemon")
        (watched / "one").write_text("x")
        says(out, f"IN_CLOSE_WRITE {watched}/one", "the first task")
        (watched / "new" / "er").mkdir(parents=True)
        (watched / "excluded.tmp").write_text("x")
        says(said, f"pathname={watched}/new", "the new directory")
        says(said, f"pathname={watched}/new/er", "the directory in it")
        (watched / "new" / "er" / "two").write_text("x")
        says(out, f"IN_CLOSE_WRITE {watched}/new/er/two", "the task of the new directory")
        (watched / "one").rename(watched / "three")
        says(out, f"IN_MOVED_TO {watched}/three {watched}/one", "the task of the move, with its source")
    assert process.returncode == 0, said.read_text()
    assert ".tmp" not in out.read_text()
    assert "Traceback" not in said.read_text()
    return [line.replace(str(watched), "") for line in sorted(out.read_text().splitlines())]
