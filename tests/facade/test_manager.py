"""The manager of watches: added, changed and removed, and what its calls answer."""

from __future__ import annotations

import errno
import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from inotify_bridge import pyinotify
from tests.facade.recording import Recording

CREATE = pyinotify.IN_CREATE


def tree(top: Path, *paths: str) -> None:
    """Make directories below `top`."""
    for path in paths:
        (top / path).mkdir(parents=True)


def test_answer_of_add_watch(tmp_path: Path) -> None:
    """The answer has the paths as given, in order, and numbers from 1 on; stored ones are normalised."""
    tree(tmp_path, "a", "b")
    with Recording() as recording:
        manager = recording.manager
        added = manager.add_watch([f"{tmp_path}/b/", f"{tmp_path}/a", f"{tmp_path}/none"], CREATE)
        assert list(added.items()) == [
            (f"{tmp_path}/b/", 1),
            (f"{tmp_path}/a", 2),
            (f"{tmp_path}/none", -1),
        ]
        assert manager.get_path(1) == f"{tmp_path}/b"
        assert manager.get_wd(f"{tmp_path}/./a/") == 2
        assert (manager.get_path(9), manager.get_watch(9), manager.get_wd("/none")) == (None, None, None)
        assert manager.watches is manager._wmd
        assert manager.get_watch(2) is manager.watches[2]
        assert manager.get_fd() == manager._fd == recording.notifier._fd


def test_what_is_no_path(tmp_path: Path) -> None:
    """Anything but text is answered with -3; collections of paths of any kind are watched."""
    with Recording() as recording:
        add: Any = recording.manager.add_watch
        assert add(b"/tmp", CREATE) == {b"/tmp": -3}
        assert add(None, CREATE) == {None: -3}
        assert add(tmp_path, CREATE) == {tmp_path: -3}
        assert add([5, str(tmp_path)], CREATE) == {5: -3, str(tmp_path): 1}
        assert add((str(tmp_path),), CREATE) == add({str(tmp_path)}, CREATE) == {str(tmp_path): 1}


