"""Scripts about the manager: adding, updating, removing, asking."""

# mypy: ignore-errors

from __future__ import annotations

import os

import pyinotify

from tests.facade.differential.scene import Scene, script

MASK = pyinotify.IN_CREATE | pyinotify.IN_DELETE


@script
def recursion(scene: Scene) -> None:
    """Directories only, parents before children, links not followed; the answer's order is the walk's."""
    scene.mkdir("a")
    scene.mkdir("a", "b")
    scene.write("a", "file")
    os.symlink("a", scene.path("link"))
    manager, notifier = scene.notifier()
    answer = manager.add_watch(scene.directory, MASK, rec=True)
    scene.answer("paths", list(answer))
    scene.answer("answer", answer)
    scene.answer("of a file", manager.add_watch(scene.path("a", "file"), MASK, rec=True))
    scene.answer("of a link", manager.add_watch(scene.path("link"), MASK, rec=True))
    scene.answer("of nothing", manager.add_watch(scene.path("nowhere"), MASK, rec=True))
    scene.write("a", "b", "new")
    scene.drain(notifier)


@script
def a_directory_is_made_during_the_walk(scene: Scene) -> None:
    """In a directory that is just about to be watched."""
    scene.mkdir("a")
    manager, notifier = scene.notifier()

    def filter_that_makes(path: str) -> bool:
        if path == scene.path("a"):
            scene.mkdir("a", "late")
        return False

    answer = manager.add_watch(scene.directory, MASK, rec=True, exclude_filter=filter_that_makes)
    scene.answer("answer", sorted(answer))
    scene.drain(notifier)


@script
def a_walk_is_heard(scene: Scene) -> None:
    """Reading a directory makes events of its own, for who asks for IN_OPEN."""
    scene.mkdir("a")
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, pyinotify.IN_OPEN, rec=True)
    scene.drain(notifier)


@script
def globbing(scene: Scene) -> None:
    """Patterns are patterns with do_glob only; no match is no error."""
    for name in ("a1", "a2", "b1", "[x]"):
        scene.mkdir(name, "in")
    manager, _ = scene.notifier()
    manager.add_watch(scene.path("a*"), MASK, do_glob=True)
    scene.answer("glob", sorted(watch.path for watch in manager.watches.values()))
    scene.answer("glob in depth", sorted(manager.add_watch(scene.path("b?"), MASK, do_glob=True, rec=True)))
    scene.answer("no match", manager.add_watch(scene.path("c*"), MASK, do_glob=True))
    scene.answer("literal", manager.add_watch(scene.path("[x]"), MASK))
    scene.answer("no such literal", manager.add_watch(scene.path("a*"), MASK))


@script
def refusals(scene: Scene) -> None:
    """What cannot be watched is -1 and a line in the log, or an exception that has what was added."""
    scene.mkdir("d")
    manager, _ = scene.notifier()
    paths = [scene.path("d"), scene.path("nowhere"), scene.directory]
    scene.answer("quiet", manager.add_watch(paths, MASK))
    scene.raised("not quiet", lambda: manager.add_watch(paths, MASK, quiet=False))
    scene.raised("no mask", lambda: manager.add_watch(scene.directory, 0, quiet=False))
    scene.raised("through a file", lambda: manager.add_watch(scene.write("file") + "/x", MASK, quiet=False))
    scene.raised("too long", lambda: manager.add_watch(scene.path("x" * 300), MASK, quiet=False))
    scene.raised("empty", lambda: manager.add_watch("", MASK, quiet=False))
    scene.answer("watches", manager.watches)


@script
def what_a_path_may_be(scene: Scene) -> None:
    """A str or a list of them; anything else is -3."""
    manager, _ = scene.notifier()
    for path in (b"/tmp", None, 7, 1.5):
        scene.raised(f"{path!r}", lambda path=path: manager.add_watch(path, MASK))
    scene.raised("an empty list", lambda: manager.add_watch([], MASK))
    scene.raised("twice", lambda: manager.add_watch([scene.directory, scene.directory + "/"], MASK))
    scene.answer("watches", manager.watches)


@script
def paths_that_are_no_text_in_a_list(scene: Scene) -> None:
    """Bytes among texts."""
    manager, _ = scene.notifier()
    scene.raised("bytes", lambda: manager.add_watch([scene.directory, os.fsencode(scene.directory)], MASK))


