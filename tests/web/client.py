"""Real requests over a real socket."""

from __future__ import annotations

import http.client
import json
from typing import Any, NamedTuple

from inotify_bridge.web.server import WebServer


class Answer(NamedTuple):
    """One response, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


def ask(server: WebServer, path: str, method: str = "GET", host: str = "127.0.0.1", **headers: str) -> Answer:
    """One request on a connection of its own; underscores in header names become hyphens."""
    connection = http.client.HTTPConnection(host, server.port, timeout=60)
    try:
        connection.request(
            method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()
