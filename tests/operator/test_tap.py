"""Taps: the events as they pass, without slowing the agent, and without keeping others from it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from inotify_bridge.tap import TOO_SLOW
from inotify_bridge.web.app import TAPS, WAITING
from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.operator.asking import TIMEOUT, answer, ask, open_request, port
from tests.operator.conftest import Operated, jsonl
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(600)  # each wait has a minute or more, and most tests have several

MANY = 15_000
"""Files whose events are more than every buffer on the way to a reader with a small one of its own holds."""

SMALL = 64 * 1024


class Listener:
    """
    A client of the tap; its first line has come, so that it listens.

    Args:
        keeps: bytes that the kernel holds for it; 0: as many as it likes.
    Raises:
        NoPlace: others have all of them.
    """

    def __init__(self, agent: AgentProcess, keeps: int = 0, /, **query: str | int) -> None:
        self._connection = open_request(agent, "GET", "/api/v1/tap", token=None, **query)
        if keeps:
            self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, keeps)
        self._response = self._connection.getresponse()
        if self._response.status == 503:
            self.close()
            raise NoPlace
        assert self._response.status == 200
        assert self._response.readline() == b"\n"

    def lines(self) -> list[dict[str, Any]]:
        """All that comes until the end."""
        with contextlib.closing(self):
            return [json.loads(line) for line in self._response if line != b"\n"]

    def close(self) -> None:
        """Go away."""
        self._response.close()
        self._connection.close()


def listener(agent: AgentProcess) -> Listener | None:
    """One more, where there is a place."""
    try:
        return Listener(agent)
    except NoPlace:
        return None


class NoPlace(Exception):
    """Too many wait."""


def all_places_are_free(agent: AgentProcess) -> bool:
    """Whether as many may wait as are meant to."""
    with contextlib.ExitStack() as stack:
        try:
            for _ in range(TAPS):
                stack.enter_context(contextlib.closing(Listener(agent)))
        except NoPlace:
            return False
    return True


def test_a_tap_shows_what_is_published(operated: Operated, trees: Trees, scratch: Path) -> None:
    """A tap's lines are the events, byte for byte and in order; `limit` counts those of files and ends it."""
    agent = operated().start()
    tap = Listener(agent, group="g", limit=100)
    for number in range(100):  # of each at least that it was written
        trees.write(f"f{number}")
    seen = tap.lines()
    ask(agent, "POST", "/-/barrier", wait_sink="file")
    written = [json.loads(line) for line in (scratch / "file.jsonl").read_bytes().splitlines()]
    begin = written.index(seen[0])
    assert written[begin : begin + len(seen)] == seen
    assert len([event for event in seen if ".stream." not in event["type"]]) == 100
    agent.stop()


def test_a_tap_of_a_group_that_is_none(operated: Operated) -> None:
    """It is refused with the names there are; so is a page of another site. HEAD opens none."""
    agent = operated().start()
    refused = ask(agent, "GET", "/api/v1/tap", group="h")
    assert (refused.status, refused.content["hint"]) == (404, "one of g")
    connection = http.client.HTTPConnection("127.0.0.1", port(agent), timeout=TIMEOUT)
    connection.request("GET", "/api/v1/tap", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer(connection).status == 403
    for _ in range(TAPS + 1):  # takes no place
        connection.request("HEAD", "/api/v1/tap")
        assert connection.getresponse().status == 200
        connection.close()
    agent.stop()


def test_a_slow_reader_is_cut_and_slows_nobody(operated: Operated, trees: Trees) -> None:
    """
    A reader that takes nothing is cut off while the events are recorded and delivered; what it reads later is
    in order without a hole, and the last line says what happened.
    """
    agent = operated().start()
    tap = Listener(agent, SMALL)
    trees.files("many", MANY)
    passed = ask(agent, "POST", "/-/barrier", wait_sink="file", timeout="120s")
    assert passed.status == 200, passed
    seen = tap.lines()
    assert seen[-1]["error"] == TOO_SLOW
    assert seen[-1]["hint"]
    numbers = [int(event["sequence"].split("-")[1]) for event in seen[:-1]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert numbers[-1] < passed.content["sequence"]
    agent.stop()


def test_waiting_requests_keep_nobody_out(operated: Operated, scratch: Path) -> None:
    """
    While as many taps as there may be are open, a barrier is answered; while as many barriers wait as may,
    too, probes, metrics and status answer, and one more of either is refused at once; when the clients go
    away their places are free, and the agent ends cleanly with taps open.
    """
    away = {**jsonl(scratch), "path": os.fspath(scratch / "nowhere" / "file.jsonl")}
    agent = operated([away], shutdown_timeout="0s", state={"dir": os.fspath(scratch / "state")}).start()
    with contextlib.ExitStack() as waiting:
        for _ in range(TAPS):
            waiting.enter_context(contextlib.closing(Listener(agent)))
        assert ask(agent, "POST", "/-/barrier").status == 200
        assert listener(agent) is None
        for _ in range(WAITING):
            barrier = open_request(agent, "POST", "/-/barrier", wait_sink="file", timeout="10m")
            waiting.enter_context(contextlib.closing(barrier))
        # Not asked before they are taken: who asks takes one too.
        taken = "operator signal: /-/barrier"
        eventually(lambda: agent.log.count(taken) == WAITING + 1, what="all places are taken")
        assert ask(agent, "POST", "/-/barrier").status == 503
        assert ask(agent, "POST", "/-/barrier").headers["Retry-After"]
        for path in ("/livez", "/readyz", "/metrics", "/api/v1/status"):
            assert agent.get(path)[0] == 200
    eventually(lambda: all_places_are_free(agent), within=120, what="all places are free", poll=5.0)
    tap = eventually(lambda: listener(agent), what="a place is free")
    assert tap is not None
    agent.stop()
    assert tap.lines()[-1]["error"] == "the agent has stopped"
