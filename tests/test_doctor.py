"""doctor: what it sees on the machine, and what it tells people to change."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inotify_bridge.capture.constants import IN_CREATE
from inotify_bridge.capture.inotify import Inotify
from inotify_bridge.config import Config
from inotify_bridge.config.model import Events
from inotify_bridge.config.rules import notes
from inotify_bridge.doctor import Finding, count_directories, examine, usage
from tests.cli.program import run


def configuration(root: Path, state: dict[str, str] | None = None, **group: object) -> Config:
    """A configuration with one group on `root`."""
    return Config.model_validate(
        {
            "watch_groups": [{"name": "g", "paths": [str(root)], "sinks": ["m"], **group}],
            "sinks": [{"name": "m", "type": "memory"}],
            "state": state or {},
        }
    )


def count(config: Config, seconds: float = 60) -> tuple[int, bool]:
    """Directories of the only group, and whether all were counted."""
    found = count_directories(config.watch_groups[0], time.monotonic() + seconds)
    return found.directories, found.complete


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A stand-in for /proc with limits that a test may change, and no processes."""
    for name, value in {
        "fs/inotify/max_user_watches": 8192,
        "fs/inotify/max_user_instances": 128,
        "fs/inotify/max_queued_events": 16384,
        "user/max_inotify_watches": 8192,
        "user/max_inotify_instances": 128,
    }.items():
        file = tmp_path / "proc/sys" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    return tmp_path / "proc"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root with 1 + 2 + 2 × 3 directories, a file and a symbolic link to a directory."""
    root = tmp_path / "tree"
    for outer in ("a", "b.tmp"):
        for inner in ("x", "y", ".git"):
            (root / outer / inner).mkdir(parents=True)
    (root / "file").write_text("")
    (root / "link").symlink_to("a")
    return root


def finding(findings: Iterator[Finding], subject: str) -> Finding:
    """The finding about a subject."""
    return next(found for found in findings if found.subject.startswith(subject))


@pytest.mark.parametrize(
    ("group", "expected"),
    [({}, 9), ({"exclude": [".git/"]}, 7), ({"exclude": ["*.tmp"]}, 5), ({"recursive": False}, 1)],
)
def test_counts_what_is_watched(tree: Path, group: dict[str, Any], expected: int) -> None:
    """Directories are counted as the filters leave them; a symbolic link is none."""
    assert count(configuration(tree, **group)) == (expected, True)


def test_a_root_that_is_a_file(tree: Path) -> None:
    """A root that is a file needs one watch."""
    assert count(configuration(tree / "file")) == (1, True)


def test_counting_is_bounded(tree: Path) -> None:
    """When time is up the count is a lower bound, and says so."""
    assert count(configuration(tree), seconds=0) == (1, False)


def test_trees_deeper_than_a_path(tmp_path: Path) -> None:
    """A tree deeper than the longest path is counted to there, without recursion, and the count says so."""
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(2500):
        os.mkdir("dd", dir_fd=here)
        below = os.open("dd", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    directories, complete = count(configuration(tmp_path))
    subprocess.run(["rm", "-rf", str(tmp_path / "dd")], check=True)  # deeper than shutil.rmtree can recurse
    assert not complete
    assert directories > 1000


def test_unreadable_directories_are_named() -> None:
    """A directory that may not be read is reported with the permission it needs."""
    top = Path(tempfile.mkdtemp())
    try:
        top.chmod(0o755)
        (top / "closed").mkdir(mode=0o000)
        config = configuration(top)
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            found = finding(examine(config), "group g")
        finally:
            os.seteuid(before)
    finally:
        shutil.rmtree(top)
    assert found.status == "warning"
    assert "1 directories cannot be read" in found.detail
    assert str(top / "closed") in found.detail


@pytest.mark.parametrize("name", ["fs.inotify.max_user_watches", "user.max_inotify_watches"])
def test_too_few_watches(proc: Path, tree: Path, name: str) -> None:
    """A limit below the directories fails with the very sysctl to set; either of the two can be the one."""
    (proc / "sys" / name.replace(".", "/")).write_text("5\n")
    found = [f for f in examine(configuration(tree), proc=str(proc)) if f.status == "failed"]
    assert [f.subject for f in found] == [name]
    assert "is 5; needed 9" in found[0].detail
    assert found[0].advice.startswith(f"sysctl -w {name}=11,")


def test_too_few_instances(proc: Path, tree: Path) -> None:
    """Without an instance for each group nothing is polled: the agent does not start, and that is said."""
    (proc / "sys/fs/inotify/max_user_instances").write_text("0\n")
    found = finding(examine(configuration(tree), proc=str(proc)), "fs.inotify.max_user_instances")
    assert found.status == "failed"
    assert "the agent does not start" in found.detail


def test_enough_of_everything(proc: Path, tree: Path) -> None:
    """Where all limits suffice nothing fails."""
    assert all(f.status != "failed" for f in examine(configuration(tree), proc=str(proc)))


def test_a_short_queue(proc: Path) -> None:
    """A kernel queue below the default is a warning."""
    (proc / "sys/fs/inotify/max_queued_events").write_text("256\n")
    assert finding(examine(None, proc=str(proc)), "fs.inotify.max_queued_events").status == "warning"


def test_a_kernel_without_the_settings(tmp_path: Path) -> None:
    """Limits that this kernel does not have are left out."""
    (tmp_path / "proc").mkdir()
    assert not [f for f in examine(None, proc=str(tmp_path / "proc")) if "max_" in f.subject]


def test_usage_counts_real_instances(tmp_path: Path) -> None:
    """Instances and watches that this user's processes hold are counted: here those of this process alone."""
    (tmp_path / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
    before = usage(str(tmp_path), seconds=60)
    inotify = Inotify()
    try:
        for number in range(3):
            (tmp_path / f"watched-{number}").mkdir()
            inotify.add_watch(bytes(tmp_path / f"watched-{number}"), IN_CREATE)
        after = usage(str(tmp_path), seconds=60)
    finally:
        inotify.close()
    assert (after.instances - before.instances, after.watches - before.watches) == (1, 3)
    assert after.complete


def test_blind_file_systems() -> None:
    """A root on a file system where inotify does not see everything is a warning that names it."""
    found = finding(examine(configuration(Path("/proc/self")), seconds=0.01), "root /proc/self")
    assert found.status == "warning"
    assert "lies on proc" in found.detail


def test_lost_roots(tmp_path: Path) -> None:
    """A root that is not there fails."""
    assert finding(examine(configuration(tmp_path / "none")), "root").status == "failed"


def test_state_directory(tmp_path: Path, tree: Path) -> None:
    """A state directory that can be made is ok, one on a blind file system fails, none is a warning."""
    good = configuration(tree, {"dir": str(tmp_path / "not/yet"), "max_bytes": "1MiB"})
    assert finding(examine(good), "state directory").status == "ok"
    blind = configuration(tree, {"dir": "/proc/state"})
    assert finding(examine(blind), "state directory").status == "failed"
    assert finding(examine(configuration(tree)), "state directory").status == "warning"
    full = configuration(tree, {"dir": str(tmp_path), "max_bytes": "1000TiB"})
    assert "make room" in finding(examine(full), "state directory").advice


def test_a_state_directory_of_others(tmp_path: Path, tree: Path) -> None:
    """One that other users may write is a warning, of `validate` too; a database that is no file fails."""
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    config = configuration(tree, {"dir": str(state), "max_bytes": "1MiB"})
    found = finding(examine(config), "state directory")
    assert (found.status, found.advice) == ("warning", "chmod go-w")
    assert any("chmod go-w" in note for note in notes(config))
    (state / "g.db").mkdir()
    assert "g.db cannot be opened" in finding(examine(config), "state directory").detail


def test_a_clock_that_went_back(tmp_path: Path, tree: Path) -> None:
    """Files of the state directory from the future show a clock that was set back."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "db").write_text("")
    config = configuration(tree, {"dir": str(state)})
    assert finding(examine(config), "clock").status == "ok"
    os.utime(state / "db", (time.time() + 1000, time.time() + 1000))
    assert finding(examine(config), "clock").status == "warning"


def test_command(tmp_path: Path) -> None:
    """The command lists its findings with what to change, in JSON too, and ends with 1 when one fails."""
    file = tmp_path / "config.yaml"
    file.write_text(
        f"watch_groups: [{{name: g, paths: [{tmp_path}/none], sinks: [m]}}]\n"
        "sinks: [{name: m, type: memory}]\n"
    )
    ended = run("doctor", "-c", str(file))
    assert ended.code == 1
    assert f"FAILED  root {tmp_path}/none: cannot be reached" in ended.out
    assert "        -> make it first\n" in ended.out
    as_json = run("doctor", "--json", "-c", str(file))
    assert {finding["status"] for finding in json.loads(as_json.out)} >= {"ok", "failed"}
    (tmp_path / "none").mkdir()
    assert run("doctor", "-c", str(file)).code == 0


@pytest.mark.parametrize(
    ("machine", "events", "warned"),
    [
        ("3f2a90c1b7de", {}, True),
        ("3f2a90c1b7de", {"host": "web-1"}, False),
        ("3f2a90c1b7de", {"source": "urn:uploads"}, False),
        ("web-1", {}, False),
    ],
)
def test_the_name_of_a_container(
    tree: Path, monkeypatch: pytest.MonkeyPatch, machine: str, events: dict[str, str], warned: bool
) -> None:
    """A source that is named after a container, and would change with the next one, is a warning."""
    monkeypatch.setattr("socket.gethostname", lambda: machine)
    config = configuration(tree).model_copy(update={"events": Events.model_validate(events)})
    findings = [found for found in examine(config) if found.subject == "source"]
    assert [(found.status, found.advice.split(",")[0]) for found in findings] == [
        ("warning", "set events.host")
    ] * warned
