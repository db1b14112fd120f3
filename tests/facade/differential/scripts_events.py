"""Scripts about single events: their attributes, their order, what ends a watch."""

# mypy: ignore-errors

from __future__ import annotations

import os

import pyinotify

from tests.facade.differential.scene import Scene, script

ALL = pyinotify.ALL_EVENTS
# Not what reading a directory makes.
CHANGES = ALL & ~(pyinotify.IN_OPEN | pyinotify.IN_ACCESS | pyinotify.IN_CLOSE_NOWRITE)


@script
def every_kind_in_a_directory(scene: Scene) -> None:
    """A file is made, read, changed, moved and deleted in a watched directory."""
    manager, notifier = scene.notifier()
    scene.answer("add_watch", manager.add_watch(scene.directory, ALL))
    path = scene.write("file")
    with open(path) as file:
        file.read()
    os.chmod(path, 0o600)
    os.rename(path, scene.path("other"))
    os.unlink(scene.path("other"))
    os.mkdir(scene.path("d"))
    os.rmdir(scene.path("d"))
    scene.drain(notifier)
    notifier.stop()


@script
def a_watched_file(scene: Scene) -> None:
    """A file itself is watched, until it is deleted."""
    path = scene.write("file")
    manager, notifier = scene.notifier()
    scene.answer("add_watch", manager.add_watch(path, ALL))
    scene.write("file", text="more")
    os.chmod(path, 0o600)
    scene.drain(notifier)
    scene.answer("watches", manager.watches)
    os.unlink(path)
    scene.drain(notifier)
    scene.answer("watches after", manager.watches)


@script
def a_watched_directory_is_deleted(scene: Scene) -> None:
    """DELETE_SELF and IGNORED arrive, and the watch is gone; its parent tells the rest."""
    inner = scene.mkdir("d", "e")
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, CHANGES, rec=True)
    os.rmdir(inner)
    os.rmdir(scene.path("d"))
    scene.drain(notifier)
    scene.answer("watches", sorted(manager.watches))
    scene.answer("get_wd", manager.get_wd(inner))


@script
def a_file_and_its_directory(scene: Scene) -> None:
    """Both watches tell the file's events, each in its own words."""
    path = scene.write("file")
    manager, notifier = scene.notifier()
    scene.answer("add_watch", manager.add_watch([scene.directory, path], ALL))
    scene.write("file", text="more")
    os.unlink(path)
    scene.drain(notifier)


@script
def a_file_is_replaced(scene: Scene) -> None:
    """An editor writes a new file over the watched one, which ends the watch; it is watched again."""
    path = scene.write("file")
    manager, notifier = scene.notifier()
    manager.add_watch(path, ALL)
    scene.write("new")
    os.rename(scene.path("new"), path)
    scene.drain(notifier)
    scene.answer("again", manager.add_watch(path, ALL))
    scene.write("file", text="more")
    scene.drain(notifier)


@script
def one_shot(scene: Scene) -> None:
    """IN_ONESHOT: one event, then IGNORED."""
    manager, notifier = scene.notifier()
    scene.answer("add_watch", manager.add_watch(scene.directory, pyinotify.IN_CREATE | pyinotify.IN_ONESHOT))
    scene.write("a")
    scene.write("b")
    scene.drain(notifier)
    scene.answer("watches", manager.watches)


@script
def a_hard_link(scene: Scene) -> None:
    """Two names of one file are one watch, under the later name."""
    path = scene.write("file")
    os.link(path, scene.path("link"))
    manager, notifier = scene.notifier()
    scene.answer("first", manager.add_watch(path, ALL))
    scene.answer("second", manager.add_watch(scene.path("link"), ALL))
    scene.answer("paths", [manager.get_path(wd) for wd in manager.watches])
    scene.write("file", text="more")
    os.unlink(path)
    scene.drain(notifier)
    os.unlink(scene.path("link"))
    scene.drain(notifier)


@script
def a_symlink_to_a_directory(scene: Scene) -> None:
    """It is followed, and events keep the link's name; IN_DONT_FOLLOW watches the link."""
    scene.mkdir("real", "inner")
    os.symlink("real", scene.path("link"))
    manager, notifier = scene.notifier()
    scene.answer("link", manager.add_watch(scene.path("link"), ALL, rec=True))
    scene.answer("not followed", manager.add_watch(scene.path("link"), ALL | pyinotify.IN_DONT_FOLLOW))
    scene.write("real", "file")
    os.unlink(scene.path("link"))
    scene.drain(notifier)


