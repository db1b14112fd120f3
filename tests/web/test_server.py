"""The HTTP server: its life, its limits, and who may ask what."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from prometheus_client import CollectorRegistry

from inotify_bridge.errors import ConfigError, UnavailableError
from inotify_bridge.web import connections
from inotify_bridge.web.server import WebServer, parse_listen
from inotify_bridge.web.view import AgentStatus
from tests.brokers.ports import free_port
from tests.waiting import eventually
from tests.web.client import ask
from tests.web.conftest import ServerFactory
from tests.web.view import GivenView

PROTECTED = ["/", "/api/v1/status"]
OPEN = ["/metrics", "/livez", "/readyz", "/startupz"]
EVERYWHERE = "0.0.0.0:0"  # not a loopback address, and reachable over loopback


def made(listen: str, view: GivenView) -> WebServer:
    return WebServer(listen, view, CollectorRegistry(), lambda: None)


def test_a_port_in_use_is_an_error_for_people(server: WebServer, view: GivenView) -> None:
    """A second server on the port fails with exit code 69, the address and what to do."""
    second = made(f"127.0.0.1:{server.port}", view)
    with pytest.raises(
        UnavailableError, match=rf"127\.0\.0\.1:{server.port}: Address already in use .*http\.listen"
    ) as error:
        second.start()
    assert error.value.exit_code == 69
    second.stop()


def test_an_address_of_no_interface_is_an_error_for_people(view: GivenView) -> None:
    """An address that this machine does not have fails with exit code 69."""
    with pytest.raises(UnavailableError, match=r"192\.0\.2\.1:0: .*http\.listen"):
        made("192.0.2.1:0", view).start()


@pytest.mark.parametrize(("listen", "told"), [("127.0.0.1:0", False), (EVERYWHERE, True)])
def test_the_log_tells_how_far_it_listens(
    serve: ServerFactory, caplog: pytest.LogCaptureFixture, listen: str, told: bool
) -> None:
    """The log names an address that can be asked from here, and says where it is not the only one."""
    caplog.set_level("INFO")
    server = serve(listen)
    (line,) = (line for line in caplog.messages if "listening on" in line)
    assert f"http://127.0.0.1:{server.port}" in line
    assert ("every other address" in line) is told


def test_a_stopped_server_is_gone(serve: ServerFactory) -> None:
    """After `stop` nothing listens, the port is free, no thread is left, and a second `stop` does nothing."""
    before, listen = set(threading.enumerate()), f"127.0.0.1:{free_port()}"
    server = serve(listen)
    assert ask(server, "/livez").status == 200
    server.stop()
    assert not [t for t in set(threading.enumerate()) - before if t.name == "web"]
    with pytest.raises(ConnectionRefusedError):
        ask(server, "/livez")
    server.stop()
    again = serve(listen)
    assert ask(again, "/livez").status == 200


def test_stop_ends_connections_that_are_kept_open(server: WebServer) -> None:
    """`stop` does not wait for a peer that keeps its connection, nor for one that sent half a request."""
    address = ("127.0.0.1", server.port)
    with (
        contextlib.closing(http.client.HTTPConnection(*address, timeout=60)) as kept,
        socket.create_connection(address, timeout=60) as half,
    ):
        kept.request("GET", "/livez")
        assert kept.getresponse().read() == b"ok\n"
        half.sendall(b"GET /livez HTTP/1.1\r\nHost: local")
        server.stop()
        # Closed where the server had accepted it, reset where it still waited to be.
        with contextlib.suppress(ConnectionResetError):
            assert half.recv(100) == b""
            assert kept.sock.recv(100) == b""


def test_a_client_that_takes_nothing_is_dropped(
    serve: ServerFactory, view: GivenView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that asks and then reads nothing loses its connection, while others are answered."""
    monkeypatch.setattr(connections, "STUCK_SECONDS", 600.0)
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.1)
    view.figures["problems"] = ["x" * 1000] * 50_000  # more than every buffer on the way
    server = serve()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as peer:
        peer.sendall(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")

        def unsent() -> bool:
            assert ask(server, "/livez").status == 200
            channels = [c for one in server._listeners for c in list(one.server.active_channels.values())]
            return any(c.total_outbufs_len > 1_000_000 for c in channels)

        eventually(unsent, within=60, what="its answer waits")
        monkeypatch.setattr(connections, "STUCK_SECONDS", 0.5)
        eventually(lambda: not unsent(), what="it is dropped")
        taken = 0
        with contextlib.suppress(ConnectionResetError):
            while received := peer.recv(1 << 20):
                taken += len(received)
    assert taken < 50_000_000


def test_slow_clients_shut_nobody_out(
    serve: ServerFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While more clients than there are places hold half a request each, all others are answered; the
    first of them goes first."""
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 600.0)
    path = tmp_path / "admin.sock"
    server = serve(admin_socket=str(path))
    with contextlib.ExitStack() as slow:
        peers = []
        for _ in range(connections.CONNECTIONS + 20):
            peer = slow.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            peer.sendall(b"GET /livez HTTP/1.1\r\nHost: local")
            peers.append(peer)
        for _ in range(5):
            assert ask(server, "/livez").status == 200
            assert ask(server, "/metrics").status == 200
        (served, admin) = server._listeners
        assert len(served.server.active_channels) > connections.CONNECTIONS // 2, "they hold no places"
        assert not admin.server.active_channels
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(60)
            asked.connect(str(path))
            asked.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            assert asked.recv(100).startswith(b"HTTP/1.0 200")
        assert peers[0].recv(1) == b""
        peers[-1].sendall(b"host\r\n\r\n")
        assert peers[-1].recv(100).startswith(b"HTTP/1.1 200")


def test_a_request_that_does_not_end_is_dropped(
    serve: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that sends a byte now and then loses its connection when its request takes too long."""
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.1)
    server = serve()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as peer:
        peer.sendall(b"GET /livez HTTP/1.1\r\nX: ")
        peer.settimeout(0.05)

        def dropped() -> bool:
            try:
                peer.sendall(b"x")
                return peer.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        eventually(dropped, what="it is dropped")
    assert ask(server, "/livez").status == 200


def test_requests_that_cannot_be_read_are_refused(
    server: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Too many parameters and a version that is none get 400, no traceback; probes look at none."""
    many = "&".join("a=1" for _ in range(40))
    assert ask(server, f"/livez?{many}").status == 200
    assert ask(server, f"/metrics?{many}").status == 400
    assert ask(server, "/metrics", Accept="application/openmetrics-text;version=xx;escaping=zz").status == 400
    assert ask(server, "/metrics", Accept="application/openmetrics-text; version=2.x").status == 400
    assert ask(server, "/metrics", Accept="application/openmetrics-text; version=1.0.0,*/*").status == 200
    assert not [record for record in caplog.records if record.exc_info]


def test_stop_does_not_wait_for_a_view_that_hangs(serve: ServerFactory, view: GivenView) -> None:
    """`stop` returns at its deadline while a request hangs in the agent, and closes that connection."""
    asked, release = threading.Event(), threading.Event()

    def hang() -> AgentStatus:
        asked.set()
        release.wait(300)
        return view.figures

    hanging = GivenView()
    hanging.status = hang  # type: ignore[method-assign]
    server = WebServer("127.0.0.1:0", hanging, CollectorRegistry(), lambda: None)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as peer:
        peer.sendall(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert asked.wait(60)
        server.stop(timeout=0.2)
        assert peer.recv(100) == b""
    release.set()
    server.stop()


def test_stop_leaves_no_worker_that_waits_for_its_client() -> None:
    """A worker whose client does not take its answer ends with the server, and lets go of what it streams."""
    ended = threading.Event()

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(64 * 1024)
        finally:
            ended.set()

    def answer(_: WSGIEnvironment, start: StartResponse) -> Iterator[bytes]:
        start("200 OK", [])
        return endless()

    bound = socket.create_server(("127.0.0.1", 0))
    listener = connections.Listener(answer, bound, 5, 1, "web")
    listener.start()
    with socket.create_connection(bound.getsockname(), timeout=60) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        channels, most = listener.server.active_channels, connections.UNSENT_BYTES
        eventually(lambda: any(one.total_outbufs_len > most for one in list(channels.values())))
        listener.stop()
        assert listener.close(60.0)
    assert ended.is_set()


def test_a_stop_before_the_start_is_not_lost(view: GivenView) -> None:
    """A server that was stopped before it started binds nothing."""
    server = made("127.0.0.1:0", view)
    server.stop()
    server.start()
    with pytest.raises(RuntimeError, match="not been started"):
        _ = server.port


def test_ipv6_loopback_is_served(serve: ServerFactory) -> None:
    """`[::1]:0` listens on IPv6, and the URL says it."""
    try:
        server = serve("[::1]:0")
    except UnavailableError:
        pytest.skip("this machine has no IPv6")
    assert server.url == f"http://[::1]:{server.port}"
    assert ask(server, "/livez", host="::1").status == 200


@pytest.mark.parametrize(
    ("listen", "parts"),
    [
        ("127.0.0.1:10477", ("127.0.0.1", 10477)),
        ("[::1]:0", ("::1", 0)),
        (":9000", ("", 9000)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_a_listen_address_is_taken_apart(listen: str, parts: tuple[str, int]) -> None:
    """host:port in its usual forms is understood."""
    assert parse_listen(listen) == parts


@pytest.mark.parametrize(
    "listen", ["", "localhost", "10477", "::1:80", "a:b", "a:65536", "a:-1", "[::1]", "a b:1"]
)
def test_what_is_no_listen_address_is_refused(listen: str) -> None:
    """Anything else is a configuration error that gives an example."""
    with pytest.raises(ConfigError, match=r"http\.listen.*127\.0\.0\.1:10477"):
        parse_listen(listen)


@pytest.mark.parametrize("path", PROTECTED + OPEN)
def test_loopback_needs_no_token(serve: ServerFactory, path: str) -> None:
    """On a loopback address everything is answered without a token, configured or not."""
    assert ask(serve(), path).status == 200
    assert ask(serve(token="secret"), path).status == 200


@pytest.mark.parametrize("path", OPEN)
def test_probes_and_metrics_never_need_a_token(serve: ServerFactory, path: str) -> None:
    """On any address `/metrics` and the probes are answered without a token."""
    assert ask(serve(EVERYWHERE), path).status == 200
    assert ask(serve(EVERYWHERE, token="secret"), path).status == 200


@pytest.mark.parametrize("path", PROTECTED)
@pytest.mark.parametrize(
    ("token", "sent", "status"),
    [
        ("secret", "Bearer secret", 200),
        ("secret", "bearer  secret", 200),
        ("secret", f"Basic {base64.b64encode(b'anyone:secret').decode()}", 200),
        ("secret", f"basic {base64.b64encode(b':secret').decode()}", 200),
        ("sec:ret", f"Basic {base64.b64encode(b'anyone:sec:ret').decode()}", 200),
        ("secret", f"Basic {base64.b64encode(b'secret').decode()}", 401),
        ("secret", f"Basic {base64.b64encode(b'secret:').decode()}", 401),
        ("secret", "Basic %", 401),
        ("schlüssel", "Bearer schlüssel".encode().decode("latin-1"), 200),
        ("secret", None, 401),
        ("secret", "Bearer Secret", 401),
        ("secret", "Bearer ", 401),
        ("secret", "Bearer secret2", 401),
        ("secret", "Basic secret", 401),
        ("secret", "secret", 401),
        (None, None, 403),
        (None, "Bearer None", 403),
        ("", "Bearer ", 403),
    ],
)
def test_other_addresses_need_the_token(
    serve: ServerFactory, path: str, token: str | None, sent: str | None, status: int
) -> None:
    """
    On any other address the page and the API need the token, as Bearer or as a browser's password; one has
    to be set.
    """
    headers = {"Authorization": sent} if sent is not None else {}
    answer = ask(serve(EVERYWHERE, token=token), path, **headers)
    assert answer.status == status
    if status == 401:
        schemes = [value.split()[0] for value in answer.headers.get_all("WWW-Authenticate", [])]
        assert schemes == ["Bearer", "Basic"]
    if status == 403:
        assert "http.admin_token_file" in answer.json()["hint"]
    if status != 200:
        assert b"uploads" not in answer.body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "LOCALHOST.", "[::1]:80"])
def test_loopback_names_are_served(server: WebServer, host: str) -> None:
    """The names of this machine are taken as Host, with any port."""
    assert ask(server, "/api/v1/status", Host=host).status == 200


@pytest.mark.parametrize(
    "host", ["attacker.example", "127.0.0.1.attacker.example", "localhost@attacker.example", "[", ""]
)
@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/metrics"])
def test_a_rebound_name_is_refused(server: WebServer, host: str, path: str) -> None:
    """On loopback a request with a foreign Host is refused: its sender is the page of another site."""
    answer = ask(server, path, Host=host)
    assert answer.status == 421
    assert b"uploads" not in answer.body


def test_a_request_without_host_is_served(server: WebServer) -> None:
    """HTTP/1.0 without Host, as simple probes send it, is answered."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as peer:
        peer.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        answer = peer.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.0 200 OK")
    assert answer.endswith(b"ok\n")


def test_other_names_are_served_where_the_network_gives_them(serve: ServerFactory) -> None:
    """On other addresses any Host will do: a probe asks by the address of a pod."""
    assert ask(serve(EVERYWHERE), "/livez", Host="pod-7.cluster.example").status == 200


def test_too_large_requests_are_refused(server: WebServer) -> None:
    """Headers over 16 KiB and bodies over 64 KiB are refused, and the server goes on."""
    assert ask(server, "/livez", X_Long="x" * 20_000).status == 431
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 413")
    assert ask(server, "/livez").status == 200
