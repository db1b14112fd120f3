"""Operator signals over HTTP, to a real agent."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.agent.trees import Trees
from tests.operator.asking import TIMEOUT, TOKEN, Answer, ask, ask_socket, port
from tests.operator.conftest import Operated, jsonl
from tests.waiting import eventually

SIGNALS = ["/-/reload", "/-/resync", "/-/replay", "/-/barrier", "/-/parked"]
FAR = 10**9


def events(file: Path) -> list[dict[str, Any]]:
    """What a jsonl sink holds, whole lines."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def kinds(file: Path) -> list[str]:
    """``file.written`` of each event."""
    return [".".join(event["type"].split(".")[-3:-1]) for event in events(file)]


def test_signals_need_the_token(operated: Operated, scratch: Path) -> None:
    """
    Also on a loopback address: no token is 401, a wrong one too, a changed one counts at once, the admin
    socket needs none; where none is configured it is 403. Nothing of it was carried out.
    """
    agent = operated().start()
    for path in SIGNALS:
        for token in (None, "wrong", ""):
            refused = ask(agent, "POST", path, token=token, snapshot="true")
            assert refused.status == 401
            assert set(refused.content) == {"error", "hint"}
        assert ask_socket(str(scratch / "admin.sock"), "POST", path)[0] not in (401, 403)
    assert ask(agent, "GET", "/-/parked", token=None).status == 401
    (scratch / "token").write_text("another\n")
    assert ask(agent, "POST", "/-/barrier").status == 401
    assert ask(agent, "POST", "/-/barrier", token="another").status == 200
    (scratch / "token").unlink()
    assert ask(agent, "POST", "/-/barrier", token="another").status == 403
    for path in ("/metrics", "/livez", "/readyz", "/startupz", "/api/v1/status"):
        assert agent.get(path)[0] == 200
    agent.stop()


def test_no_signal_for_a_password(operated: Operated) -> None:
    """
    What a browser sends by itself, the token as a password, is no token for a signal: a page of another site
    could have it sent.
    """
    agent = operated().start()
    password = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port(agent), timeout=TIMEOUT)
    connection.request("POST", "/-/barrier", headers={"Authorization": f"Basic {password}"})
    refused = connection.getresponse()
    assert refused.status == 401
    assert [value.split()[0] for value in refused.headers.get_all("WWW-Authenticate", [])] == ["Bearer"]
    connection.close()
    agent.stop()


def test_on_the_network(operated: Operated, scratch: Path) -> None:
    """Where `listen` is no loopback address tap and status need the token, probes and metrics do not."""
    token = {"admin_token_file": os.fspath(scratch / "token")}
    agent = operated(http={"listen": "0.0.0.0:0", **token}).start()
    for path in ("/", "/api/v1/status", "/api/v1/tap", "/-/parked"):
        assert ask(agent, "GET", path, token=None).status == 401
        assert ask(agent, "GET", path, token="wrong").status == 401
    assert ask(agent, "GET", "/api/v1/status").status == 200
    assert ask(agent, "POST", "/-/barrier").status == 200
    assert [agent.get(path)[0] for path in ("/metrics", "/livez", "/readyz", "/startupz")] == [200] * 4
    agent.stop()


def test_signals_are_posts(operated: Operated) -> None:
    """Any other method is 405 and changes nothing; what no signal is, is 404."""
    agent = operated().start()
    for path in SIGNALS:
        for method in ("PUT", "DELETE", "OPTIONS", *(["GET"] if path != "/-/parked" else [])):
            answer = ask(agent, method, path)
            assert answer.status == 405, (method, path)
            assert "POST" in answer.headers["Allow"]
    assert ask(agent, "POST", "/-/quit").status == 404
    agent.stop()


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("/-/resync", {"group": "h"}, 404, "one of g"),
    ("/-/resync", {"path": "nothing"}, 404, "no directory nothing"),
    ("/-/resync", {"path": "../outside"}, 404, "no directory"),
    ("/-/resync", {"path": "/etc"}, 404, "no directory"),
    ("/-/resync", {"snapshot": "yes"}, 400, "true or false"),
    ("/-/resync", {"snapshot": "true", "path": "x"}, 400, "whole group"),
    ("/-/resync", {"grup": "g"}, 400, "known: group"),
    ("/-/barrier", {"wait_sink": "nobody"}, 404, "one of file"),
    ("/-/barrier", {"timeout": "soon"}, 400, "is no time"),
    ("/-/replay", {}, 400, "from is missing"),
    ("/-/replay", {"from": "x"}, 400, "no number"),
    ("/-/replay", {"from": FAR}, 422, "there is no message"),
    ("/-/replay", {"from": 1, "sink": "nobody"}, 404, "one of file"),
    ("/-/parked", {"action": "keep"}, 400, "retry or drop"),
    ("/-/parked", {"action": "drop", "id": "7"}, 400, "id"),
]