@script
def a_tuple_of_paths(scene: Scene) -> None:
    """A tuple is no list."""
    manager, _ = scene.notifier()
    scene.raised("tuple", lambda: manager.add_watch((scene.directory,), MASK))
    scene.raised("empty", lambda: manager.add_watch((), MASK))


@script
def filters(scene: Scene) -> None:
    """The manager's filter, a call's own, and that an excluded directory does not prune the walk."""
    scene.mkdir("a", "b")
    scene.mkdir("c")
    manager = pyinotify.WatchManager(exclude_filter=lambda path: path.endswith("/a"))
    scene.answer("the manager's", manager.add_watch(scene.directory, MASK, rec=True))
    scene.answer(
        "the call's",
        manager.add_watch(scene.directory, MASK, rec=True, exclude_filter=lambda path: "c" in path[-1]),
    )
    scene.answer(
        "watches", [[one.path, one.exclude_filter(scene.path("a"))] for one in manager.watches.values()]
    )
    scene.raised(
        "one that fails", lambda: manager.add_watch(scene.directory, MASK, exclude_filter=lambda path: 1 / 0)
    )


@script
def exclude_filters(scene: Scene) -> None:
    """Lists and files of patterns; matched at the begin; other types are refused."""
    scene.write("patterns", text="# a comment\n\n  /srv/a.*  \n^/etc/[abc]$\n")
    listed = pyinotify.ExcludeFilter(["/srv/a.*", "^/etc/[abc]$"])
    read = pyinotify.ExcludeFilter(scene.path("patterns"))
    for path in ("/srv/a", "/srv/abc/d", "/srv/b", "/etc/a", "/etc/d", "/x/srv/a", "", "# a comment"):
        scene.answer(path, [listed(path), read(path)])
    scene.raised("tuple", lambda: pyinotify.ExcludeFilter(("/a",)))
    scene.raised("none", lambda: pyinotify.ExcludeFilter(None))
    scene.raised("no file", lambda: pyinotify.ExcludeFilter(scene.path("nowhere")))
    scene.raised("no pattern", lambda: pyinotify.ExcludeFilter(["("]))


@script
def asking(scene: Scene) -> None:
    """get_watch, get_path, get_wd, del_watch, watches, get_fd."""
    manager, _ = scene.notifier()
    scene.mkdir("d")
    wd = manager.add_watch(scene.path("d"), MASK)[scene.path("d")]
    watch = manager.get_watch(wd)
    fields = [
        watch.wd,
        watch.path,
        watch.mask,
        watch.proc_fun,
        watch.auto_add,
        watch.dir,
        watch.exclude_filter("x"),
    ]
    scene.answer("watch", fields)
    scene.answer("repr", repr(watch))
    scene.answer("slots", sorted(pyinotify.Watch.__slots__))
    scene.answer("path", [manager.get_path(wd), manager.get_path(99), manager.get_watch(99)])
    scene.answer(
        "wd", [manager.get_wd(scene.path("d")), manager.get_wd(scene.path("d") + "//"), manager.get_wd("/x")]
    )
    scene.answer("fd", [manager.get_fd() == manager._fd, manager.watches is manager._wmd])
    manager.del_watch(99)
    manager.del_watch(wd)
    scene.answer("after", manager.watches)
    manager.close()
    scene.raised("closed twice", manager.close)


@script
def updating(scene: Scene) -> None:
    """The mask in the kernel, the handler, the flag; unknown watches; a path that is gone."""
    scene.mkdir("a", "b")
    manager, notifier = scene.notifier()
    wds = manager.add_watch(scene.directory, pyinotify.IN_CREATE, rec=True)
    top = wds[scene.directory]
    scene.answer("mask", manager.update_watch(top, mask=pyinotify.IN_DELETE))
    os.unlink(scene.write("file"))
    scene.drain(notifier)
    scene.answer("handler", manager.update_watch(top, proc_fun=scene.recorder("new")))
    os.unlink(scene.write("file"))
    scene.drain(notifier)
    scene.answer("in depth", manager.update_watch(top, mask=pyinotify.IN_CLOSE_WRITE, rec=True))
    scene.write("a", "b", "file")
    scene.drain(notifier)
    scene.answer("list", manager.update_watch(list(wds.values()), mask=pyinotify.IN_CREATE))
    scene.answer("nothing", manager.update_watch(top))


