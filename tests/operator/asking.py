"""Requests of an operator to a running agent."""

from __future__ import annotations

import http.client
import json
import re
import socket
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.agent.process import AgentProcess

TOKEN = "a-secret-of-the-operator"
TIMEOUT = 180.0
"""Longer than any barrier of these tests waits: what the agent answers then is what they want to know."""


class Answer(NamedTuple):
    """A response, read to its end."""

    status: int
    content: Any
    headers: http.client.HTTPMessage


def address(agent: AgentProcess) -> str:
    """``http://127.0.0.1:PORT`` of its present life."""
    return f"http://127.0.0.1:{port(agent)}"


def port(agent: AgentProcess) -> int:
    """Where its HTTP server listens now."""
    return int(re.findall(r"listening on http://127\.0\.0\.1:(\d+)", agent.log)[-1])


def open_request(
    agent: AgentProcess, method: str, path: str, /, token: str | None = TOKEN, **query: str | int
) -> http.client.HTTPConnection:
    """Ask, and leave the answer unread."""
    connection = http.client.HTTPConnection("127.0.0.1", port(agent), timeout=TIMEOUT)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    connection.request(method, f"{path}?{urlencode(query)}" if query else path, headers=headers)
    return connection


def ask(
    agent: AgentProcess, method: str, path: str, /, token: str | None = TOKEN, **query: str | int
) -> Answer:
    """One request with the operator's token, another one, or none."""
    connection = open_request(agent, method, path, token, **query)
    try:
        return answer(connection)
    finally:
        connection.close()


def answer(connection: http.client.HTTPConnection) -> Answer:
    """Read an answer that is JSON."""
    response = connection.getresponse()
    return Answer(response.status, json.loads(response.read()), response.headers)


def ask_socket(path: str, method: str, target: str) -> tuple[int, Any]:
    """One request over the admin socket; status and content."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(TIMEOUT)
        peer.connect(path)
        peer.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        with peer.makefile("rb") as stream:
            whole = stream.read()
    head, _, body = whole.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)