@script
def only_directories(scene: Scene) -> None:
    """IN_ONLYDIR refuses a file and takes a directory."""
    path = scene.write("file")
    manager, notifier = scene.notifier()
    scene.answer("file", manager.add_watch(path, ALL | pyinotify.IN_ONLYDIR))
    scene.answer("directory", manager.add_watch(scene.directory, ALL | pyinotify.IN_ONLYDIR))
    os.unlink(path)
    scene.drain(notifier)


@script
def unlinked_children_excluded(scene: Scene) -> None:
    """IN_EXCL_UNLINK: a file without a name makes no events of its directory."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, ALL | pyinotify.IN_EXCL_UNLINK)
    with open(scene.path("file"), "w") as file:
        os.unlink(scene.path("file"))
        file.write("x")
    scene.drain(notifier)


@script
def mask_is_added(scene: Scene) -> None:
    """IN_MASK_ADD adds to what is watched; without it the mask is replaced."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, pyinotify.IN_CREATE)
    scene.answer("added", manager.add_watch(scene.directory, pyinotify.IN_DELETE | pyinotify.IN_MASK_ADD))
    os.unlink(scene.write("file"))
    scene.drain(notifier)
    scene.answer("replaced", manager.add_watch(scene.directory, pyinotify.IN_OPEN))
    os.unlink(scene.write("file"))
    scene.drain(notifier)
    scene.answer("watches", manager.watches)


@script
def relative_paths(scene: Scene) -> None:
    """A relative path stays relative in `path` and is absolute in `pathname`; spellings are normalised."""
    os.chdir(scene.directory)
    scene.mkdir("d", "e")
    manager, notifier = scene.notifier()
    scene.answer("add_watch", manager.add_watch(["d/", "./d//e/../e", "."], ALL))
    scene.write("d", "file")
    scene.write("d", "e", "file")
    scene.write("file")
    scene.drain(notifier)
    scene.answer("get_wd", [manager.get_wd(path) for path in ("d", "d/", "d/e", "./d/e/", ".", "nowhere")])


@script
def identical_events_are_merged(scene: Scene) -> None:
    """The kernel merges an event that is identical to the last one in its queue, and nobody else does."""
    path = scene.write("file")
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, pyinotify.IN_ATTRIB | pyinotify.IN_OPEN)
    for _ in range(3):
        os.chmod(path, 0o600)
    open(path).close()
    os.chmod(path, 0o600)
    scene.drain(notifier)


@script
def many_files_in_order(scene: Scene) -> None:
    """Three hundred files: every event, in the order of the kernel, over several reads."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, pyinotify.IN_CREATE | pyinotify.IN_CLOSE_WRITE | pyinotify.IN_DELETE)
    for number in range(300):
        path = scene.write(f"file {number} {'x' * (number % 60)}")
        if number % 3 == 0:
            os.unlink(path)
        if number % 100 == 50:
            notifier.read_events()
    scene.drain(notifier)


@script
def names_in_unicode(scene: Scene) -> None:
    """Names that are UTF-8 but not ASCII, with spaces, newlines and quotes."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.mkdir("дир ü"), pyinotify.IN_CREATE)
    for name in ("ö", "名前", " ", "a\nb", "'\"", "😀", "-", "a" * 255):
        scene.write("дир ü", name)
    scene.drain(notifier)


@script
def names_that_are_not_utf8(scene: Scene) -> None:
    """One name that is not UTF-8 among others."""
    manager, notifier = scene.notifier()
    manager.add_watch(scene.directory, pyinotify.IN_CREATE)
    scene.write("before")
    os.close(os.open(os.fsencode(scene.directory) + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY))
    scene.write("after")
    scene.raised("read_events", notifier.read_events)
    scene.raised("process_events", notifier.process_events)


@script
def a_directory_that_is_not_utf8(scene: Scene) -> None:
    """A directory whose name is not UTF-8 is watched, and walked."""
    inner = os.fsdecode(os.fsencode(scene.directory) + b"/\xff")
    os.mkdir(inner)
    manager, notifier = scene.notifier()
    scene.raised("add_watch", lambda: manager.add_watch(inner, pyinotify.IN_CREATE))
    scene.raised("add_watch rec", lambda: manager.add_watch(scene.directory, pyinotify.IN_CREATE, rec=True))
    open(inner + "/file", "w").close()
    scene.drain(notifier)


