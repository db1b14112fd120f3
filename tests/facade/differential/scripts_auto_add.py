"""Scripts about directories that come to be while they are watched for."""

# mypy: ignore-errors

from __future__ import annotations

import os
import shutil

import pyinotify

from tests.facade.differential.scene import Scene, script

MASK = pyinotify.IN_CREATE | pyinotify.IN_DELETE | pyinotify.IN_CLOSE_WRITE | pyinotify.IN_MOVED_TO
DELETES = pyinotify.IN_DELETE


def watches(scene: Scene, manager) -> None:
    """Record what is watched, and how."""
    scene.answer(
        "watches", [[one.wd, one.path, one.mask, one.auto_add, one.dir] for one in manager.watches.values()]
    )


@script
def a_tree_is_made_at_once(scene: Scene) -> None:
    """``mkdir -p a/b/c`` before anything is read: a creation for every level, parents first."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MASK, rec=True, auto_add=True)
    scene.mkdir("a", "b", "c")
    scene.drain(notifier)
    watches(scene, manager)


@script
def a_tree_with_files_is_made_at_once(scene: Scene) -> None:
    """Files, links, pipes and directories in the new tree: creations are made up for what was missed."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MASK, auto_add=True)
    scene.mkdir("a", "b")
    scene.write("a", "file")
    scene.write("a", "b", "deep")
    scene.drain(notifier)
    watches(scene, manager)


@script
def kinds_that_are_not_made_up(scene: Scene) -> None:
    """A pipe and a dangling link make no creation; a link to a file does."""
    for make in (
        os.mkfifo,
        lambda path: os.symlink("nowhere", path),
        lambda path: os.symlink("/etc/passwd", path),
    ):
        manager, notifier = scene.notifier()
        manager.add_watch(scene.directory, pyinotify.IN_DELETE, auto_add=True)
        make(scene.mkdir("d") + "/special")
        scene.drain(notifier)
        watches(scene, manager)
        notifier.stop()
        shutil.rmtree(scene.path("d"))


@script
def a_link_to_a_directory_in_a_new_tree(scene: Scene) -> None:
    """A link to a directory elsewhere stands in a new directory before that is read."""
    scene.mkdir("elsewhere", "inner")
    manager, notifier = scene.notifier()
    manager.add_watch(scene.mkdir("watched"), pyinotify.IN_DELETE, auto_add=True)
    scene.mkdir("watched", "d")
    os.symlink(scene.path("elsewhere"), scene.path("watched", "d", "link"))
    scene.drain(notifier)
    watches(scene, manager)


@script
def a_tree_grows_between_reads(scene: Scene) -> None:
    """Each level is made after the last one was processed: nothing comes twice."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MASK, auto_add=True)
    for names in (("a",), ("a", "b"), ("a", "b", "c")):
        scene.mkdir(*names)
        scene.drain(notifier)
        scene.write(*names, "file")
        scene.drain(notifier)
    watches(scene, manager)


@script
def a_file_between_watch_and_listing(scene: Scene) -> None:
    """A file that is made while its new directory is being added is told twice: real and made up."""
    manager, notifier = scene.notifier()
    added = manager.add_watch

    def add_watch(path, *arguments, **options):
        answer = added(path, *arguments, **options)
        if path == scene.path("d"):
            scene.write("d", "file")
        return answer

    manager.add_watch = add_watch
    added(scene.directory, MASK, auto_add=True)
    scene.mkdir("d")
    scene.drain(notifier)


@script
def a_directory_is_gone_again(scene: Scene) -> None:
    """Made and removed before it is read: the failure is logged, nothing is raised."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MASK, auto_add=True)
    os.rmdir(scene.mkdir("gone"))
    scene.drain(notifier)
    watches(scene, manager)


@script
def a_directory_comes_and_goes(scene: Scene) -> None:
    """The same name made and removed again and again gets a watch each time."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MASK, auto_add=True)
    for _ in range(3):
        scene.mkdir("d")
        scene.drain(notifier)
        os.rmdir(scene.path("d"))
        scene.drain(notifier)
    watches(scene, manager)


@script
def a_tree_is_removed(scene: Scene) -> None:
    """rmtree of an auto-added tree leaves no watch but the top."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MASK, auto_add=True)
    scene.mkdir("a", "b", "c")
    scene.drain(notifier)
    shutil.rmtree(scene.path("a"))
    scene.drain(notifier)
    watches(scene, manager)