def test_refusal_is_logged(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """What the kernel refuses is logged with path and reason, and the rest is watched."""
    with Recording() as recording:
        added = recording.manager.add_watch(["/no/such", str(tmp_path)], CREATE)
    assert added == {"/no/such": -1, str(tmp_path): 1}
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage() == (
        "add_watch: cannot watch /no/such WD=-1, Errno=No such file or directory (ENOENT)"
    )


def test_refusal_is_raised(tmp_path: Path) -> None:
    """Where it is not to be quiet, the first refusal is raised with what was done so far, which stays."""
    with Recording() as recording:
        with pytest.raises(pyinotify.WatchManagerError, match=r"WD=-1, .*\(ENOENT\)$") as caught:
            recording.manager.add_watch([str(tmp_path), "/no/such", "/tmp"], CREATE, quiet=False)
        assert caught.value.wmd == {str(tmp_path): 1, "/no/such": -1}
        assert list(recording.manager.watches) == [1]


def test_path_with_a_nul(tmp_path: Path) -> None:
    """A path with a NUL in it is refused, not cut."""
    with Recording() as recording:
        assert recording.manager.add_watch(f"{tmp_path}\0x", CREATE) == {f"{tmp_path}\0x": -1}


def test_recursion(tmp_path: Path) -> None:
    """With `rec` all directories below are watched, the top first; links are not followed."""
    tree(tmp_path, "top/a/b", "top/c", "elsewhere/x")
    (tmp_path / "top/file").touch()
    (tmp_path / "top/link").symlink_to(tmp_path / "elsewhere")
    with Recording() as recording:
        added = recording.manager.add_watch(f"{tmp_path}/top", CREATE, rec=True)
        paths = list(added)
        assert paths[0] == f"{tmp_path}/top"
        assert sorted(paths) == [f"{tmp_path}/{path}" for path in ("top", "top/a", "top/a/b", "top/c")]
        assert paths.index(f"{tmp_path}/top/a") < paths.index(f"{tmp_path}/top/a/b")
        for single in (f"{tmp_path}/top/file", f"{tmp_path}/top/link", f"{tmp_path}/none"):
            assert list(recording.manager.add_watch(single, CREATE, rec=True)) == [single]


def test_recursion_is_not_limited(tmp_path: Path) -> None:
    """A tree that is deeper than Python's stack is watched to its bottom."""
    depth, names = 1200, []
    at = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(depth):
            os.mkdir("d", dir_fd=at)
            below = os.open("d", os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = below
            names.append("d")
    finally:
        os.close(at)
    with Recording() as recording:
        added = recording.manager.add_watch(str(tmp_path), CREATE, rec=True)
        assert len(added) == depth + 1
        assert added[os.path.join(str(tmp_path), *names)] == depth + 1
        os.rmdir(os.path.join(str(tmp_path), *names))
    for count in range(depth - 1, 0, -1):
        os.rmdir(os.path.join(str(tmp_path), *names[:count]))


def test_link_is_followed(tmp_path: Path) -> None:
    """A link that was given is followed by the kernel, and events have the link's name."""
    tree(tmp_path, "d")
    (tmp_path / "link").symlink_to("d")
    with Recording() as recording:
        recording.manager.add_watch(f"{tmp_path}/link", CREATE)
        (tmp_path / "d/a").touch()
        (event,) = recording.drain()
    assert event.pathname == f"{tmp_path}/link/a"


def test_patterns(tmp_path: Path) -> None:
    """With `do_glob` a path is a pattern, and no match is no error; else it is taken as it stands."""
    tree(tmp_path, "a1", "a2", "b", "a*")
    with Recording() as recording:
        add = recording.manager.add_watch
        assert sorted(add(f"{tmp_path}/a[12]", CREATE, do_glob=True)) == [f"{tmp_path}/a1", f"{tmp_path}/a2"]
        assert add(f"{tmp_path}/z*", CREATE, do_glob=True) == {}
        assert list(add(f"{tmp_path}/a*", CREATE)) == [f"{tmp_path}/a*"]


def test_exclusion(tmp_path: Path) -> None:
    """A filter is asked for each path by itself; the call's own takes the place of the manager's."""
    tree(tmp_path, "a/b")

    def excluded(path: str) -> bool:
        return path.endswith("/a")

    with Recording(exclude_filter=excluded) as recording:
        add = recording.manager.add_watch
        top = str(tmp_path)
        assert add(top, CREATE, rec=True) == {top: 1, f"{top}/a": -2, f"{top}/a/b": 2}
        assert add(top, CREATE, rec=True, exclude_filter=lambda path: path == top)[top] == -2
        own = recording.manager.watches[2].exclude_filter
        assert (own("x/a"), own(top)) == (False, True)


def test_exclude_filter(tmp_path: Path) -> None:
    """Expressions match from the beginning; they come as a list, or from a file without comments."""
    file = tmp_path / "filter"
    file.write_text("  ^/var/lo.\n\n# ^/etc\n/srv\n")
    for given in (["^/var/lo.", "/srv"], str(file)):
        exclude = pyinotify.ExcludeFilter(given)
        assert [exclude(path) for path in ("/var/log/x", "/srv", "/etc", "/x/srv")] == [
            True,
            True,
            False,
            False,
        ]
    wrong: Any = ("^/a",)
    with pytest.raises(TypeError):
        pyinotify.ExcludeFilter(wrong)
    with pytest.raises(re.error):
        pyinotify.ExcludeFilter(["("])


def test_own_handler(tmp_path: Path) -> None:
    """A watch's own handler is called in place of the notifier's, unless it is false."""
    tree(tmp_path, "a", "b")
    own: list[pyinotify.Event] = []

    class Empty(list[pyinotify.Event]):
        """A handler that is false as long as it is empty."""

        def __call__(self, event: pyinotify.Event) -> None:
            self.append(event)

    with Recording() as recording:
        recording.manager.add_watch(f"{tmp_path}/a", CREATE, proc_fun=own.append)
        recording.manager.add_watch(f"{tmp_path}/b", CREATE, proc_fun=Empty())
        (tmp_path / "a/x").touch()
        (tmp_path / "b/y").touch()
        others = recording.drain()
    assert ([event.name for event in own], [event.name for event in others]) == (["x"], ["y"])


def test_adding_again_replaces(tmp_path: Path) -> None:
    """A path that is watched keeps its number, and gets mask, handler and flags of the last call."""
    with Recording() as recording:
        add = recording.manager.add_watch
        add(str(tmp_path), CREATE)
        assert add(f"{tmp_path}/.", pyinotify.IN_DELETE, proc_fun=print, auto_add=True) == {
            f"{tmp_path}/.": 1
        }
        watch = recording.manager.watches[1]
        assert (watch.mask, watch.proc_fun, watch.auto_add) == (CREATE | pyinotify.IN_DELETE, print, True)
        assert recording.manager.rm_watch(1) == {1: True}
        assert add(str(tmp_path), CREATE) == {str(tmp_path): 2}


def test_mask_add(tmp_path: Path) -> None:
    """IN_MASK_ADD adds to what the kernel tells."""
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), CREATE)
        recording.manager.add_watch(str(tmp_path), pyinotify.IN_DELETE | pyinotify.IN_MASK_ADD)
        (tmp_path / "a").touch()
        (tmp_path / "a").unlink()
        assert recording.told(tmp_path) == [("IN_CREATE", "a"), ("IN_DELETE", "a")]


