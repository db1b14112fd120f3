"""A server for each test, stopped at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest
from prometheus_client import CollectorRegistry

from inotify_bridge.metrics import Metrics
from inotify_bridge.web.server import WebServer
from tests.web.view import GivenView

ServerFactory: TypeAlias = Callable[..., WebServer]


@pytest.fixture
def view() -> GivenView:
    """What the server shows."""
    return GivenView()


@pytest.fixture
def serve(view: GivenView) -> Iterator[ServerFactory]:
    """Starts servers: ``serve(listen, token, admin_socket)``; both None, and any port on loopback."""
    servers: list[WebServer] = []

    def start(
        listen: str = "127.0.0.1:0", token: str | None = None, admin_socket: str | None = None
    ) -> WebServer:
        registry = CollectorRegistry()
        Metrics(registry, ["uploads"], [("uploads", "orders")])
        server = WebServer(listen, view, registry, lambda: token, admin_socket)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(serve: ServerFactory) -> WebServer:
    """A server on loopback."""
    return serve()
