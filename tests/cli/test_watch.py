"""`watch`, as a process on real directories."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import run
from tests.cli.running import Running, kind_of
from tests.fold import Fold, differences, disk
from tests.waiting import eventually

SNAPSHOT = "stream.resync_completed"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with a subdirectory."""
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    return tmp_path / "tree"


def watching(tree: Path, *arguments: str) -> Running:
    """`watch` on the tree, begun."""
    child = Running("watch", *arguments, directory=tree.parent)
    child.wait_for_event(SNAPSHOT)
    return child


def without_time(line: str) -> str:
    """A line of the text format without the time that it begins with."""
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z ", line), line
    return " ".join(line.split()[1:])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_everything_before_it(tree: Path, number: signal.Signals) -> None:
    """All that happened before SIGINT or SIGTERM is printed, the stream says that it stopped, exit code 0."""
    with watching(tree, str(tree)) as child:
        for name in range(200):
            (tree / f"{name}").write_text("x")
        ended = child.end(number)
        assert (ended.code, ended.err) == (0, "")
        told = [line for line in child.told() if line.startswith("file.written")]
        assert sorted(told) == sorted(f"file.written {name}" for name in range(200))
        assert kind_of(child.events()[-1]) == "stream.stopped"


def test_json_is_the_stream(tree: Path) -> None:
    """Without a terminal each line is a CloudEvent, numbered without a hole; their fold is the tree."""
    (tree / "sub" / "before").write_text("was there")
    with watching(tree, "--snapshot", str(tree)) as child:
        os.rename(tree / "sub", tree / "moved")
        (tree / "moved" / "after").write_text("came later")
        (tree / "moved" / "before").chmod(0o600)
        assert child.end().code == 0
        fold = Fold(strict=True)
        for event in child.events():
            fold.event(event)
        assert [int(event["sequence"][-12:]) for event in child.events()] == list(
            range(1, len(child.events()) + 1)
        )
    assert differences(fold.entries(), disk(os.fsencode(tree))) == []


def test_text(tree: Path) -> None:
    """As text each event is a line of time, word and path; directories end with a slash."""
    (tree / "a").write_text("x")
    with Running("watch", "--format", "text", "--snapshot", str(tree), directory=tree.parent) as child:
        child.wait_for(lambda: child.out.count("\n") >= 3, "the snapshot")
        before = len(child.out.splitlines())
        os.rename(tree / "a", tree / "b")
        os.rename(tree / "sub", tree / "below")
        (tree / "b").unlink()
        ended = child.end()
    lines = [without_time(line) for line in ended.out.splitlines()]
    assert sorted(lines[:before]) == ["created a", "created sub/", "written a"]
    assert lines[before:] == ["moved b from a", "moved below/ from sub/", "deleted b"]


def test_text_on_a_terminal(tree: Path) -> None:
    """On a terminal the format is text unless another is asked for."""
    master, slave = pty.openpty()
    try:
        with Running("watch", "--snapshot", str(tree), directory=tree.parent, stdout=slave) as child:
            shown = b""
            while not shown.endswith(b"\n"):  # a terminal may give a line in parts
                shown += os.read(master, 4096)
            assert child.end().code == 0
    finally:
        os.close(slave)
        os.close(master)
    assert without_time(shown.decode()) == "created sub/"


def test_a_terminal_that_closes_ends_it_quietly(tree: Path) -> None:
    """It ends when the terminal that it prints to closes, also while there is nothing to print."""
    master, slave = pty.openpty()
    with Running("watch", "--snapshot", str(tree), directory=tree.parent, stdout=slave) as child:
        os.close(slave)
        assert os.read(master, 4096)
        os.close(master)
        ended = child.ended()
    assert ended.code == 0
    assert ended.err == ""


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_name_breaks_no_line(tree: Path, form: str) -> None:
    """A name with a line break, an escape sequence or bytes that are no text stays on its line."""
    with open(os.path.join(os.fsencode(tree), b"a\nb\x1b[31m\xff"), "wb"):
        pass
    with Running("watch", "--format", form, "--snapshot", str(tree), directory=tree.parent) as child:
        child.wait_for(lambda: "sub" in child.out and "a%0A" in child.out, "the snapshot")
        ended = child.end()
    assert "a%0Ab%1B[31m%FF" in ended.out
    assert "\x1b" not in ended.out
    assert all(line[:1] in "2{" for line in ended.out.splitlines())


def test_limit(tree: Path) -> None:
    """After N events of files and directories it ends by itself with 0; events of the stream do not count."""
    with watching(tree, "--limit", "3", str(tree)) as child:
        for name in "abcdef":
            (tree / name).mkdir()
        assert child.ended().code == 0
        assert child.told() == ["directory.created a", "directory.created b", "directory.created c"]