def test_masks_with_more(tmp_path: Path) -> None:
    """IN_IGNORED and IN_ISDIR in a mask are accepted and change nothing."""
    with Recording() as recording:
        mask = CREATE | pyinotify.IN_IGNORED | pyinotify.IN_ISDIR
        assert recording.manager.add_watch(str(tmp_path), mask) == {str(tmp_path): 1}
        (tmp_path / "a").touch()
        assert recording.told(tmp_path) == [("IN_CREATE", "a")]


def test_directory_and_file_in_it(tmp_path: Path) -> None:
    """Where a directory and a file in it are watched, both tell of the file."""
    (tmp_path / "f").touch()
    with Recording() as recording:
        recording.manager.add_watch([str(tmp_path), f"{tmp_path}/f"], pyinotify.IN_ATTRIB)
        (tmp_path / "f").chmod(0o600)
        of_directory, of_file = recording.drain()
    assert (of_directory.name, of_file.name) == ("f", "")
    assert of_directory.pathname == of_file.path == of_file.pathname


def test_two_paths_of_one_inode(tmp_path: Path) -> None:
    """Two names of one file are one watch, under the later name."""
    (tmp_path / "f").touch()
    (tmp_path / "g").hardlink_to(tmp_path / "f")
    with Recording() as recording:
        added = recording.manager.add_watch([f"{tmp_path}/f", f"{tmp_path}/g"], CREATE)
        assert list(added.values()) == [1, 1]
        assert recording.manager.get_path(1) == f"{tmp_path}/g"


def test_watch(tmp_path: Path) -> None:
    """A watch knows what it was made with and whether it is of a directory, and is written in that order."""
    watch = pyinotify.Watch(3, str(tmp_path), 256, None, False, str.isdigit)
    assert watch.dir is True
    assert pyinotify.Watch(3, f"{tmp_path}/none", 256, None, False, str.isdigit).dir is False
    assert repr(watch) == (
        f"<Watch wd=3 path={tmp_path} mask=256 proc_fun=None auto_add=False"
        f" exclude_filter={str.isdigit!r} dir=True >"
    )
    with pytest.raises(AttributeError):
        watch.other = 1  # type: ignore[attr-defined]


def test_update_watch(tmp_path: Path) -> None:
    """Mask and handler are replaced where they are given, also in what directories inherit later."""
    tree(tmp_path, "a")
    seen: list[pyinotify.Event] = []
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), CREATE)
        assert recording.manager.update_watch(1, mask=pyinotify.IN_DELETE, proc_fun=seen.append) == {1: True}
        assert recording.manager.watches[1].mask == pyinotify.IN_DELETE
        (tmp_path / "f").touch()
        (tmp_path / "f").unlink()
        assert recording.drain() == []
        assert recording.manager.update_watch([1], auto_add=True) == {1: True}
        assert recording.manager.watches[1].mask == pyinotify.IN_DELETE | CREATE
        (tmp_path / "b").mkdir()
        recording.drain()
        inherited = recording.manager.watches[2]
    assert [event.maskname for event in seen] == ["IN_DELETE", "IN_CREATE|IN_ISDIR"]
    assert (inherited.mask, inherited.auto_add) == (pyinotify.IN_DELETE | CREATE, True)


