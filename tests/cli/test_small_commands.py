"""validate, schema, sinks, healthcheck and test-sink, as processes."""

from __future__ import annotations

import http.server
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.cli.program import run

EXAMPLES = Path(__file__).parents[2] / "examples"


def configuration(directory: Path, sink: str = "type: memory", **more: str) -> Path:
    """A valid configuration whose root exists."""
    (directory / "data").mkdir(exist_ok=True)
    file = directory / "config.yaml"
    sections = "".join(f"{key}: {value}\n" for key, value in more.items())
    file.write_text(
        f"watch_groups:\n  - {{name: g, paths: [{directory}/data], sinks: [s]}}\n"
        f"sinks:\n  - {{name: s, {sink}}}\n{sections}"
    )
    return file


def test_validate_good(tmp_path: Path) -> None:
    """A good file: ok on stdout, with its notes, and exit code 0."""
    file = configuration(tmp_path, events="{partition_by: path}")
    ended = run("validate", str(file))
    assert (ended.code, ended.err) == (0, "")
    assert f"{file}: ok: 1 watch group(s), 1 sink(s)" in ended.out
    assert "note: group 'g' is a notification stream" in ended.out


def test_validate_reports_every_error_of_every_file(tmp_path: Path) -> None:
    """Every problem of every file is a line on stderr with file and line; exit code 78."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("watch_groups: []\nsinks: []\nhtp: {}\n")
    good = configuration(tmp_path)
    ended = run("validate", str(bad), str(good), str(tmp_path / "none.yaml"))
    assert ended.code == 78
    lines = ended.err.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        f"{bad}:1",
        f"{bad}:2",
        f"{bad}:3",
        f"{tmp_path}/none.yaml",
    ]
    assert f"{good}: ok" in ended.out


def test_a_sink_that_this_machine_cannot_serve(tmp_path: Path) -> None:
    """
    A jsonl file whose directory is not there is a problem for `validate` with its line, and for `doctor`; a
    running agent waits for it.
    """
    file = configuration(tmp_path, f"type: jsonl, path: {tmp_path}/nowhere/file.jsonl")
    validated = run("validate", str(file))
    assert (validated.code, validated.err.count("\n")) == (78, 1)
    assert validated.err.startswith(f"{file}:4: sinks[0]: ")
    assert "(make that directory)" in validated.err
    examined = run("doctor", "-c", str(file))
    assert examined.code == 1
    assert "FAILED  sink s: " in examined.out
    assert run("run", "--check", "-c", str(file)).code == 0


def test_validate_needs_the_roots(tmp_path: Path) -> None:
    """A root that is not there fails the validation."""
    file = configuration(tmp_path)
    (tmp_path / "data").rmdir()
    ended = run("validate", str(file))
    assert ended.code == 78
    assert "No such file or directory (make it first)" in ended.err


def test_validate_without_environment(tmp_path: Path) -> None:
    """An undefined variable is an error, and with --no-environment it is left alone."""
    file = configuration(tmp_path, log="{level: '${NOPE}'}")
    assert "NOPE is not defined" in run("validate", str(file)).err
    assert run("validate", "--no-environment", str(file)).code == 0
    assert run("validate", str(file), NOPE="debug").code == 0


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_examples(example: str, tmp_path: Path) -> None:
    """Every example names its schema in its first line, fits the published one, and is read without error."""
    text = (EXAMPLES / example).read_text()
    assert text.startswith("# yaml-language-server: $schema=")
    schema = json.loads(run("schema", "config").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(text), schema)
    ended = run("validate", str(EXAMPLES / example), cwd=tmp_path)
    wrong = [line for line in ended.err.splitlines() if "cannot be reached" not in line]
    assert wrong == []


def test_the_schema_beside_the_examples() -> None:
    """The schema that the examples name is the one that the program prints."""
    written = (EXAMPLES / "config.schema.json").read_text()
    assert written == run("schema", "config").out, (
        "inotify-bridge schema config > examples/config.schema.json"
    )


def test_schema_of_the_configuration_finds_mistakes(tmp_path: Path) -> None:
    """The published schema refuses unknown keys and wrong values, and allows references and units."""
    validator = jsonschema.Draft202012Validator(json.loads(run("schema", "config").out))
    tree = yaml.safe_load(configuration(tmp_path).read_text())
    assert validator.is_valid(tree)
    assert validator.is_valid({**tree, "shutdown_timeout": "${WAIT:-5s}", "state": {"max_bytes": "64MiB"}})
    assert validator.is_valid({**tree, "log": {"level": "${LEVEL}"}})
    assert not validator.is_valid({**tree, "htp": {}})
    assert not validator.is_valid({**tree, "log": {"level": "loud"}})
    assert not validator.is_valid({**tree, "sinks": [{"name": "s", "type": "memory", "brokr": "x"}]})
    assert not validator.is_valid({**tree, "sinks": [{"name": "s", "type": "nothing"}]})


@pytest.mark.parametrize("name", ["event", "asyncapi"])
def test_other_schemas(name: str) -> None:
    """`schema` prints the other published documents as JSON."""
    ended = run("schema", name)
    assert ended.code == 0
    assert isinstance(json.loads(ended.out), dict)


def test_sinks_lists_types() -> None:
    """`sinks` lists every type with where it comes from; with a type, its options one a line."""
    ended = run("sinks")
    assert ended.code == 0
    assert "memory     built in     broker" in ended.out
    assert run("sinks", "rabbitmq").out.startswith("url* ")
    wrong = run("sinks", "rabitmq")
    assert (wrong.code, wrong.out) == (78, "")
    assert "did you mean 'rabbitmq'?" in wrong.err


class Probes(http.server.BaseHTTPRequestHandler):
    """Alive, but not ready."""

    def do_GET(self) -> None:
        """Answer a probe."""
        well = self.path == "/livez"
        self.send_response(200 if well else 503)
        self.end_headers()
        self.wfile.write(b"ok\n" if well else b"no snapshot yet\n")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def address_string(self) -> str:
        """Unix sockets have no address."""
        return ""


class UnixServer(socketserver.UnixStreamServer):
    """An HTTP server on a Unix socket."""


@pytest.fixture(params=["tcp", "unix"])
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of something that answers probes."""
    server: socketserver.BaseServer
    if request.param == "tcp":
        server = http.server.HTTPServer(("127.0.0.1", 0), Probes)
        url = f"http://127.0.0.1:{server.server_address[1]}"
    else:
        server = UnixServer(str(tmp_path / "socket"), Probes)
        url = f"unix:{tmp_path}/socket"
    thread = threading.Thread(target=server.serve_forever, name="probes")
    thread.start()
    yield url
    server.shutdown()
    thread.join()
    server.server_close()