def test_what_cannot_be_is_refused_in_words(operated: Operated) -> None:
    """A name or a value that is none is refused with what it could be."""
    agent = operated().start()
    for path, query, status, words in REFUSED:
        answer = ask(agent, "POST", path, **query)
        assert answer.status == status, (path, query)
        assert words in f"{answer.content['error']} ({answer.content['hint']})"
    agent.stop()


def test_barrier(operated: Operated, trees: Trees, scratch: Path) -> None:
    """What happened before a barrier has a sequence up to its own, and `wait_sink` waits for the sink."""
    agent = operated().start()
    for number in range(300):
        trees.write(f"f{number}")
    passed = ask(agent, "POST", "/-/barrier", group="g", wait_sink="file").content
    there = [event for event in events(scratch / "file.jsonl") if event["type"].endswith("file.written.v1")]
    assert len(there) == 300
    assert {event["id"].split("-")[0] for event in there} == {passed["epoch"]}
    assert all(int(event["id"].split("-")[1]) <= passed["sequence"] for event in there)
    agent.stop()


def test_barrier_that_no_sink_confirms(operated: Operated, scratch: Path) -> None:
    """Where the sink does not confirm in time it is 503, with what is wrong with the sink."""
    away = {**jsonl(scratch), "path": os.fspath(scratch / "nowhere" / "file.jsonl")}
    agent = operated([away], shutdown_timeout="0s").start()
    eventually(lambda: agent.sink("file")["last_error"], what="its sink is away")

    def unconfirmed() -> Answer | None:
        answer = ask(agent, "POST", "/-/barrier", wait_sink="file", timeout="500ms")
        assert answer.status == 503
        return answer if "did not pass" not in answer.content["error"] else None

    answer = eventually(unconfirmed, within=60, what="the barrier itself passes in time")
    assert answer is not None
    assert "has not confirmed" in answer.content["error"]
    assert "nowhere" in answer.content["hint"]
    assert ask(agent, "POST", "/-/barrier").status == 200
    agent.signal(signal.SIGTERM)
    assert agent.ended() == 1


def test_resync(operated: Operated, trees: Trees, scratch: Path) -> None:
    """A resync compares a directory, named as in events or by its absolute path, or everything."""
    (trees.root / "näme").mkdir()
    agent = operated().start()
    for query, scope in (
        ({"path": "näme"}, "näme"),
        ({"path": os.fspath(trees.root / "näme")}, "näme"),
        ({}, ""),
    ):
        eventually(
            lambda: kinds(scratch / "file.jsonl")[-1:] == ["stream.resync_completed"], what="the one before"
        )
        before = len(events(scratch / "file.jsonl"))
        assert ask(agent, "POST", "/-/resync", group="g", **query).status == 202

        def brackets(before: int = before) -> list[dict[str, Any]]:
            new = events(scratch / "file.jsonl")[before:]
            return [event for event in new if "resync" in event["type"]]

        eventually(lambda: len(brackets()) == 2, what="the resync")
        assert [event["data"]["reason"] for event in brackets()] == ["requested"] * 2
        assert brackets()[0]["data"]["scope"] == scope
    agent.stop()


def test_snapshot(operated: Operated, trees: Trees, scratch: Path) -> None:
    """`?snapshot=true` begins a new epoch, with everything that is there in it."""
    trees.write("a")
    agent = operated(state={"dir": os.fspath(scratch / "state")}).start()
    old = agent.group()["epoch"]
    new = ask(agent, "POST", "/-/resync", snapshot="true").content["epoch"]
    assert new > old
    assert agent.group()["epoch"] == new
    ask(agent, "POST", "/-/barrier", wait_sink="file")
    eventually(lambda: kinds(scratch / "file.jsonl")[-1] == "stream.resync_completed", what="the snapshot")
    of_new = [event for event in events(scratch / "file.jsonl") if event["id"].startswith(new)]
    assert [int(event["sequence"].split("-")[1]) for event in of_new] == list(range(1, len(of_new) + 1))
    assert of_new[0]["data"]["new_epoch"] is True
    assert [event["subject"] for event in of_new if "file.created" in event["type"]] == ["a"]
    agent.stop()


def test_reload(operated: Operated, trees: Trees) -> None:
    """`/-/reload` answers when the new configuration is in force, or with all that is wrong with it."""
    agent = operated().start()
    good = json.loads(agent.file.read_text())
    group = good["watch_groups"][0]
    agent.file.write_text(json.dumps({**good, "watch_groups": [{**group, "exclude": ["*.tmp"]}]}))
    assert ask(agent, "POST", "/-/reload").status == 200
    assert agent.status()["config"]["last_reload"]["ok"]
    agent.file.write_text(json.dumps({**good, "htp": {}, "logs": {}}))
    refused = ask(agent, "POST", "/-/reload")
    assert refused.status == 422
    assert "htp" in refused.content["error"]
    assert "logs" in refused.content["error"]
    assert "\n" not in refused.content["error"]
    assert not agent.status()["config"]["last_reload"]["ok"]
    agent.stop()
