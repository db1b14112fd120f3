"""What people get wrong: each is one line on stderr with what, where and what to do, and an exit code."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.brokers import KafkaBroker, RabbitmqBroker
from tests.cli.program import Ended, run
from tests.cli.running import Running

# kafka-python reads its schemas in a way that Python 3.11 calls deprecated.
KAFKA_WARNINGS = "error" + "".join(
    f",ignore:{name} is deprecated:DeprecationWarning" for name in ("open_text", "read_text")
)

SEVEN = """\
watch_groups:
  - name: Uploads
    paths: [./data]
    kinds: [created, writen]
    sinks: [print]
  - name: two
    paths: [./data]
    poll_interval: soon
    sinks: [nowhere]
sinks:
  - name: print
    type: stdot
log:
  level: ${NOBODY_DEFINED_THIS}
htp: {}
"""


class Mistake(NamedTuple):
    """
    A change to a good configuration.

    Args:
        old, new: text that is replaced.
        line: where it is wrong.
        said: parts of what is said.
    """

    old: str
    new: str
    line: int
    said: tuple[str, ...]


GOOD = """\
watch_groups:
  - name: one
    paths: [./data]
    sinks: [print]
  - name: two
    paths: [./data]
    sinks: [print]
sinks:
  - name: print
    type: stdout
http:
  listen: 127.0.0.1:0
log:
  level: info
"""

MISTAKES = {
    "unknown key": Mistake("log:", "logs:", 13, ("logs: unknown key", "did you mean 'log'?")),
    "unknown key inside": Mistake(
        "    paths: [./data]\n    sinks: [print]\n  - name: two",
        "    path: [./data]\n    paths: [./data]\n    sinks: [print]\n  - name: two",
        3,
        ("watch_groups[0].path: unknown key", "did you mean 'paths'?"),
    ),
    "undefined variable": Mistake(
        "level: info",
        "level: ${NOBODY_DEFINED_THIS}",
        14,
        ("NOBODY_DEFINED_THIS is not defined", "set it, or write a default"),
    ),
    "duplicate group": Mistake(
        "name: two", "name: one", 5, ("'one' is the name of another group too", "see watch_groups[0]")
    ),
    "unknown type of sink": Mistake(
        "type: stdout",
        "type: rabitmq",
        10,
        ("'rabitmq' is no known type of sink", "did you mean 'rabbitmq'?"),
    ),
    "two with one key": Mistake("log:\n  level: info", "http: {}", 13, ("http", "line 11")),
    "no YAML": Mistake("sinks:\n", "sinks: [\n", 9, ()),
}


def written(directory: Path, text: str) -> Path:
    """The text as a configuration, beside a directory ``data``."""
    (directory / "data").mkdir(exist_ok=True)
    file = directory / "config.yaml"
    file.write_text(text)
    return file


def one_line(ended: Ended, code: int) -> str:
    """What was said, after checking that it is one line without a traceback, and the exit code."""
    assert ended.code == code, ended
    assert ended.err.endswith("\n")
    assert ended.err.count("\n") == 1, ended.err
    assert "Traceback" not in ended.err
    assert "this is a bug" not in ended.err
    return ended.err


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_configuration(tmp_path: Path, name: str) -> None:
    """`validate` and `run` name file, line, place and remedy on one line, and end with 78."""
    mistake = MISTAKES[name]
    assert mistake.old in GOOD
    file = written(tmp_path, GOOD.replace(mistake.old, mistake.new, 1))
    for arguments in (["validate", str(file)], ["run", "-c", str(file)]):
        ended = run(*arguments, cwd=tmp_path)
        said = one_line(ended, 78)
        assert said.startswith(f"{file}:{mistake.line}: ")
        assert [part for part in mistake.said if part not in said] == []
        assert ended.out == ""


def test_seven_mistakes_at_once(tmp_path: Path) -> None:
    """All that is wrong in a file is told in one go, a line each with its place, in the order of the file."""
    file = written(tmp_path, SEVEN)
    for arguments in (["validate", str(file)], ["run", "-c", str(file)]):
        ended = run(*arguments, cwd=tmp_path)
        assert (ended.code, ended.out) == (78, "")
        places = [line.removeprefix(f"{file}:").split(": ")[:2] for line in ended.err.splitlines()]
        assert places == [
            ["2", "watch_groups[0].name"],
            ["4", "watch_groups[0].kinds[1]"],
            ["8", "watch_groups[1].poll_interval"],
            ["9", "watch_groups[1].sinks[0]"],
            ["12", "sinks[0].type"],
            ["14", "log.level"],
            ["15", "htp"],
        ]


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    """`watch` does not wait for a path that does not exist: exit code 1."""
    said = one_line(run("watch", str(tmp_path / "nowhere")), 1)
    assert f"{tmp_path}/nowhere: No such file or directory" in said


def test_a_path_that_is_a_socket(tmp_path: Path) -> None:
    """A socket cannot be watched: `watch` ends with 1, `validate` with 78."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        said = one_line(run("watch", str(tmp_path / "socket")), 1)
        assert f"{tmp_path}/socket: is neither a directory nor a regular file" in said
        file = written(tmp_path, GOOD.replace("./data", "./socket", 1))
        said = one_line(run("validate", str(file), cwd=tmp_path), 78)
        assert "is neither a directory nor a regular file (watch the directory that holds it)" in said


