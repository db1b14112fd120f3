"""Followed log files, by an agent that is a process: rotation, losses, kills, and what it says of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inotify_bridge.events.schemas import schema
from tests.agent.conftest import Launch
from tests.agent.logs import Logs, start
from tests.agent.trees import Trees
from tests.kernel.namespaces import without_override
from tests.waiting import eventually

jsonschema = pytest.importorskip("jsonschema")

pytestmark = pytest.mark.timeout(400)


@pytest.mark.usefixtures("re2")
def test_entries(follow: Callable[..., Logs]) -> None:
    """What is written becomes entries with their fields, or is rejected, and both are counted."""
    logs = follow(pattern=r"(?P<level>[A-Z]+) (?P<code>\d+) (?P<message>.*)", fields={"code": "int"})
    logs.append("app.log", "INFO 7 first", "nothing of it")
    logs.append("app.txt", "INFO 1 no log")
    logs.agent.start()
    eventually(lambda: logs.events("rejected"), what="the rejected line")
    logs.append("app.log", "WARN 8 second")
    eventually(lambda: len(logs.events("entry")) == 2, what="the second entry")
    validator = jsonschema.Draft202012Validator(schema("event"))
    for event in logs.events("entry") + logs.events("rejected"):
        validator.validate(event)
    second = logs.events("entry")[1]
    assert second["subject"] == "app.log"
    assert second["data"] == {
        "log": {"file": {"path": "app.log"}, "offset": 27, "line": 3, "length": 14},
        "fields": {"level": "WARN", "code": 8, "message": "second"},
        "message": "WARN 8 second",
    }
    assert logs.events("rejected")[0]["data"]["message"] == "nothing of it"
    assert (logs.agent.metric("log_entries_total"), logs.agent.metric("log_rejected_total")) == (2, 1)
    # Bytes are counted behind the commit, of which the sink hears first.
    eventually(lambda: logs.agent.metric("log_bytes_read_total") == 41, what="the bytes are counted")
    assert (logs.agent.metric("log_files"), logs.agent.metric("log_lag_bytes")) == (1, 0)
    logs.agent.stop()


@pytest.mark.parametrize("moment", ["before_commit", "after_commit", "after_publish"])
def test_killed_around_a_commit(follow: Callable[..., Logs], moment: str) -> None:
    """Wherever a crash comes, no entry is lost and none has two numbers."""
    logs = follow()
    logs.agent.patch = f"tests.agent.deaths:{moment}"
    lines = [f"line {number}" for number in range(500)]
    logs.append("app.log", *lines)
    logs.agent.start(ready=False)
    assert logs.agent.ended() == -9
    if moment == "before_commit":  # after it the sink may be faster than the kill
        assert logs.messages() == []
    logs.agent.patch = ""
    logs.agent.start()
    logs.arrive(*lines)
    logs.agent.stop()
    numbers = [event["sequence"] for event in logs.events("entry")]
    assert numbers == sorted(set(numbers))


def test_rotated_by_rename(follow: Callable[..., Logs], trees: Trees) -> None:
    """Two rotations at once, of a file that was not read to its end: every generation, in order."""
    logs = follow()
    logs.append("app.log", "a1")
    start(logs)
    with logs.agent.paused():
        logs.append("app.log", "a2")
        for name in "bc":
            for old in (1, 0):
                source = trees.root / (f"app.log.{old}" if old else "app.log")
                if source.exists():
                    source.rename(trees.root / f"app.log.{old + 1}")
            logs.append("app.log", f"{name}1")
        logs.append("app.log.2", "a3, late")
    logs.comes_after("ends")
    assert [one for one in logs.messages() if one[0] in "abc" and one != "begins"] == [
        "a1", "a2", "a3, late", "b1", "c1",
    ]  # fmt: skip
    logs.append("app.log.1", "b2, later")
    logs.comes_after("really")
    assert logs.messages()[-2] == "b2, later"
    assert logs.lost() == []
    assert {event["data"]["log"]["file"]["path"] for event in logs.events("entry")} == {
        "app.log",
        "fence.log",
    }
    logs.agent.stop()


@pytest.mark.parametrize("how", ["rename", "link", "copy"])
def test_rotated_while_it_was_down(follow: Callable[..., Logs], trees: Trees, how: str) -> None:
    """
    Two rotations between two lives, by rename, hard link or copy and truncation: what nobody had read comes,
    in order, and nothing again.
    """
    logs = follow()
    log = trees.root / "app.log"
    (trees.root / "app.log.1").write_text("old, from before\n")
    os.utime(trees.root / "app.log.1", (1, 1))
    logs.append("app.log", "a1", "a2")
    start(logs)
    logs.agent.kill()
    logs.append("app.log", "a3")
    for name in "bc":
        for number in (2, 1):
            if (source := trees.root / f"app.log.{number}").exists():
                source.rename(trees.root / f"app.log.{number + 1}")
        if how == "rename":
            log.rename(trees.root / "app.log.1")
        elif how == "link":
            os.link(log, trees.root / "app.log.1")
            log.unlink()
        else:
            shutil.copy(log, trees.root / "app.log.1")
            os.truncate(log, 0)
        logs.append("app.log", f"{name}1", f"{name}2")
        os.utime(log)
    logs.agent.start()
    logs.comes_after("ends")
    wanted = ["a1", "a2", "a3", "b1", "b2", "c1", "c2"]
    assert [one for one in logs.messages() if one in wanted] == wanted
    assert "old, from before" not in logs.messages()
    assert [size for _, size in logs.lost() if size] == []
    logs.agent.stop()


def test_copied_before_anything_was_read(follow: Callable[..., Logs], trees: Trees) -> None:
    """A log that was empty when the agent ended, and then was filled, copied and cut: both files are read."""
    logs = follow()
    (trees.root / "app.log").touch()
    start(logs)
    logs.agent.kill()
    logs.append("app.log", "b1", "b2")
    shutil.copy(trees.root / "app.log", trees.root / "app.log.1")
    os.truncate(trees.root / "app.log", 0)
    logs.append("app.log", "c1")
    logs.agent.start()
    logs.comes_after("ends")
    assert [one for one in logs.messages() if one[1:].isdigit()] == ["b1", "b2", "c1"]
    logs.agent.stop()


def test_deleted_or_moved_away_unread(follow: Callable[..., Logs], trees: Trees) -> None:
    """A file that is open to us is read to its end, also without a name, or with one where nobody looks."""
    logs = follow()
    logs.append("deleted.log", "d1")
    logs.append("moved.log", "m1")
    start(logs)
    with logs.agent.paused():
        logs.append("deleted.log", "d2")
        (trees.root / "deleted.log").unlink()
        (trees.root / "moved.log").rename(trees.outside / "moved.log")
    with (trees.outside / "moved.log").open("a") as stream:
        stream.write("m2\n")
    eventually(lambda: {"d2", "m2"} <= set(logs.messages()), what="what was unread")
    assert logs.lost() == []
    logs.agent.stop()


def test_what_is_lost_is_told(follow: Callable[..., Logs], trees: Trees) -> None:
    """Bytes that were known to be there and are gone are announced, counted, and nothing is told twice."""
    logs = follow()
    logs.append("cut.log", "c1", "c2")
    logs.append("gone.log", "g1")
    logs.append("gone.log", "no end", end="")
    start(logs)
    logs.agent.kill()
    (trees.root / "gone.log").unlink()
    (trees.root / "cut.log").write_text("other\n")
    logs.agent.start()
    eventually(lambda: len(logs.lost()) == 2, what="both losses")
    logs.comes_after("ends")
    assert sorted(logs.lost()) == [("deleted", 6), ("truncated", 0)]
    assert sorted(logs.messages()) == ["begins", "c1", "c2", "ends", "g1", "other"]
    assert logs.agent.metric("log_bytes_lost_total") == 6
    for event in logs.events("truncated"):
        jsonschema.Draft202012Validator(schema("event")).validate(event)
    logs.agent.stop()


def test_truncated_and_written_again(follow: Callable[..., Logs], trees: Trees) -> None:
    """A file that was truncated and is longer than before at the next look is read from its front."""
    logs = follow()
    logs.append("app.log", "one", "two")
    start(logs)
    with logs.agent.paused():
        (trees.root / "app.log").write_text("three, which is longer\nfour\n")
    logs.comes_after("ends")
    wanted = ["one", "two", "three, which is longer", "four"]
    assert [one for one in logs.messages() if one in wanted] == wanted
    assert logs.lost() == [("truncated", 0)]
    logs.agent.stop()


def test_another_file_with_its_inode(launch: Launch, scratch: Path, tmp_path: Path) -> None:
    """A file system gives the inode of a deleted log to the next one: that is read from its beginning."""
    root = tmp_path / "logs"
    root.mkdir()
    out = scratch / "events.jsonl"
    group = {"paths": [os.fspath(root)], "lines": {"start_at": "beginning"}}
    sink = {"name": "sink", "type": "jsonl", "path": os.fspath(out)}
    logs = Logs(launch([sink], group, state={"dir": os.fspath(scratch / "state")}), root, out)
    logs.append("app.log", "first, and this is a long line")
    start(logs)
    logs.agent.kill()
    before = (root / "app.log").stat().st_ino
    (root / "app.log").unlink()
    logs.append("app.log", "second")
    if (root / "app.log").stat().st_ino != before:
        pytest.skip("this file system gave another inode")
    logs.agent.start()
    logs.comes_after("ends")
    assert sorted(logs.messages()) == ["begins", "ends", "first, and this is a long line", "second"]
    logs.agent.stop()


def test_unfinished_lines(follow: Callable[..., Logs]) -> None:
    """A last line waits for its end, however it is written; a long one is cut, and says so."""
    logs = follow(max_line_bytes="100B")
    logs.append("app.log", "be", end="")
    start(logs)
    logs.comes_after("nothing of it")
    logs.append("app.log", "gun", end="")
    logs.comes_after("still nothing")
    logs.append("app.log", "", "x" * 250, "short")
    eventually(lambda: "short" in logs.messages(), what="the last line")
    mine = [one["data"] for one in logs.events("entry") if one["subject"] == "app.log"]
    assert [one["message"] for one in mine] == ["begun", "x" * 100, "short"]
    assert [one["log"].get("cut") for one in mine] == [None, True, None]
    logs.agent.stop()


def test_where_reading_begins(follow: Callable[..., Logs]) -> None:
    """At the first start a file is read from its end; every other from its beginning, whenever it came."""
    logs = follow(start_at="end")
    logs.append("app.log", "old")
    logs.append("app.log.1", "older")
    start(logs)
    logs.append("app.log", "new")
    logs.append("later.log", "from the beginning")
    logs.comes_after("first life")
    logs.agent.stop()
    logs.append("app.log", "while it was down")
    logs.append("latest.log", "made while it was down")
    logs.agent.start()
    logs.comes_after("second life")
    assert sorted(set(logs.messages()) - {"begins", "first life", "second life"}) == [
        "from the beginning", "made while it was down", "new", "while it was down",
    ]  # fmt: skip
    assert len(logs.messages()) == 7
    (new,) = (event["data"]["log"] for event in logs.events("entry") if event["data"]["message"] == "new")
    assert new == {"file": {"path": "app.log"}, "offset": 4, "length": 4}
    logs.agent.stop()


@pytest.mark.parametrize("start_at", ["beginning", "end"])
def test_logs_with_names_like_rotated_ones(follow: Callable[..., Logs], trees: Trees, start_at: str) -> None:
    """What `files` admits is a log of its own at the first start, whatever stands beside it; no other is."""
    logs = follow(start_at=start_at, files=["*.log", "b.log.1"])
    admitted = ("a.log", "a.1.log", "b.log.1", "b.log", "c-2.log", "c.log")  # whichever comes first
    for name in (*admitted, "a.log.1", "c.log-20261120"):
        logs.append(name, f"{name} old")
    start(logs)
    for name in admitted:
        logs.append(name, f"{name} new")
    logs.comes_after("ends")
    old = [f"{name} old" for name in admitted if start_at == "beginning"]
    assert sorted(logs.messages()) == sorted([*old, *(f"{name} new" for name in admitted), "begins", "ends"])
    logs.agent.stop()


def test_other_events_are_as_before(follow: Callable[..., Logs], trees: Trees) -> None:
    """Following watches every write, and publishes none: kinds decide that."""
    logs = follow()
    start(logs)
    with (trees.root / "app.log").open("a", buffering=1) as stream:
        stream.write("open\n")
        eventually(lambda: "open" in logs.messages(), what="the line, while the file is open")
    logs.comes_after("ends")
    assert logs.agent.metric("events_total", type="file.modified") == 0
    eventually(lambda: logs.agent.metric("kernel_events_total", event="modify"), what="writes were watched")
    logs.agent.stop()


def test_many_files(follow: Callable[..., Logs], trees: Trees) -> None:
    """
    Thousands of logs are read with a bounded number of descriptors, each from its own place; where a process
    usually may have fewer, the limit is raised.
    """
    logs = follow()
    logs.agent.prefix = ["prlimit", "--nofile=100:4096"]
    names = [f"{number:04d}.log" for number in range(3_000)]
    for name in names:
        (trees.root / name).write_text(f"{name} 1\n")
    logs.agent.start()
    eventually(lambda: logs.agent.metric("log_entries_total") == 3_000, within=90, what="every first line")
    for name in names:
        logs.append(name, f"{name} 2")
    eventually(lambda: logs.agent.metric("log_entries_total") == 6_000, within=90, what="every second line")
    assert len(os.listdir(f"/proc/{logs.agent.pid}/fd")) < 400
    logs.agent.stop()
    assert sorted(logs.messages()) == [f"{name} {number}" for name in names for number in (1, 2)]


def test_every_byte_that_is_read_is_counted(follow: Callable[..., Logs], trees: Trees) -> None:
    """Also those that make no entry, of which nothing is recorded: a hole of 64 MiB is passed over."""
    logs = follow()
    logs.append("app.log", "one")
    os.truncate(trees.root / "app.log", 1 << 26)
    logs.append("app.log", "two")
    logs.agent.start()
    logs.arrive("one", "two")
    eventually(lambda: logs.agent.metric("log_bytes_read_total") >= (1 << 26) + 4, what="all is counted")
    assert logs.agent.metric("log_bytes_read_total") == (1 << 26) + 4
    logs.agent.stop()


@pytest.mark.parametrize("new", [True, False], ids=["new", "old"])
def test_more_rotated_files_than_descriptors(follow: Callable[..., Logs], trees: Trees, new: bool) -> None:
    """
    A directory comes with more rotated files than the process may have open: new ones are read, each once and
    all of them before the log, and old ones keep the log from being read nowhere.
    """
    logs = follow()
    logs.agent.prefix = ["prlimit", "--nofile=100:100"]
    logs.agent.start()
    outside = trees.outside / "logs"
    outside.mkdir()
    for number in range(200):
        rotated = outside / f"app.log.{number}"
        rotated.write_text(f"rotated {number}\n")
        os.utime(rotated, ns=(1, time.time_ns() + number if new else 1))
    (outside / "app.log").write_text("the log\n")
    outside.rename(trees.root / "logs")
    eventually(lambda: "the log" in logs.messages(), what="the log is read")
    logs.comes_after("ends")
    assert logs.messages() == [*(f"rotated {number}" for number in range(200 * new)), "the log", "ends"]
    if new:
        logs.append("logs/app.log.7", "late")
        eventually(lambda: logs.messages()[202:] == ["late"], what="a file that was closed is read on")
    logs.agent.stop()


def test_a_file_that_cannot_be_read(follow: Callable[..., Logs], trees: Trees) -> None:
    """What is no regular file is left alone, though it has the name of a log, and nothing waits for it."""
    logs = follow()
    os.mkfifo(trees.root / "fifo.log")
    (trees.root / "link.log").symlink_to("/etc/hostname")
    (trees.root / "directory.log").mkdir()
    (trees.root / "binary.log").write_bytes(b"\x00\xff\x80binary\n\x7fELF\n")
    logs.agent.start()
    eventually(lambda: len(logs.messages()) == 2, what="the binary file's lines")
    logs.comes_after("ends")
    assert len(logs.messages()) == 3
    assert "message_b64" in logs.events("entry")[0]["data"]
    logs.agent.stop()


def test_a_file_without_the_right_to_read(follow: Callable[..., Logs], trees: Trees) -> None:
    """A log that may not be read holds up no other and is told; as soon as it may be, all of it comes."""
    logs = follow()
    logs.agent.prefix = without_override()
    logs.append("secret.log", "one", "two")
    (trees.root / "secret.log").chmod(0)
    start(logs)
    assert "secret.log cannot be read: Permission denied" in logs.agent.log
    assert [word for word in logs.agent.group()["problems"] if "1 log files cannot be read" in word]
    (trees.root / "secret.log").chmod(0o600)
    logs.append("secret.log", "three")
    eventually(lambda: "three" in logs.messages(), what="the last line")
    assert [one for one in logs.messages() if one != "begins"] == ["one", "two", "three"]
    eventually(lambda: logs.agent.group()["problems"] == [], what="nothing is wrong any more")
    logs.agent.stop()


def test_rotated_over_the_same_name(follow: Callable[..., Logs], trees: Trees) -> None:
    """Of logs that replace each other by rename only those are followed that are there."""
    logs = follow()
    logs.agent.patch = "tests.agent.hurry:linger"
    start(logs)
    rotated = trees.root / "app.log.1"

    def is_open() -> bool:
        descriptors = Path(f"/proc/{logs.agent.pid}/fd").iterdir()
        return any(os.path.realpath(one) == os.fspath(rotated) for one in descriptors)

    for number in range(4):
        logs.append("app.log", f"line {number}")
        eventually(lambda number=number: f"line {number}" in logs.messages(), what="the line")  # type: ignore[misc]
        (trees.root / "app.log").rename(rotated)
        logs.comes_after(f"rotation {number}")
        eventually(lambda: not is_open(), what="nothing more is expected of the old one")
    eventually(lambda: logs.agent.metric("log_files") <= 2, what="app.log.1 and fence.log alone")
    logs.agent.stop()


def test_reloaded(follow: Callable[..., Logs], trees: Trees) -> None:
    """What an entry is can be changed while the agent runs: the epoch goes on, and no line is read twice."""
    logs = follow()
    logs.append("app.log", "a=1")
    start(logs)
    config = json.loads(logs.agent.file.read_text())
    config["watch_groups"][0]["lines"]["pattern"] = "logfmt"
    logs.agent.configure(config)
    logs.agent.signal(signal.SIGHUP)
    eventually(lambda: logs.agent.metric("config_reloads_total", result="success"), what="it is in force")
    logs.append("app.log", "b=2")
    logs.comes_after("ends=1")
    found = {event["data"]["message"]: event["data"]["fields"] for event in logs.events("entry")}
    assert (found["a=1"], found["b=2"]) == ({}, {"b": "2"})
    assert len(logs.messages()) == len(found) == 4
    assert len({event["sequence"].partition("-")[0] for event in logs.events("entry")}) == 1
    logs.agent.stop()