def test_the_limit_ends_it_quietly(tree: Path) -> None:
    """When the limit is reached it says nothing, however much happens meanwhile."""
    with watching(tree, "--limit", "1", str(tree)) as child:

        def ended_by_a_change() -> bool:
            (tree / "a").write_text("x")
            return child.process.poll() is not None

        eventually(ended_by_a_change, within=60, what="its end", poll=0.001)
        assert child.ended().err == ""


def test_kinds(tree: Path) -> None:
    """Only the kinds that are asked for are printed; blanks around a comma do not matter."""
    with watching(tree, "--kinds", "deleted, moved", str(tree)) as child:
        (tree / "a").write_text("x")
        (tree / "a").rename(tree / "b")
        (tree / "b").unlink()
        assert child.end().code == 0
        assert child.told() == ["file.moved b", "file.deleted b"]


def test_include_and_exclude(tree: Path) -> None:
    """gitignore patterns choose files and leave out whole directories; both options may be repeated."""
    patterns = ["--include", "*.csv", "--include", "*.json", "--exclude", "sub/", "--exclude", "draft*"]
    with watching(tree, *patterns, str(tree)) as child:
        for name in ("a.csv", "b.json", "c.txt", "draft.csv", "sub/d.csv"):
            (tree / name).write_text("x")
        assert child.end().code == 0
        written = [line for line in child.told() if line.startswith("file.written")]
        assert written == ["file.written a.csv", "file.written b.json"]


def test_not_recursive(tree: Path) -> None:
    """With --no-recursive a subdirectory is an entry like any other, and nothing below it is told."""
    with watching(tree, "--no-recursive", str(tree)) as child:
        (tree / "sub" / "below").write_text("x")
        (tree / "new").mkdir()
        (tree / "new" / "below").write_text("x")
        (tree / "sub").chmod(0o700)
        assert child.end().code == 0
        told = child.told()
    assert {"directory.created new", "directory.attributes_changed sub"} <= set(told)
    assert not [line for line in told if "below" in line]


def test_no_snapshot_unless_asked(tree: Path) -> None:
    """What was there before is told with --snapshot only."""
    (tree / "a").write_text("x")
    with watching(tree, str(tree)) as child:
        assert child.end().code == 0
        assert child.told() == []
    with watching(tree, "--snapshot", str(tree)) as child:
        assert child.end().code == 0
        assert sorted(child.told()) == ["directory.created sub", "file.created a", "file.written a"]


def test_head_ends_it_quietly(tree: Path) -> None:
    """When the reader of its output goes (`| head -1`), it ends with 0 and without an error."""
    read_end, write_end = os.pipe()
    with Running("watch", str(tree), directory=tree.parent, stdout=write_end) as child:
        os.close(write_end)
        assert os.read(read_end, 1 << 16).startswith(b'{"specversion"')
        os.close(read_end)

        def ended_by_a_change() -> bool:
            (tree / "a").write_text("x")
            return child.process.poll() is not None

        eventually(ended_by_a_change, within=60, what="its end", poll=0.05)
        ended = child.ended()
    assert ended.code == 0
    assert "error" not in ended.err
    assert "Traceback" not in ended.err