def test_no_configuration(tmp_path: Path) -> None:
    """A configuration file that is not there is named, with the option that names another."""
    said = one_line(run("run", "-c", str(tmp_path / "nowhere.yaml")), 78)
    assert (
        said
        == f"{tmp_path}/nowhere.yaml: cannot be read: No such file or directory (name another file with -c)\n"
    )


def test_a_missing_extra(tmp_path: Path) -> None:
    """A client library that is not installed is told with its place and the pip command, before any start."""
    (tmp_path / "without").mkdir()
    # None in place of a module: Python looks no further for it.
    (tmp_path / "without" / "sitecustomize.py").write_text(
        'import sys\nsys.modules["confluent_kafka"] = None\n'
    )
    sink = 'type: kafka\n    bootstrap_servers: ["127.0.0.1:1"]\n    client: confluent'
    file = written(tmp_path, GOOD.replace("type: stdout", sink))
    for command in (
        ["validate", str(file)],
        ["run", "--check", "-c", str(file)],
        ["test-sink", "print", "-c", str(file)],
    ):
        said = one_line(run(*command, cwd=tmp_path, PYTHONPATH=str(tmp_path / "without")), 78)
        assert said.startswith(
            f"{file}:12: sinks[0].client: 'confluent' needs the Python module 'confluent_kafka'"
        )
        assert "which is not installed (pip install 'inotify-bridge[confluent]')" in said


def test_a_port_in_use(tmp_path: Path) -> None:
    """`run` ends with 69 when another program has its port, and leaves no thread behind."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        file = written(tmp_path, GOOD.replace("127.0.0.1:0", address))
        said = one_line(run("run", "-c", str(file), cwd=tmp_path), 69)
    assert f"cannot listen on {address}: Address already in use" in said
    assert "set http.listen" in said


def test_a_state_directory_in_use(tmp_path: Path) -> None:
    """A second agent on a state directory ends with 69 and names the first, which goes on."""
    file = written(tmp_path, GOOD + "state:\n  dir: ./state\n")
    with Running("run", "-c", file, directory=tmp_path) as first:
        first.wait_for_event("stream.started")
        said = one_line(run("run", "-c", str(file), cwd=tmp_path), 69)
        assert f"{tmp_path}/state is in use by process {first.process.pid}" in said
        assert first.end().code == 0


@pytest.mark.rabbitmq
def test_a_wrong_password_for_rabbitmq(tmp_path: Path, rabbitmq: RabbitmqBroker) -> None:
    """`test-sink` says that the broker refused the user, without the password, and ends with 69."""
    url = f"amqp://{rabbitmq.user}:not-the-word@{rabbitmq.address}/%2F"
    file = written(tmp_path, GOOD.replace("type: stdout", f'type: rabbitmq\n    url: "{url}"'))
    ended = run("test-sink", "print", "-c", str(file), cwd=tmp_path)
    said = one_line(ended, 69)
    assert rabbitmq.address in said
    assert "password" in said
    assert "not-the-word" not in said
    assert ended.out.splitlines()[-1] == "connect: failed"


@pytest.mark.kafka
@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_a_topic_that_does_not_exist(tmp_path: Path, kafka: KafkaBroker, client: str) -> None:
    """`test-sink` names the missing topic and how to have it made, with either client, and ends with 69."""
    options = f'bootstrap_servers: ["{kafka.address}"]\n    topic: nobody-made-this\n    client: {client}'
    file = written(tmp_path, GOOD.replace("type: stdout", f"type: kafka\n    {options}"))
    ended = run("test-sink", "print", "-c", str(file), cwd=tmp_path, PYTHONWARNINGS=KAFKA_WARNINGS)
    said = one_line(ended, 69)
    assert "'nobody-made-this'" in said
    assert "create_topic" in said
    assert ended.out.splitlines()[-1] == "connect: failed"
