"""The Unix socket of the server: who may ask, and whose file it is."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import threading
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from inotify_bridge.cli.connection import connection
from inotify_bridge.errors import UnavailableError
from inotify_bridge.web.server import WebServer
from inotify_bridge.web.view import AgentStatus
from tests.brokers.ports import free_port
from tests.cli.program import run
from tests.cli.running import Running
from tests.web.client import ask
from tests.web.conftest import ServerFactory
from tests.web.view import GivenView

TIMEOUT = 60.0


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the socket is to be."""
    return f"{tmp_path}/admin.sock"


@contextlib.contextmanager
def asked(path: str, what: str, **headers: str) -> Iterator[HTTPResponse]:
    """The answer to a GET over the socket."""
    with contextlib.closing(connection(f"unix:{path}", TIMEOUT)) as client:
        client.request("GET", what, headers=headers)
        yield client.getresponse()


def abandoned(path: str) -> None:
    """A socket file as a process leaves it that was killed."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
        left.listen()


def refused(path: str, view: GivenView) -> UnavailableError:
    """Why a server cannot have the socket; it then does not listen on its port either."""
    port = free_port()
    server = WebServer(f"127.0.0.1:{port}", view, CollectorRegistry(), lambda: None, path)
    with pytest.raises(UnavailableError) as error:
        server.start()
    socket.create_server(("127.0.0.1", port)).close()
    server.stop()
    assert error.value.exit_code == 69
    assert path in str(error.value)
    assert error.value.hint
    return error.value


def test_it_answers_without_a_token_and_under_any_name(
    serve: ServerFactory, view: GivenView, path: str
) -> None:
    """The status is answered over the socket where the port asks for a token and refuses foreign names."""
    outside = serve("0.0.0.0:0", token="secret", admin_socket=path)
    assert ask(outside, "/api/v1/status").status == 401
    with asked(path, "/api/v1/status", Host="agent.example") as answer:
        assert (answer.status, json.loads(answer.read())) == (200, view.figures)


def test_it_answers_beside_a_loopback_port(serve: ServerFactory, path: str) -> None:
    """The port on loopback still checks the Host where the socket does not."""
    server = serve(admin_socket=path)
    assert ask(server, "/livez", Host="agent.example").status == 421
    with asked(path, "/livez", Host="agent.example") as answer:
        assert answer.status == 200


def test_only_its_user_may_connect(serve: ServerFactory, path: str) -> None:
    """The file is a socket with mode 0600, whatever the umask."""
    before = os.umask(0)
    try:
        serve(admin_socket=path)
    finally:
        os.umask(before)
    assert stat.filemode(os.lstat(path).st_mode) == "srw-------"


def test_it_is_removed_at_the_stop(serve: ServerFactory, path: str) -> None:
    """After `stop` the file is gone and nothing answers, and another server can have it."""
    serve(admin_socket=path).stop()
    assert not os.path.lexists(path)
    serve(admin_socket=path)
    with asked(path, "/livez") as answer:
        assert answer.status == 200


def test_the_file_of_another_is_not_removed(serve: ServerFactory, path: str) -> None:
    """A file that took the place of the socket outlives the server."""
    server = serve(admin_socket=path)
    os.unlink(path)
    Path(path).write_text("mine")
    server.stop()
    assert Path(path).read_text() == "mine"


def test_a_stale_socket_is_replaced(serve: ServerFactory, path: str) -> None:
    """The socket file of a process that died is taken over."""
    abandoned(path)
    serve(admin_socket=path)
    with asked(path, "/livez") as answer:
        assert answer.status == 200


def test_a_socket_in_use_is_an_error_for_people(serve: ServerFactory, view: GivenView, path: str) -> None:
    """Where another process listens the start fails with 69, and the other goes on."""
    serve(admin_socket=path)
    assert "another process listens" in str(refused(path, view))
    with asked(path, "/livez") as answer:
        assert answer.status == 200


def test_a_file_in_the_way_is_left_alone(view: GivenView, path: str) -> None:
    """A file that is no socket is never removed: the start fails with 69."""
    Path(path).write_text("mine")
    assert "no socket" in str(refused(path, view))
    assert Path(path).read_text() == "mine"


def test_a_directory_that_is_not_there(view: GivenView, tmp_path: Path) -> None:
    """Without its directory the start fails with 69 and says what to do."""
    assert "make its directory" in refused(f"{tmp_path}/none/admin.sock", view).hint


def test_it_answers_while_the_port_hangs(path: str) -> None:
    """With every worker of the port stuck in the agent, the socket still answers probes."""
    entered, release = threading.Semaphore(0), threading.Event()
    view = GivenView()

    def hang() -> AgentStatus:
        entered.release()
        release.wait(300)
        return view.figures

    view.status = hang  # type: ignore[method-assign]
    server = WebServer("127.0.0.1:0", view, CollectorRegistry(), lambda: None, path)
    server.start()
    with contextlib.ExitStack() as peers:
        peers.callback(server.stop)
        peers.callback(release.set)
        for _ in range(5):
            peer = peers.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT))
            peer.sendall(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert entered.acquire(timeout=TIMEOUT)
        with asked(path, "/livez") as answer:
            assert answer.status == 200


def test_a_running_agent_is_asked_over_it(tmp_path: Path, path: str) -> None:
    """`status` and `healthcheck` reach an agent at `unix:PATH`, which takes the file with it when it ends."""
    (tmp_path / "data").mkdir()
    file = tmp_path / "config.yaml"
    file.write_text(
        "watch_groups:\n  - {name: g, paths: [./data], sinks: [s]}\nsinks:\n  - {name: s, type: stdout}\n"
        f"http: {{listen: '127.0.0.1:0', admin_socket: '{path}'}}\n"
    )
    abandoned(path)
    with Running("run", "-c", file, directory=tmp_path) as agent:
        agent.wait_for_event("stream.resync_completed")
        shown = run("status", "--url", f"unix:{path}", "--json")
        assert (shown.code, shown.err) == (0, "")
        assert [group["name"] for group in json.loads(shown.out)["groups"]] == ["g"]
        assert run("healthcheck", "--url", f"unix:{path}", "--probe", "readyz") == (0, "ok\n", "")
        second = run("run", "-c", str(file), cwd=tmp_path)
        assert (second.code, second.err.count("\n")) == (69, 1)
        assert f"another process listens on {path}" in second.err
        assert agent.end().code == 0
    assert not os.path.lexists(path)