@script
def a_tree_is_moved_in(scene: Scene) -> None:
    """From a place that nobody watches: it is watched in depth, and no creations are made up."""
    scene.mkdir("out", "d", "e")
    scene.write("out", "d", "file")
    manager, notifier = scene.notifier()
    manager.add_watch(scene.mkdir("in"), MASK, auto_add=True)
    os.rename(scene.path("out", "d"), scene.path("in", "d"))
    scene.drain(notifier)
    scene.write("in", "d", "e", "file")
    scene.drain(notifier)
    watches(scene, manager)


@script
def a_tree_is_moved_in_without_auto_add(scene: Scene) -> None:
    """Then it is told and no more."""
    scene.mkdir("out", "d")
    manager, notifier = scene.notifier()
    manager.add_watch(scene.mkdir("in"), MASK)
    os.rename(scene.path("out", "d"), scene.path("in", "d"))
    scene.write("in", "d", "file")
    scene.drain(notifier)
    watches(scene, manager)


@script
def auto_add_without_create(scene: Scene) -> None:
    """IN_CREATE is put into the mask, and made-up creations are delivered."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, DELETES, auto_add=True)
    watches(scene, manager)
    scene.mkdir("a", "b")
    scene.write("a", "file")
    scene.drain(notifier)
    watches(scene, manager)


@script
def without_auto_add(scene: Scene) -> None:
    """A new directory is told, and nothing in it."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MASK, rec=True)
    scene.mkdir("a", "b")
    scene.drain(notifier)
    scene.write("a", "file")
    scene.drain(notifier)
    watches(scene, manager)


@script
def auto_add_with_a_filter(scene: Scene) -> None:
    """The creation of an excluded directory is told; it gets no watch; what is inherited is the filter."""
    manager, notifier = scene.notifier()
    excluded = pyinotify.ExcludeFilter([scene.path("no"), ".*/skipped$"])
    manager.add_watch(scene.directory, MASK, auto_add=True, exclude_filter=excluded)
    scene.mkdir("no", "inner")
    scene.mkdir("yes", "skipped", "inner")
    scene.mkdir("yes", "kept")
    scene.drain(notifier)
    scene.write("yes", "kept", "file")
    scene.write("no", "file")
    scene.drain(notifier)
    watches(scene, manager)


@script
def a_moved_in_tree_with_a_filter(scene: Scene) -> None:
    """Excluded below the top: its neighbours are watched, and what lies below it is asked for by itself."""
    scene.mkdir("out", "d", "skipped", "inner")
    manager, notifier = scene.notifier()
    manager.add_watch(
        scene.mkdir("in"), MASK, auto_add=True, exclude_filter=pyinotify.ExcludeFilter([".*skipped$"])
    )
    os.rename(scene.path("out", "d"), scene.path("in", "d"))
    scene.drain(notifier)
    watches(scene, manager)


@script
def auto_add_inherits(scene: Scene) -> None:
    """Mask, handler and flag go to the new watch; a manager's own add_watch is called."""

    class Manager(pyinotify.WatchManager):
        def add_watch(self, path, mask, **options):
            scene.answer(
                "add_watch called", [path, mask, sorted(options), options.get("rec"), options.get("auto_add")]
            )
            return super().add_watch(path, mask, **options)

    manager = Manager()
    notifier = pyinotify.Notifier(manager, scene.recorder())
    manager.add_watch(scene.directory, MASK, proc_fun=scene.recorder("own"), auto_add=True, rec=True)
    scene.mkdir("a", "b")
    scene.drain(notifier)
    scene.write("a", "b", "file")
    scene.drain(notifier)


@script
def a_handler_adds_and_removes(scene: Scene) -> None:
    """Handlers call the manager while events are processed."""
    manager = pyinotify.WatchManager()

    def handler(event) -> None:
        scene.event(event)
        if event.mask == pyinotify.IN_CREATE | pyinotify.IN_ISDIR:
            scene.answer("added", manager.add_watch(event.pathname, MASK))
        elif event.name == "enough":
            scene.answer("removed", manager.rm_watch(event.wd))

    notifier = pyinotify.Notifier(manager, handler)
    manager.add_watch(scene.directory, MASK)
    scene.mkdir("d")
    scene.drain(notifier)
    for name in ("one", "enough", "lost"):
        scene.write("d", name)
    scene.drain(notifier)
    watches(scene, manager)
