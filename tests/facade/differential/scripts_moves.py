"""Scripts about moves: pairs, sources, and the paths of watches that move."""

# mypy: ignore-errors

from __future__ import annotations

import os

import pyinotify

from tests.facade.differential.scene import Scene, script

ALL = pyinotify.ALL_EVENTS
MOVES = pyinotify.IN_MOVED_FROM | pyinotify.IN_MOVED_TO | pyinotify.IN_CREATE | pyinotify.IN_MOVE_SELF


def paths(scene: Scene, manager) -> None:
    """Record which path each watch has now."""
    scene.answer("paths", {wd: watch.path for wd, watch in manager.watches.items()})


@script
def a_file_moves_between_watches(scene: Scene) -> None:
    """The pair shares a cookie, and MOVED_TO has its source."""
    scene.mkdir("a")
    scene.mkdir("b")
    manager, notifier = scene.notifier()
    manager.add_watch([scene.path("a"), scene.path("b")], MOVES)
    scene.write("a", "file")
    os.rename(scene.path("a", "file"), scene.path("b", "other"))
    os.rename(scene.path("b", "other"), scene.path("b", "third"))
    scene.drain(notifier)


@script
def a_file_moves_in_and_out(scene: Scene) -> None:
    """One half only: out has no destination, in has no source."""
    scene.mkdir("in")
    manager, notifier = scene.notifier()
    manager.add_watch(scene.path("in"), MOVES)
    scene.write("file")
    os.rename(scene.path("file"), scene.path("in", "file"))
    os.rename(scene.path("in", "file"), scene.path("file"))
    scene.drain(notifier)


@script
def two_files_are_exchanged(scene: Scene) -> None:
    """Moves over one another, by way of a third name."""
    scene.write("a")
    scene.write("b")
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MOVES)
    os.rename(scene.path("a"), scene.path("c"))
    os.rename(scene.path("b"), scene.path("a"))
    os.rename(scene.path("c"), scene.path("b"))
    os.rename(scene.path("a"), scene.path("b"))
    scene.drain(notifier)


@script
def a_move_is_read_in_halves(scene: Scene) -> None:
    """The source is known although both halves are processed apart."""
    scene.write("a")
    manager, notifier = scene.notifier()
    wd = manager.add_watch(scene.directory, ALL)[scene.directory]
    notifier.append_event(pyinotify._RawEvent(wd, pyinotify.IN_MOVED_FROM, 77, "a"))
    notifier.process_events()
    notifier.append_event(pyinotify._RawEvent(wd, pyinotify.IN_MOVED_TO, 77, "b"))
    notifier.append_event(pyinotify._RawEvent(wd, pyinotify.IN_MOVED_TO, 78, "c"))
    notifier.process_events()


@script
def a_watched_directory_moves(scene: Scene) -> None:
    """Its path and those of all below become the new ones."""
    scene.mkdir("a", "b", "c")
    scene.mkdir("ab")
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MOVES, rec=True)
    os.rename(scene.path("a"), scene.path("z"))
    scene.drain(notifier)
    paths(scene, manager)
    scene.write("z", "b", "c", "file")
    os.rename(scene.path("z", "b"), scene.path("ab", "y"))
    scene.drain(notifier)
    scene.write("ab", "y", "c", "file2")
    scene.drain(notifier)
    paths(scene, manager)


@script
def a_watched_directory_moves_away(scene: Scene) -> None:
    """Out of what is watched: the path is unknown from then on, said once in the log for each move."""
    scene.mkdir("in", "d", "e")
    scene.mkdir("out")
    manager, notifier = scene.notifier()
    manager.add_watch(scene.path("in"), MOVES | pyinotify.IN_CLOSE_WRITE | pyinotify.IN_DELETE_SELF, rec=True)
    os.rename(scene.path("in", "d"), scene.path("out", "d"))
    scene.drain(notifier)
    paths(scene, manager)
    scene.write("out", "d", "file")
    scene.write("out", "d", "e", "file")
    os.rename(scene.path("out", "d"), scene.path("out", "f"))
    scene.drain(notifier)
    paths(scene, manager)


@script
def a_watched_file_moves(scene: Scene) -> None:
    """A file that is watched by itself: unknown path without its directory, known with it."""
    alone, both = scene.write("alone"), scene.mkdir("d") + "/both"
    scene.write("d", "both")
    manager, notifier = scene.notifier()
    manager.add_watch([alone, both, scene.path("d")], MOVES)
    os.rename(alone, scene.path("moved"))
    os.rename(both, scene.path("d", "moved"))
    scene.drain(notifier)
    paths(scene, manager)


@script
def only_move_self_is_watched(scene: Scene) -> None:
    """IN_MOVE_SELF without the parents' masks has no record of where to."""
    scene.mkdir("d")
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, pyinotify.IN_CREATE)
    manager.add_watch(scene.path("d"), pyinotify.IN_MOVE_SELF)
    os.rename(scene.path("d"), scene.path("e"))
    scene.drain(notifier)
    os.rename(scene.path("e"), scene.path("d"))
    scene.drain(notifier)
    paths(scene, manager)


@script
def a_directory_moves_there_and_back(scene: Scene) -> None:
    """Names that are used again take the newest record."""
    scene.mkdir("a", "x")
    scene.mkdir("b")
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MOVES, rec=True)
    for source, to in (("a", "b/a"), ("b/a", "c"), ("c", "a"), ("a", "d")):
        os.rename(scene.path(source), scene.path(to))
    scene.drain(notifier)
    paths(scene, manager)
    scene.write("d", "x", "file")
    scene.drain(notifier)


@script
def a_directory_moves_with_auto_add(scene: Scene) -> None:
    """From a known source it is not added again: its watches go along."""
    scene.mkdir("a", "x")
    scene.mkdir("b")
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MOVES, rec=True, auto_add=True)
    os.rename(scene.path("a"), scene.path("b", "a"))
    scene.drain(notifier)
    scene.mkdir("b", "a", "x", "new")
    scene.drain(notifier)
    paths(scene, manager)