def test_update_watch_below(tmp_path: Path) -> None:
    """With `rec` watches below are changed too, and those beside are not."""
    tree(tmp_path, "a/b", "ab")
    with Recording() as recording:
        added = recording.manager.add_watch(str(tmp_path), CREATE, rec=True)
        updated = recording.manager.update_watch(added[f"{tmp_path}/a"], mask=0x2, rec=True)
        assert updated == {added[f"{tmp_path}/a"]: True, added[f"{tmp_path}/a/b"]: True}
        assert recording.manager.watches[added[f"{tmp_path}/ab"]].mask == CREATE


def test_update_of_no_watch(caplog: pytest.LogCaptureFixture) -> None:
    """Numbers of no watch are logged and left out, or raised."""
    with Recording() as recording:
        assert recording.manager.update_watch([9, -1], mask=1) == {}
        assert [record.getMessage() for record in caplog.records] == [
            "update_watch: invalid WD=9",
            "update_watch: invalid WD=-1",
        ]
        with pytest.raises(pyinotify.WatchManagerError, match=r"^update_watch: invalid WD=9$") as caught:
            recording.manager.update_watch(9, mask=1, quiet=False)
        assert caught.value.wmd == {}


def test_update_of_a_lost_path(tmp_path: Path) -> None:
    """A watch whose path is gone, or another file's, is not changed; nothing is watched in its place."""
    tree(tmp_path, "a")
    with Recording() as recording:
        recording.manager.add_watch(f"{tmp_path}/a", CREATE)
        (tmp_path / "a").rename(tmp_path / "b")
        with pytest.raises(pyinotify.WatchManagerError, match=r"cannot update .*/a WD=-1, Errno=") as caught:
            recording.manager.update_watch(1, mask=0x2, quiet=False)
        assert caught.value.wmd == {1: False}
        tree(tmp_path, "a")
        assert recording.manager.update_watch(1, mask=pyinotify.ALL_EVENTS) == {1: False}
        (tmp_path / "a/x").touch()
        assert recording.drain() == []
        assert list(recording.manager.watches) == [1]


def test_rm_watch(tmp_path: Path) -> None:
    """A removed watch is gone at once, with what it still had to tell."""
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), CREATE)
        (tmp_path / "a").touch()
        recording.notifier.read_events()
        (tmp_path / "b").touch()
        assert recording.manager.rm_watch(1) == {1: True}
        assert recording.manager.watches == {}
        assert recording.drain() == []


def test_rm_watch_below(tmp_path: Path) -> None:
    """With `rec` all watches below go too, by component of the path, and unknown numbers are left out."""
    tree(tmp_path, "a/b/c", "ab")
    with Recording() as recording:
        added = recording.manager.add_watch(str(tmp_path), CREATE, rec=True)
        top, beside = added[f"{tmp_path}/a"], added[f"{tmp_path}/ab"]
        removed = recording.manager.rm_watch([top, added[f"{tmp_path}/a/b"], 99], rec=True)
        assert set(removed.values()) == {True}
        assert set(recording.manager.watches) == {added[str(tmp_path)], beside}
        assert 99 not in removed
        recording.manager.add_watch("/", CREATE)
        assert len(recording.manager.rm_watch(recording.manager.get_wd("/") or 0, rec=True)) == 3


def test_rm_watch_of_any_collection(tmp_path: Path) -> None:
    """The numbers come in any collection, such as the values of an answer."""
    tree(tmp_path, "a", "b")
    with Recording() as recording:
        added = recording.manager.add_watch(str(tmp_path), CREATE, rec=True)
        assert recording.manager.rm_watch(added.values()) == {1: True, 2: True, 3: True}
        added = recording.manager.add_watch(str(tmp_path), CREATE, rec=True)
        assert set(recording.manager.rm_watch(wd for wd in added.values()).values()) == {True}


def test_rm_of_no_watch(caplog: pytest.LogCaptureFixture) -> None:
    """What the kernel refuses is False and logged, or raised with a text that ends with the error's name."""
    with Recording() as recording:
        assert recording.manager.rm_watch([-1, 5]) == {-1: False, 5: False}
        assert (
            caplog.records[1].getMessage() == "rm_watch: cannot remove WD=5, Errno=Invalid argument (EINVAL)"
        )
        with pytest.raises(pyinotify.WatchManagerError) as caught:
            recording.manager.rm_watch(5, quiet=False)
        assert str(caught.value).endswith("(EINVAL)")
        assert caught.value.wmd == {5: False}