def test_healthcheck(agent: str) -> None:
    """200 is exit code 0, any other answer is 1 with its words; a proxy of the environment is not asked."""
    proxy = "http://127.0.0.1:1"
    assert run("healthcheck", "--url", agent, http_proxy=proxy, HTTP_PROXY=proxy) == (0, "ok\n", "")
    ended = run("healthcheck", "--url", agent, "--probe", "readyz")
    assert (ended.code, ended.out) == (1, "")
    assert "readyz answers 503: no snapshot yet" in ended.err


def test_healthcheck_without_agent(tmp_path: Path) -> None:
    """Where nothing listens it is exit code 69; an address that is none is 2."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert run("healthcheck", "--url", f"http://127.0.0.1:{free.getsockname()[1]}").code == 69
    assert run("healthcheck", "--url", f"unix:{tmp_path}/none").code == 69
    assert run("healthcheck", "--url", "gopher://x").code == 2


def test_test_sink(tmp_path: Path) -> None:
    """Every step of a sink that works is reported, and the exit code is 0."""
    ended = run("test-sink", "s", "-c", str(configuration(tmp_path)))
    assert (ended.code, ended.err) == (0, "")
    assert [line.split(":")[0] for line in ended.out.splitlines()[1:]] == ["connect", "publish", "close"]


def test_test_sink_that_refuses_the_message(tmp_path: Path) -> None:
    """A message that is not taken fails the step of publishing, with the sink's words; exit code 69."""
    ended = run("test-sink", "s", "-c", str(configuration(tmp_path, "type: memory, max_message_bytes: 10")))
    assert ended.code == 69
    assert "connect: ok\npublish: failed\n" in ended.out
    assert "the limit is 10" in ended.err


def test_test_sink_that_is_not_there(tmp_path: Path) -> None:
    """A broker that does not answer fails the step of connecting; exit code 69."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"amqp://u@127.0.0.1:{free.getsockname()[1]}/"
        file = configuration(tmp_path, f'type: rabbitmq, url: "{url}", password: p')
        ended = run("test-sink", "s", "-c", str(file))
    assert ended.code == 69
    assert ended.out.endswith("connect: failed\n")
    assert ended.err.startswith("inotify-bridge: error: ")
    assert ended.err.count("\n") == 1


def test_test_sink_of_another_name(tmp_path: Path) -> None:
    """A name that is not configured is a usage error; a broken configuration is 78."""
    file = configuration(tmp_path)
    assert "no sink 'x'" in run("test-sink", "x", "-c", str(file)).err
    assert run("test-sink", "s", "-c", str(file), "--group", "h").code == 2
    file.write_text("nothing: good\n")
    assert run("test-sink", "s", "-c", str(file)).code == 78