@script
def what_an_event_holds(scene: Scene) -> None:
    """`vars()` of an event, new attributes, and its type."""
    seen = []
    manager = pyinotify.WatchManager()
    notifier = pyinotify.Notifier(manager, seen.append)
    manager.add_watch(scene.directory, ALL)
    os.rename(scene.write("a"), scene.path("b"))
    os.mkdir(scene.path("d"))
    scene.drain(notifier)
    for event in seen:
        scene.answer("vars", sorted(vars(event)))
        event.mine = 1
        event.name = "changed"
        scene.answer(
            "changed", (event.mine, event.name, "mine=1" in repr(event), isinstance(event, pyinotify.Event))
        )
        scene.answer(
            "absent", [hasattr(event, name) for name in ("src_pathname", "cookie", "is_dir", "event_name")]
        )


@script
def an_event_made_by_hand(scene: Scene) -> None:
    """`Event` and `_RawEvent` are made by programs and their tests."""
    scene.event(pyinotify.Event({"wd": 1, "mask": pyinotify.IN_CREATE, "path": "/p", "name": "n"}))
    scene.event(pyinotify.Event({"wd": 1, "mask": pyinotify.IN_CREATE, "path": "/p", "name": ""}))
    scene.event(pyinotify.Event({"mask": pyinotify.IN_Q_OVERFLOW}))
    scene.event(pyinotify.Event({"mask": pyinotify.IN_DELETE | pyinotify.IN_ISDIR, "extra": [1, "two"]}))
    scene.raised("unknown mask", lambda: pyinotify.Event({"mask": 3}))
    scene.raised("no mask", lambda: pyinotify.Event({"wd": 1}))
    raw = pyinotify._RawEvent(3, pyinotify.IN_OPEN, 0, "name\0\0\0")
    scene.answer("raw", str(raw))
    scene.answer("raw fields", [raw.wd, raw.mask, raw.cookie, raw.name, repr(raw)])
    raw.name = "changed"
    scene.answer("raw is cached", str(raw))


@script
def an_event_appended_by_hand(scene: Scene) -> None:
    """Raw events that a program appends are processed like the kernel's; an unknown watch is a warning."""
    manager, notifier = scene.notifier()
    wd = manager.add_watch(scene.directory, ALL)[scene.directory]
    notifier.append_event(pyinotify._RawEvent(wd, pyinotify.IN_MODIFY, 0, "made up"))
    notifier.append_event(pyinotify._RawEvent(wd, pyinotify.IN_MOVED_TO, 7, "moved"))
    notifier.append_event(pyinotify._RawEvent(99, pyinotify.IN_MODIFY, 0, "nobody"))
    notifier.append_event(pyinotify._RawEvent(99, pyinotify.IN_IGNORED, 0, ""))
    notifier.append_event(pyinotify._RawEvent(-1, pyinotify.IN_Q_OVERFLOW, 0, ""))
    scene.answer("queue", len(notifier._eventq))
    notifier.process_events()
    scene.answer("queue after", len(notifier._eventq))


@script
def an_unmount_by_hand(scene: Scene) -> None:
    """UNMOUNT, with and without ISDIR, then IGNORED."""
    manager, notifier = scene.notifier()
    wd = manager.add_watch(scene.directory, ALL)[scene.directory]
    for mask in (pyinotify.IN_UNMOUNT, pyinotify.IN_UNMOUNT | pyinotify.IN_ISDIR, pyinotify.IN_IGNORED):
        notifier.append_event(pyinotify._RawEvent(wd, mask, 0, ""))
    notifier.process_events()
    scene.answer("watches", manager.watches)


@script
def an_unknown_mask_by_hand(scene: Scene) -> None:
    """A mask that is no event ends process_events, and the rest of the queue stays."""
    manager, notifier = scene.notifier()
    wd = manager.add_watch(scene.directory, ALL)[scene.directory]
    notifier.append_event(pyinotify._RawEvent(wd, pyinotify.IN_MODIFY | pyinotify.IN_OPEN, 0, "two"))
    notifier.append_event(pyinotify._RawEvent(wd, pyinotify.IN_MODIFY, 0, "one"))
    scene.raised("first", notifier.process_events)
    scene.raised("second", notifier.process_events)
