"""`inotify-bridge status` against a real server."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inotify_bridge.cli.status import command
from inotify_bridge.errors import BridgeError, UnavailableError, UsageError
from inotify_bridge.web.server import WebServer
from tests.web.conftest import ServerFactory
from tests.web.view import GivenView


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def failure(*arguments: str) -> BridgeError:
    """The error that the command ends with."""
    result = run(*arguments)
    assert isinstance(result.exception, BridgeError), result
    assert result.stdout == ""
    assert "\n" not in str(result.exception)
    return result.exception


@contextlib.contextmanager
def answering(listening: socket.socket, body: bytes) -> Iterator[None]:
    """Answers one request on a socket with `body`."""

    def answer() -> None:
        listening.settimeout(60)
        peer, _ = listening.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with listening:
        listening.listen()
        thread = threading.Thread(target=answer)
        thread.start()
        yield
        thread.join(60)


def test_the_table_shows_groups_and_sinks(server: WebServer) -> None:
    """The figures of each group and each sink stand in two aligned tables, and that nothing is wrong."""
    result = run("--url", server.url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "inotify-bridge 1.2.3, up 2.0 h, /etc/inotify-bridge/config.yaml",
        "",
        "GROUP    STATE    CONSISTENT  SEQUENCE  WATCHES  POLLED  WAITING               OLDEST  RESYNC",
        "uploads  running  yes         42        17       0       3 (150 B of 1.0 GiB)  0.5 s   start, 0.2 s",
        "",
        "GROUP    SINK    TYPE      CONNECTED  ACKED  BEHIND  PARKED  LAST ERROR",
        "uploads  orders  rabbitmq  yes        39     3       0       -",
        "",
        "No problems.",
    ]


def test_problems_are_listed(server: WebServer, view: GivenView) -> None:
    """Problems of the agent and of its groups are listed last; the exit code is 0, for it did answer."""
    view.figures["problems"] = ["the clock went back"]
    view.figures["groups"][0]["problems"] = ["root lost"]
    result = run("--url", server.url + "/")
    assert result.exit_code == 0
    assert result.stdout.endswith("\nProblems:\n  the clock went back\n  uploads: root lost\n")


def test_json_is_the_status_whole(server: WebServer, view: GivenView) -> None:
    """`--json` prints the API's answer."""
    assert json.loads(run("--url", server.url, "--json").stdout) == view.figures


def test_control_characters_reach_no_terminal(server: WebServer, view: GivenView) -> None:
    """Escape sequences and surrogates in an error message are shown as text, with and without `--json`."""
    view.figures["groups"][0]["sinks"][0]["last_error"] = "\x1b[2Jgone\r\n\udcff\x85"
    shown = run("--url", server.url).stdout
    assert r"\x1b[2Jgone\r\n\xff\x85" in shown
    assert run("--url", server.url, "--json").stdout.isascii()


def test_no_agent_is_unavailable(server: WebServer) -> None:
    """Where nothing listens the error names the address, the reason and what to do; exit code 69."""
    server.stop()
    error = failure("--url", server.url)
    assert isinstance(error, UnavailableError)
    assert error.exit_code == 69
    assert f"no agent answers at {server.url}: Connection refused" in str(error)
    assert "--url" in error.hint


@pytest.mark.parametrize("body", [b"<p>Hello!</p>", b"[]", b"{}", b"\xff"])
def test_another_program_is_unavailable(body: bytes) -> None:
    """Where something else answers the error says so; exit code 69."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with answering(listening, body):
        error = failure("--url", url)
    assert error.exit_code == 69
    assert "is no inotify-bridge" in str(error)


def test_an_admin_socket_is_an_address_too(view: GivenView, tmp_path: Path) -> None:
    """`unix:PATH` asks over a Unix socket, and says so when nothing listens there."""
    path = f"{tmp_path}/admin.sock"
    assert "No such file" in str(failure("--url", f"unix:{path}"))
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    with answering(listening, json.dumps(view.figures).encode()):
        assert json.loads(run("--url", f"unix:{path}", "--json").stdout) == view.figures


def test_the_token_comes_from_a_file(serve: ServerFactory, tmp_path: Path) -> None:
    """With `--token-file` a protected agent answers; otherwise the error carries the agent's hint."""
    server = serve("0.0.0.0:0", token="secret")
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("secret\n")
    wrong.write_text("other\n")
    assert run("--url", server.url, "--token-file", str(right)).exit_code == 0
    for arguments in ([], ["--token-file", str(wrong)]):
        error = failure("--url", server.url, *arguments)
        assert error.exit_code == 1
        assert "http.admin_token_file" in error.hint


@pytest.mark.parametrize("content", ["", "\n", "two\nlines", "schlüssel"])
def test_a_token_file_without_a_token_is_a_usage_error(tmp_path: Path, content: str) -> None:
    """An empty file, several lines or other than ASCII are refused before anything is asked."""
    file = tmp_path / "token"
    file.write_text(content)
    assert isinstance(failure("--token-file", str(file)), UsageError)


def test_a_missing_token_file_is_a_usage_error(tmp_path: Path) -> None:
    """A token file that is not there is named, with the reason."""
    error = failure("--token-file", str(tmp_path / "nothing"))
    assert isinstance(error, UsageError)
    assert "No such file" in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:10477",
        "ftp://127.0.0.1",
        "http://",
        "http://127.0.0.1:0",
        "http://[",
        "http://a:b",
        "x",
        "unix:",
        "http://127.0.0.1/x",
    ],
)
def test_what_is_no_address_is_a_usage_error(url: str) -> None:
    """An address that is not http or https is refused with an example."""
    error = failure("--url", url)
    assert isinstance(error, UsageError)
    assert "http://127.0.0.1:10477" in error.hint


def test_a_name_that_cannot_be_is_unavailable() -> None:
    """A host name too long for DNS is an address where no agent answers."""
    assert failure("--url", f"http://{'x' * 70}.example").exit_code == 69