def test_del_watch(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """del_watch forgets a watch and leaves the kernel alone; an unknown one is logged."""
    with Recording() as recording:
        recording.manager.add_watch(str(tmp_path), CREATE)
        recording.manager.del_watch(1)
        assert recording.manager.watches == {}
        recording.manager.del_watch(1)
        assert caplog.records[-1].getMessage() == "Cannot delete unknown watch descriptor 1"
        (tmp_path / "a").touch()
        assert recording.drain() == []
        assert (
            caplog.records[-1]
            .getMessage()
            .startswith("Unable to retrieve Watch object associated to <_RawEvent ")
        )


def test_ignored_events(tmp_path: Path) -> None:
    """While events are ignored all are dropped, what they would tell about watches too."""
    with Recording() as recording:
        manager = recording.manager
        manager.add_watch(str(tmp_path), CREATE, auto_add=True)
        assert manager.ignore_events is False
        manager.ignore_events = True
        assert manager.get_ignore_events() is True
        (tmp_path / "d").mkdir()
        assert recording.drain() == []
        assert list(manager.watches) == [1]
        manager.set_ignore_events(False)
        (tmp_path / "e").mkdir()
        assert recording.told(tmp_path) == [("IN_CREATE|IN_ISDIR", "e")]


def test_transient_file(tmp_path: Path) -> None:
    """A file that comes and goes is watched through its directory, and only its events come through."""
    seen: list[tuple[str, str]] = []

    class Mine(pyinotify.ProcessEvent):
        """Notes events."""

        def process_default(self, event: pyinotify.Event) -> None:
            seen.append((event.maskname, event.name))

    with Recording() as recording:
        added = recording.manager.watch_transient_file(f"{tmp_path}/f", pyinotify.IN_MODIFY, Mine)
        assert added == {str(tmp_path): 1}
        assert recording.manager.watch_transient_file("f", pyinotify.IN_MODIFY, Mine) == {}
        (tmp_path / "other").write_text("x")
        (tmp_path / "f").write_text("x")
        (tmp_path / "f").unlink()
        assert recording.drain() == []
    assert seen == [("IN_CREATE", "f"), ("IN_MODIFY", "f"), ("IN_DELETE", "f")]


def test_the_walk_can_be_overridden(tmp_path: Path) -> None:
    """A subclass that overrides the walk by its mangled name decides which directories are reached."""
    tree(tmp_path, "a/b")

    class Pruned(pyinotify.WatchManager):
        """Reaches the top alone."""

        def _WatchManager__walk_rec(self, top: str, rec: bool) -> Any:
            yield top

    manager = Pruned()
    assert manager.add_watch(str(tmp_path), CREATE, rec=True) == {str(tmp_path): 1}
    manager.close()


def test_close(tmp_path: Path) -> None:
    """A closed manager watches nothing and says so; closing again does nothing."""
    manager = pyinotify.WatchManager()
    fd = manager.get_fd()
    manager.close()
    manager.close()
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        os.fstat(fd)
    assert manager.add_watch(str(tmp_path), CREATE) == {str(tmp_path): -1}


def test_a_descriptor_of_somebody_else(tmp_path: Path) -> None:
    """A closed manager touches no other instance that was given its descriptor's number."""
    manager = pyinotify.WatchManager()
    manager.close()
    with Recording() as other:
        assert other.manager.get_fd() == manager.get_fd()
        assert other.manager.add_watch(str(tmp_path), CREATE) == {str(tmp_path): 1}
        assert manager.rm_watch(1) == {1: False}
        assert manager.add_watch(f"{tmp_path}/..", CREATE) == {f"{tmp_path}/..": -1}
        (tmp_path / "x").touch()
        assert [event.name for event in other.drain()] == ["x"]


def test_threads_add_watches(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Watches that other threads add while events come lose none of their events."""
    tree(tmp_path, *(f"{thread}/{number}" for thread in range(4) for number in range(25)))
    with Recording() as recording:

        def add(thread: int) -> None:
            for number in range(25):
                recording.manager.add_watch(f"{tmp_path}/{thread}/{number}", CREATE)
                (tmp_path / f"{thread}/{number}/f").touch()

        threads = [threading.Thread(target=add, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        seen = []
        while any(thread.is_alive() for thread in threads):
            seen += recording.drain()
        seen += recording.drain()
    assert len({event.pathname for event in seen}) == 100
    assert caplog.records == []