@script
def updating_what_is_not_there(scene: Scene) -> None:
    """Unknown and negative watches are left out or raised; a vanished path is False."""
    manager, _ = scene.notifier()
    wd = manager.add_watch(scene.mkdir("d"), MASK)[scene.path("d")]
    for unknown in (99, -1, [wd, 99]):
        scene.raised(f"quiet {unknown}", lambda unknown=unknown: manager.update_watch(unknown, mask=MASK))
        scene.raised(
            f"not quiet {unknown}",
            lambda unknown=unknown: manager.update_watch(unknown, mask=MASK, quiet=False),
        )
    os.rmdir(scene.path("d"))
    scene.raised("gone, quiet", lambda: manager.update_watch(wd, mask=MASK))
    scene.raised("gone, not quiet", lambda: manager.update_watch(wd, mask=MASK, quiet=False))


@script
def updating_the_mask_that_is_inherited(scene: Scene) -> None:
    """What auto_add gives to a new directory after the mask was updated."""
    manager, notifier = scene.notifier()
    wd = manager.add_watch(scene.directory, pyinotify.IN_CREATE, auto_add=True)[scene.directory]
    manager.update_watch(wd, mask=pyinotify.IN_CREATE | pyinotify.IN_DELETE)
    scene.mkdir("d")
    scene.drain(notifier)
    os.unlink(scene.write("d", "file"))
    scene.drain(notifier)
    scene.answer("masks", [watch.mask for watch in manager.watches.values()])


@script
def updating_auto_add(scene: Scene) -> None:
    """auto_add by update_watch, of a watch without IN_CREATE."""
    manager, notifier = scene.notifier()
    wd = manager.add_watch(scene.directory, pyinotify.IN_DELETE)[scene.directory]
    scene.answer("update", manager.update_watch(wd, auto_add=True))
    scene.mkdir("d")
    scene.drain(notifier)
    scene.answer("watches", [[watch.path, watch.mask, watch.auto_add] for watch in manager.watches.values()])


@script
def removing(scene: Scene) -> None:
    """The entry is gone at once: queued events and IGNORED reach nobody."""
    scene.mkdir("a")
    manager, notifier = scene.notifier()
    wds = manager.add_watch([scene.directory, scene.path("a")], MASK)
    scene.write("file")
    scene.write("a", "file")
    scene.answer("removed", manager.rm_watch(wds[scene.directory]))
    scene.answer("watches", list(manager.watches))
    scene.drain(notifier)
    scene.answer("list", manager.rm_watch([wds[scene.path("a")]]))
    scene.write("a", "other")
    scene.drain(notifier)
    scene.answer("again", manager.add_watch(scene.directory, MASK))


@script
def removing_what_is_not_there(scene: Scene) -> None:
    """Refused by the kernel: False, or an exception whose text ends with (EINVAL)."""
    manager, _ = scene.notifier()
    wd = manager.add_watch(scene.directory, MASK)[scene.directory]
    for unknown in (99, -1, [wd, 99]):
        scene.raised(f"quiet {unknown}", lambda unknown=unknown: manager.rm_watch(unknown))
        scene.raised(f"not quiet {unknown}", lambda unknown=unknown: manager.rm_watch(unknown, quiet=False))
    scene.answer("watches", manager.watches)


@script
def removing_in_depth_a_leaf(scene: Scene) -> None:
    """rec=True of a watch with nothing below it; its neighbour of a longer name stays."""
    scene.mkdir("a")
    scene.mkdir("ab")
    manager, _ = scene.notifier()
    wds = manager.add_watch([scene.path("a"), scene.path("ab")], MASK)
    scene.answer("removed", manager.rm_watch(wds[scene.path("a")], rec=True))
    scene.answer("unknown", manager.rm_watch(99, rec=True))
    scene.answer("left", [watch.path for watch in manager.watches.values()])