def test_several_paths(tmp_path: Path) -> None:
    """Of several paths, what is told begins with the last part of the path it came from."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with watching(tmp_path / "one", "one", "two") as child:
        (tmp_path / "one" / "a").write_text("x")
        (tmp_path / "two" / "b").write_text("x")
        os.rename(tmp_path / "one" / "a", tmp_path / "two" / "a")
        assert child.end().code == 0
        told = child.told()
    assert told[-1] == "file.moved two/a"
    assert {"file.written one/a", "file.written two/b"} <= set(told)


def test_a_file(tree: Path) -> None:
    """Of a path that is a file only this file is told, also when another takes its place."""
    (tree / "a").write_text("x")
    with watching(tree, str(tree / "a")) as child:
        (tree / "other").write_text("x")
        (tree / "a").write_text("y")
        os.replace(tree / "other", tree / "a")
        assert child.end().code == 0
        told = child.told()
    assert told.count("file.written a") == 2
    assert {line.split()[1] for line in told} == {"a"}


def test_the_default_is_tmp(tmp_path: Path) -> None:
    """Without a path it watches /tmp."""
    with Running("watch", "--no-recursive", directory=tmp_path) as child:
        child.wait_for_event("stream.started")
        assert child.events()[0]["data"]["roots"] == {"": "/tmp"}
        assert child.end().code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kinds", "created,nope"], "nope: choose from created, written,"),
        (["--kinds", ","], "nothing: choose from"),
        (["--limit", "0"], "0 is not in the range x>=1"),
        (["--format", "xml"], "'xml' is not one of"),
    ],
)
def test_wrong_options(tree: Path, arguments: list[str], said: str) -> None:
    """A wrong value of an option is one line that leads to the help, and exit code 2."""
    ended = run("watch", *arguments, str(tree))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("inotify-bridge: error: ")
    assert ended.err.endswith("(try 'inotify-bridge watch --help')\n")
    assert ended.err.count("\n") == 1
    assert said in ended.err


def test_its_own_output_is_left_out(tree: Path) -> None:
    """Where stdout is a file in the tree, that file has no events, says a line; all others have theirs."""
    name = "ev [1]*!#\\.jsonl"
    with (tree / name).open("wb") as out:
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "inotify_bridge",
                "watch",
                "--kinds",
                "written,modified,created",
                str(tree),
            ],
            stdout=out,
            stderr=subprocess.PIPE,
        )
    with ended_after(child):
        eventually(lambda: SNAPSHOT in (tree / name).read_text(), within=60, what="the first resync")
        (tree / "other").write_text("x")
        eventually(lambda: "other" in (tree / name).read_text(), what="the event")
        child.terminate()
        _, said = child.communicate(timeout=120)
    paths = {event["data"]["file"]["path"] for event in events(tree / name) if "file" in event["data"]}
    assert paths == {"other"}
    assert len(said.splitlines()) == 1
    assert b"not watched, for it is where the output goes" in said


@pytest.mark.parametrize("name", ["out", "out\n"])
def test_an_output_that_cannot_be_left_out_is_refused(tree: Path, name: str) -> None:
    """Where stdout is the root itself, or no pattern can name it, one line says so; exit code 2."""
    root = tree / name if name == "out" else tree
    with (tree / name).open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "inotify_bridge", "watch", str(root)], stdout=out, stderr=subprocess.PIPE
        )
    with ended_after(child):
        _, said = child.communicate(timeout=120)
    assert child.returncode == 2
    assert len(said.splitlines()) == 1
    assert b"is where the output goes" in said


def test_a_deleted_current_directory(tree: Path) -> None:
    """A relative path from a directory that is gone: one line, exit code 1, and no talk of bugs."""
    script = f"cd {tree}/sub && rmdir {tree}/sub && exec {sys.executable} -m inotify_bridge watch ."
    ended = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "the current directory has been deleted" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "bug" not in ended.stderr


def events(file: Path) -> list[dict[str, Any]]:
    """The events that a file holds."""
    return [json.loads(line) for line in file.read_text().splitlines()]


@contextlib.contextmanager
def ended_after(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave no process behind."""
    try:
        yield
    finally:
        child.kill()
        child.communicate()


def test_lines(tree: Path) -> None:
    """With --lines it prints what logs hold, all that was written before the signal, and nothing else."""
    log = tree / "app.log"
    log.write_text('level=info msg="was there"\n')
    with Running("watch", "--lines", "logfmt", "--snapshot", str(tree), directory=tree.parent) as child:
        eventually(child.events, within=60, what="the line that was there")
        with log.open("a") as stream:
            stream.writelines(f"level=debug n={number}\n" for number in range(500))
            stream.write('broken="\n')
        log.rename(tree / "app.log.1")
        log.write_text("level=warn\n")
        ended = child.end()
        assert (ended.code, ended.err) == (0, "")
        told = child.events()
    assert [kind_of(event) for event in told] == ["log.entry"] * 501 + ["log.rejected", "log.entry"]
    assert told[0]["data"]["fields"] == {"level": "info", "msg": "was there"}
    assert told[-1]["data"]["fields"] == {"level": "warn"}


@pytest.mark.usefixtures("re2")
def test_lines_as_text(tree: Path) -> None:
    """As text an entry is a line with its fields; a pattern that is none is refused with its reason."""
    log = tree / "app.log"
    log.write_text("a b\n")
    pattern = r"(?P<first>\w) (?P<last>\w)"
    arguments = ["--format", "text", "--snapshot", "--limit", "1", "--lines", pattern, str(log)]
    with Running("watch", *arguments, directory=tree.parent) as child:
        assert child.ended().code == 0
        (line,) = child.out.splitlines()
        assert without_time(line) == 'entry app.log {"first": "a", "last": "b"}'
    refused = run("watch", "--lines", "(", str(log))
    assert refused.code == 2
    assert "--lines '(': does not compile: missing ): (" in refused.err
    (tree.parent / "link.log").symlink_to(log)
    refused = run("watch", "--lines", pattern, str(tree.parent / "link.log"))
    assert refused.code == 1
    assert f"is a symbolic link, which is not followed (name {log})" in refused.err
