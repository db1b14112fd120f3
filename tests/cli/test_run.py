"""`run`, as a process: how it starts, what it waits for, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inotify_bridge.cli import COMMANDS
from tests.cli.program import run
from tests.cli.running import Running, kind_of

pytestmark = pytest.mark.timeout(600)  # each wait has a minute or more, and most tests have several

AWAY = 'type: rabbitmq, url: "amqp://user:word@127.0.0.1:1/"'


def configuration(directory: Path, sink: str = "type: stdout", **more: str) -> Path:
    """A configuration that watches ``data``, which is there."""
    (directory / "data").mkdir(exist_ok=True)
    file = directory / "config.yaml"
    sections = {"http": '{listen: "127.0.0.1:0"}', "shutdown_timeout": "60s", **more}
    file.write_text(
        "watch_groups:\n  - {name: g, paths: [./data], sinks: [s]}\n"
        f"sinks:\n  - {{name: s, {sink}}}\n" + "".join(f"{key}: {value}\n" for key, value in sections.items())
    )
    return file


def agent(file: Path) -> Running:
    """An agent on this configuration, whose HTTP server answers."""
    child = Running("run", "-c", file, directory=file.parent)
    child.wait_for(lambda: "listening on" in child.err, "its HTTP server")
    return child


def address(child: Running) -> str:
    """Where its HTTP server listens."""
    found = re.search(r"listening on (http://[0-9.:]+)", child.err)
    assert found is not None
    return found[1]


def messages(child: Running, level: str = "") -> list[str]:
    """The log lines so far, all or those of one level."""
    return [line["message"] for line in child.log if level in ("", line["level"])]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    """What happened before SIGINT or SIGTERM is delivered, the stream says that it stopped, exit code 0."""
    with agent(configuration(tmp_path)) as child:
        child.wait_for_event("stream.resync_completed")
        for name in range(50):
            (tmp_path / "data" / f"{name}").write_text("x")
        assert child.end(number).code == 0
        assert len([line for line in child.told() if line.startswith("file.written")]) == 50
        assert kind_of(child.events()[-1]) == "stream.stopped"
        assert messages(child, "error") + messages(child, "warning") == []


@pytest.mark.parametrize(
    ("state", "code", "fate"),
    [("{}", 1, "lost, for there is no state.dir"), ("{dir: ./state}", 0, "sent after the next start")],
    ids=["in memory", "state directory"],
)
def test_a_second_signal_interrupts_the_drain(tmp_path: Path, state: str, code: int, fate: str) -> None:
    """
    The drain says once for which broker it waits, and how many messages; a second signal ends it, says what
    is left and whether it is lost. Exit code 1 where it is, 0 where the state directory keeps it.
    """
    with agent(configuration(tmp_path, AWAY, shutdown_timeout="10m", state=state)) as child:
        child.wait_for(lambda: any("sink unavailable" in line for line in messages(child)), "the failure")
        child.wait_for(lambda: any("resync completed" in line for line in messages(child)), "the snapshot")
        child.process.send_signal(signal.SIGINT)
        child.wait_for(lambda: any("draining" in line for line in messages(child)), "the word of it")
        (told,) = [line for line in messages(child, "warning") if "draining" in line]
        waiting = re.fullmatch(r"draining (\d+) messages to s \(group g\); Ctrl-C again ends it now", told)
        assert waiting
        assert child.end(signal.SIGINT).code == code
        left = re.fullmatch(
            rf"left undelivered, {fate}: (\d+) messages to s \(group g\)", messages(child)[-1]
        )
        assert left
        # It may say so before the stream has said that it stopped, which is one message.
        assert int(left[1]) - int(waiting[1]) in (0, 1)
        assert messages(child).count(told) == 1


def test_a_drain_that_runs_out_of_time_loses_what_nothing_keeps(tmp_path: Path) -> None:
    """After `shutdown_timeout` the same is said, and the exit code is the same."""
    with agent(configuration(tmp_path, AWAY, shutdown_timeout="0s")) as child:
        child.wait_for(lambda: any("stream.started" in line for line in messages(child)), "its begin")
        assert child.end().code == 1
        assert "left undelivered, lost" in messages(child)[-1]


def test_a_broker_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """`run` goes on without its broker: one line in the log, shown by `status`, and the probes stay well."""
    with agent(configuration(tmp_path, AWAY, shutdown_timeout="0s", state="{dir: ./state}")) as child:
        url = address(child)

        def attempts() -> int:
            lines = run("status", "--url", url, "--json").out
            sink = json.loads(lines)["groups"][0]["sinks"][0]
            assert sink["connected"] is False
            return sink["last_error"] is not None

        child.wait_for(attempts, "the failure in its status")
        assert run("healthcheck", "--url", url).code == 0
        child.wait_for(lambda: run("healthcheck", "--url", url, "--probe", "readyz").code == 0, "readyz")
        assert child.end().code == 0
        assert len([line for line in messages(child, "warning") if "sink unavailable" in line]) == 1
        assert "word" not in child.err


def test_a_missing_root_is_waited_for(tmp_path: Path) -> None:
    """
    A root that is not there starts as `root_lost`, and the status says that the stream lacks it but no resync
    runs; when it comes, its contents are told.
    """
    file = configuration(tmp_path)
    (tmp_path / "data").rmdir()
    with agent(file) as child:
        child.wait_for_event("stream.root_lost")

        def resting() -> bool:
            group = json.loads(run("status", "--url", address(child), "--json").out)["groups"][0]
            return not group["consistent"] and not group["resync"]["running"]

        child.wait_for(resting, "no resync that runs")
        (tmp_path / "coming").mkdir()
        (tmp_path / "coming" / "a").write_text("x")
        (tmp_path / "coming").rename(tmp_path / "data")
        child.wait_for_event("file.written", "a")
        assert "stream.root_restored" in [kind_of(event) for event in child.events()]
        assert child.end().code == 0


@pytest.mark.parametrize("name", ["g.db", "g.note"])
def test_a_state_that_cannot_be_opened(tmp_path: Path, name: str) -> None:
    """A directory in place of a file of the state ends the start: 78, and a line that names it."""
    state = tmp_path / "state"
    (state / name).mkdir(parents=True)
    ended = run("run", "-c", str(configuration(tmp_path, state=f"{{dir: {state}}}")))
    assert ended.code == 78, ended.err
    assert str(state / name) in ended.err.splitlines()[-1]


def test_check_only_validates(tmp_path: Path) -> None:
    """`--check` says ok and starts nothing; what is wrong is told as `run` would tell it."""
    file = configuration(tmp_path)
    assert run("run", "--check", "-c", str(file), cwd=tmp_path) == (0, "", f"{file}: ok\n")
    file.write_text(file.read_text() + "htp: {}\n")
    checked, started = (run("run", *more, "-c", str(file), cwd=tmp_path) for more in (["--check"], []))
    assert checked == started
    assert checked.code == 78


def test_a_broken_file_does_not_end_it(tmp_path: Path) -> None:
    """SIGHUP with a wrong file changes nothing, each mistake is a line of the log; a good one is taken."""
    file = configuration(tmp_path)
    good = file.read_text()
    with agent(file) as child:
        child.wait_for_event("stream.resync_completed")
        file.write_text(good + "htp: {}\nlogs: {}\n")
        child.process.send_signal(signal.SIGHUP)
        child.wait_for(lambda: len(messages(child, "error")) == 2, "the refusal")
        assert [line.rpartition(": ")[2] for line in messages(child, "error")] == [
            "unknown key (did you mean 'http'?)",
            "unknown key (did you mean 'log'?)",
        ]
        file.write_text(good.replace("name: g,", "name: g, kinds: [deleted],"))
        child.process.send_signal(signal.SIGHUP)
        child.wait_for(
            lambda: [e for e in child.events() if e["data"].get("kinds") == ["deleted"]], "the new group"
        )
        assert child.end().code == 0


def test_every_way_to_call_it(tmp_path: Path) -> None:
    """`python -m inotify_bridge` and the installed command are the same program, from any directory."""
    script = Path(sys.executable).parent / "inotify-bridge"
    said = {
        subprocess.run([*command, "version"], cwd=tmp_path, capture_output=True, check=True).stdout
        for command in ([sys.executable, "-m", "inotify_bridge"], [str(script)])
    }
    assert len(said) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example(name: str) -> None:
    """`COMMAND --help` ends with 0 and shows an example that calls this command."""
    ended = run(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert re.search(rf"Example:\n +inotify-bridge {name}", ended.out)


def test_it_runs_where_its_output_is_read_no_more(tmp_path: Path) -> None:
    """A stdout that is closed is a sink that is away: the agent goes on, and ends with 0."""
    read_end, write_end = os.pipe()
    file = configuration(tmp_path, shutdown_timeout="0s", state="{dir: ./state}")
    with Running("run", "-c", file, directory=tmp_path, stdout=write_end) as child:
        os.close(write_end)
        os.read(read_end, 1 << 16)
        os.close(read_end)

        def refused() -> bool:
            (tmp_path / "data" / "a").write_text("x")
            return any("its reader has ended" in line or "takes no more" in line for line in messages(child))

        child.wait_for(refused, "the failure")
        assert child.end().code == 0
        assert "Traceback" not in child.err