@script
def removing_in_depth_a_tree(scene: Scene) -> None:
    """rec=True of a tree."""
    scene.mkdir("a", "b", "c")
    manager, _ = scene.notifier()
    wds = manager.add_watch(scene.directory, MASK, rec=True)
    scene.raised("removed", lambda: manager.rm_watch(wds[scene.directory], rec=True))
    scene.answer("left", len(manager.watches))


@script
def removing_the_values_of_an_answer(scene: Scene) -> None:
    """``rm_watch(wdd.values())``, as the tutorial shows it."""
    scene.mkdir("a")
    manager, _ = scene.notifier()
    wds = manager.add_watch(scene.directory, MASK, rec=True)
    scene.raised("values", lambda: manager.rm_watch(wds.values()))


@script
def ignoring(scene: Scene) -> None:
    """While events are ignored they are taken from the queue, book-keeping and all."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, MASK, auto_add=True)
    scene.answer("before", [manager.ignore_events, manager.get_ignore_events()])
    manager.ignore_events = True
    scene.mkdir("a")
    scene.drain(notifier)
    manager.set_ignore_events(False)
    scene.mkdir("b")
    scene.drain(notifier)
    scene.answer("after", [manager.ignore_events, sorted(watch.path for watch in manager.watches.values())])


@script
def transient_files(scene: Scene) -> None:
    """A file that need not be there; only its events get through."""

    class Handler(pyinotify.ProcessEvent):
        def process_default(self, event) -> None:
            scene.event(event, "transient")

    manager, notifier = scene.notifier()
    path = scene.path("file")
    scene.answer("watch", manager.watch_transient_file(path, pyinotify.IN_MODIFY, Handler))
    scene.answer("no directory", manager.watch_transient_file("file", pyinotify.IN_MODIFY, Handler))
    for name in ("file", "other", "file2"):
        scene.write(name)
        os.unlink(scene.path(name))
    scene.drain(notifier)
    scene.answer("watches", [[one.path, one.mask, one.auto_add] for one in manager.watches.values()])


@script
def several_managers(scene: Scene) -> None:
    """They know nothing of each other; each counts its watches from one."""
    first, one = scene.notifier()
    second, two = scene.notifier()
    scene.mkdir("d")
    scene.answer("first", first.add_watch([scene.directory, scene.path("d")], MASK))
    scene.answer("second", second.add_watch(scene.path("d"), MASK))
    scene.write("d", "file")
    scene.drain(one)
    one.stop()
    scene.drain(two)
    scene.answer("fd", [one._fd, two._fd is None])


@script
def two_spellings_of_one_directory(scene: Scene) -> None:
    """A directory by its name and through a link is one watch, under the later name."""
    scene.mkdir("d")
    os.symlink("d", scene.path("link"))
    manager, notifier = scene.notifier()
    scene.answer("name", manager.add_watch(scene.path("d"), MASK))
    scene.answer("link", manager.add_watch(scene.path("link"), MASK, proc_fun=scene.recorder("second")))
    scene.write("d", "file")
    scene.drain(notifier)
    scene.answer("watches", [watch.path for watch in manager.watches.values()])


@script
def a_manager_prunes_its_walk(scene: Scene) -> None:
    """A program overrides the hook that walks, by its mangled name."""
    scene.mkdir("a", "b")
    scene.mkdir("c")

    class Manager(pyinotify.WatchManager):
        def _WatchManager__walk_rec(self, top, rec):
            yield top
            yield from (os.path.join(top, name) for name in ("c",) if rec)

    manager = Manager()
    scene.answer("walked", manager.add_watch(scene.directory, MASK, rec=True))


@script
def too_many_instances(scene: Scene) -> None:
    """Where the process has no descriptor left, the error says so."""
    import resource

    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, usual[1]))
    scene.raised("WatchManager", pyinotify.WatchManager)
    resource.setrlimit(resource.RLIMIT_NOFILE, usual)


@script
def bits_without_effect_in_a_mask(scene: Scene) -> None:
    """IN_IGNORED and IN_ISDIR are accepted in a mask."""
    manager, notifier = scene.notifier()
    mask = pyinotify.IN_CREATE | pyinotify.IN_IGNORED | pyinotify.IN_ISDIR
    scene.answer("watch", manager.add_watch(scene.directory, mask))
    scene.answer("mask", [watch.mask for watch in manager.watches.values()])
    scene.write("file")
    scene.drain(notifier)
