"""`run --reload-on-change`: which changes of its file the agent sees, and what follows."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import pytest

from inotify_bridge.cli.file_watch import FileWatch
from tests.cli.running import Running
from tests.waiting import eventually


class Projected:
    """A directory as the kubelet fills it of a ConfigMap: a link by way of a link to a dated directory."""

    def __init__(self, directory: Path, text: str) -> None:
        directory.mkdir()
        self._directory, self._swaps = directory, 0
        self.file = directory / "config.yaml"
        self.swap(text)
        self.file.symlink_to("..data/config.yaml")

    def swap(self, text: str) -> None:
        """A new directory, and a new ``..data`` renamed over the old one; the old directory goes."""
        old = self._directory / f"..2026_11_21_{self._swaps}"
        self._swaps += 1
        new = self._directory / f"..2026_11_21_{self._swaps}"
        new.mkdir()
        (new / "config.yaml").write_text(text)
        temporary = self._directory / "..data_tmp"
        temporary.symlink_to(new.name)
        temporary.rename(self._directory / "..data")
        if old.exists():
            (old / "config.yaml").unlink()
            old.rmdir()


def replaced(file: Path, text: str) -> None:
    """As editors and configuration management do it: a new file renamed over the old one."""
    new = file.with_name("new")
    new.write_text(text)
    new.rename(file)


def watches(watch: FileWatch) -> int:
    """How many watches its instance has, as the kernel tells."""
    return Path(f"/proc/self/fdinfo/{watch.fd}").read_text().count("inotify wd:")


def told(watch: FileWatch) -> bool:
    """Whether the descriptor is readable now, and the file has changed."""
    poll = select.poll()
    poll.register(watch.fd, select.POLLIN)
    return bool(poll.poll(0)) and watch.changed()


def test_swaps(tmp_path: Path) -> None:
    """Every swap of ``..data`` is seen, once, the second as well as the first."""
    projected = Projected(tmp_path / "etc", "a")
    watch = FileWatch(projected.file)
    for text in ("b", "c", "d"):
        projected.swap(text)
        assert told(watch)
        assert not told(watch)


def test_same_content(tmp_path: Path) -> None:
    """A swap, a rename or a write that leaves the content as it was is none."""
    projected = Projected(tmp_path / "etc", "a")
    watch = FileWatch(projected.file)
    projected.swap("a")
    assert not told(watch)
    plain = tmp_path / "plain.yaml"
    plain.write_text("a")
    watch = FileWatch(plain)
    plain.write_text("a")
    replaced(plain, "a")
    assert not told(watch)


@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
def test_plain_file(relative: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is written in place, or replaced, and written again."""
    monkeypatch.chdir(tmp_path)
    file = Path("config.yaml") if relative else tmp_path / "config.yaml"
    file.write_text("a")
    watch = FileWatch(file)
    file.write_text("b")
    assert told(watch)
    replaced(file, "c")
    assert told(watch)
    file.write_text("d")
    assert told(watch)
    (tmp_path / "other.yaml").write_text("x")
    assert not told(watch)


def test_a_file_that_is_being_written_does_not_count(tmp_path: Path) -> None:
    """Neither a file that is open for writing nor one that was just made counts before it is closed."""
    file = tmp_path / "config.yaml"
    file.write_text("a")
    watch = FileWatch(file)
    with file.open("w") as writer:
        writer.write("ha")
        writer.flush()
        assert not told(watch)
        (tmp_path / "other.yaml").write_text("closed meanwhile")
        assert not told(watch)
        writer.write("lf")
    assert told(watch)
    file.unlink()
    assert not told(watch)
    with file.open("w") as writer:
        writer.flush()
        assert not told(watch)
        writer.write("b")
    assert told(watch)


def test_links_on_the_way(tmp_path: Path) -> None:
    """A link on the way, removed and made anew with another target, and what is behind it."""
    files = {name: tmp_path / name / "etc" / "config.yaml" for name in ("one", "two")}
    for name, file in files.items():
        file.parent.mkdir(parents=True)
        file.write_text(name)
    link = tmp_path / "current"
    link.symlink_to("one")
    watch = FileWatch(link / "etc" / "config.yaml")
    at_first = watches(watch)
    replaced(files["one"], "in the first")
    assert told(watch)
    replaced(files["two"], "not looked at")
    assert not told(watch)
    link.unlink()
    assert not told(watch)
    link.symlink_to(tmp_path / "two")
    assert told(watch)
    replaced(files["two"], "looked at")
    assert told(watch)
    replaced(files["one"], "no longer looked at")
    assert not told(watch)
    assert watches(watch) == at_first


def test_a_single_file_whose_directory_is_elsewhere(tmp_path: Path) -> None:
    """Another name of the same file, as a mounted file has: a write through the first is seen."""
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    for directory in (outside, inside):
        directory.mkdir()
    (outside / "config.yaml").write_text("a")
    os.link(outside / "config.yaml", inside / "config.yaml")
    watch = FileWatch(inside / "config.yaml")
    (outside / "config.yaml").write_text("b")
    assert told(watch)


def configuration(directory: Path, groups: str) -> str:
    """Groups that watch ``data`` and print nothing anywhere but to a file."""
    listed = ", ".join(f"{{name: {name}, paths: [{directory}/data/{name}], sinks: [s]}}" for name in groups)
    return (
        f"watch_groups: [{listed}]\nsinks: [{{name: s, type: jsonl, path: {directory}/out.jsonl}}]\n"
        'http: {listen: "127.0.0.1:0"}\n'
    )


def test_reload(tmp_path: Path) -> None:
    """A running agent takes what a swap brings, refuses what is wrong, and takes the next one, unasked."""
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
    projected = Projected(tmp_path / "etc", configuration(tmp_path, "a"))
    with Running("run", "-c", projected.file, "--reload-on-change", directory=tmp_path) as agent:
        agent.wait_for(lambda: "stream.started" in agent.err, "its start")
        projected.swap(configuration(tmp_path, "ab"))
        agent.wait_for(lambda: "configuration reloaded: groups added: 1" in agent.err, "the new group")
        projected.swap("watch_groups: []\n")
        agent.wait_for(lambda: "the configuration stays as it was" in agent.err, "the refusal")
        projected.swap(configuration(tmp_path, "b"))
        agent.wait_for(lambda: "removed: 1" in agent.err, "the group's end")
        (tmp_path / "data" / "b" / "late").write_text("x")
        out = tmp_path / "out.jsonl"
        eventually(lambda: '"subject":"late"' in out.read_text(), what="an event of the new group")
        assert agent.err.count("the configuration file has changed") == 3
        assert agent.end().code == 0


def test_without_the_option_a_change_waits_for_sighup(tmp_path: Path) -> None:
    """By default a file is left alone until somebody says so: it may be half edited."""
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
    projected = Projected(tmp_path / "etc", configuration(tmp_path, "a"))
    with Running("run", "-c", projected.file, directory=tmp_path) as agent:
        agent.wait_for(lambda: "stream.started" in agent.err, "its start")
        projected.swap(configuration(tmp_path, "ab"))
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_for(lambda: "configuration reloaded: groups added: 1" in agent.err, "the new group")
        assert agent.end().code == 0
        assert "the configuration file has changed" not in agent.err
