"""The operator's commands, as processes, against a real agent."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.cli.program import Ended, run
from tests.cli.running import Running
from tests.operator.asking import TOKEN, address
from tests.operator.conftest import Operated, jsonl
from tests.operator.test_http import events
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(600)  # each wait has a minute or more, and most tests have several

# Each signal with what it needs, harmless at any agent.
COMMANDS = [
    ["resync", "g"],
    ["resync", "g", "--snapshot"],
    ["replay", "g", "--from", "1"],
    ["parked", "list"],
    ["parked", "retry", "g"],
    ["parked", "drop", "g"],
    ["barrier", "g"],
    ["state", "new-epoch", "g"],
    ["status"],
    ["top", "--count", "1"],
    ["healthcheck"],
]


def over(agent: AgentProcess, scratch: Path, *arguments: str) -> Ended:
    """A command over HTTP with the token."""
    return run(*arguments, "--url", address(agent), "--token-file", os.fspath(scratch / "token"))


def test_every_way_to_the_agent(operated: Operated, scratch: Path) -> None:
    """Each command works by URL and token, by the admin socket, and by the configuration file alone."""
    agent = operated(state={"dir": os.fspath(scratch / "state"), "retain": "1h"}).start()
    ways = (
        ["--url", address(agent), "--token-file", os.fspath(scratch / "token")],
        ["--url", f"unix:{scratch}/admin.sock"],
        ["-c", os.fspath(agent.file)],
    )
    eventually(lambda: agent.delivered("file"), what="the snapshot is delivered")
    for number, arguments in enumerate(COMMANDS):
        eventually(lambda: agent.group()["sequence"], what="the epoch has begun")
        ended = run(*arguments, *ways[number % 3])
        assert (ended.code, ended.err) == (0, ""), (arguments, ways[number % 3])
        assert ended.out
    agent.stop()


def test_the_file_has_address_and_token(operated: Operated, scratch: Path) -> None:
    """
    Without an admin socket `-c` takes address and token, also where other parts of the file need an
    environment that is not here; the command line goes first, and a port that is free has no address.
    """
    agent = operated(http={"listen": "127.0.0.1:0", "admin_token": TOKEN}).start()
    config = json.loads(agent.file.read_text())
    config["http"]["listen"] = address(agent).removeprefix("http://")
    config["sinks"][0]["path"] = "${NOT_HERE}"
    file = scratch / "other.yaml"
    file.write_text(json.dumps(config))
    assert run("barrier", "g", "-c", str(file)).code == 0
    assert run("barrier", "g", "-c", str(file), INOTIFY_BRIDGE_URL="http://127.0.0.1:1").code == 0
    assert run("barrier", "g", "-c", str(file), "--url", "http://127.0.0.1:1").code == 69
    assert run("barrier", "g", "-c", str(file), "--url", address(agent)).code == 0
    assert run("barrier", "g", INOTIFY_BRIDGE_CONFIG=str(file)).code == 0
    elsewhere = run("barrier", "g", "--url", address(agent), INOTIFY_BRIDGE_CONFIG=str(file))
    assert "a token is needed" in elsewhere.err  # the file's does not go wherever the command line says
    nameless = run("barrier", "g", "-c", os.fspath(agent.file))
    assert (nameless.code, "port 0" in nameless.err) == (2, True)
    agent.stop()


@pytest.mark.parametrize("arguments", [*COMMANDS, ["tap"]], ids=" ".join)
def test_no_agent(arguments: list[str]) -> None:
    """Where no agent answers it is exit code 69 and one line with the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        ended = run(*arguments, "--url", url)
    assert (ended.code, ended.out) == (69, "")
    assert re.fullmatch(rf"inotify-bridge: error: no agent answers at {url}: .* \(.*\)\n", ended.err)


def test_refusals(operated: Operated, scratch: Path) -> None:
    """What the agent refuses is exit code 1, what is not to be had now 69, wrong usage 2; one line each."""
    away = {**jsonl(scratch), "path": os.fspath(scratch / "nowhere" / "file.jsonl")}
    agent = operated([away], shutdown_timeout="0s").start()
    for arguments, code, words in (
        (["barrier", "h"], 1, "one of g"),
        (["barrier", "g", "--timeout", "soon"], 2, "is no time"),
        (["resync", "g", "nothing"], 1, "no directory nothing"),
        (["replay", "g", "--from", "1000000"], 1, "there is no message 1000000"),
        (["replay", "g"], 2, "--from"),
        (["parked", "drop", "g", "--sink", "x"], 1, "one of file"),
        (["parked", "drop", "g", "--id", "x"], 1, "id"),
        (["tap", "h"], 1, "one of g"),
    ):
        ended = over(agent, scratch, *arguments)
        assert (ended.code, ended.out) == (code, ""), arguments
        assert words in ended.err
        assert ended.err.count("\n") == 1

    def unconfirmed() -> Ended | None:
        ended = over(agent, scratch, "barrier", "g", "--wait-sink", "file", "--timeout", "200ms")
        assert (ended.code, ended.out, ended.err.count("\n")) == (69, "", 1)
        return ended if "did not pass" not in ended.err else None

    late = eventually(unconfirmed, within=60, what="the barrier itself passes in time")
    assert late is not None
    assert "has not confirmed" in late.err
    refused = run("barrier", "g", "--url", address(agent))
    assert refused.code == 1
    assert "a token is needed" in refused.err
    agent.signal(signal.SIGTERM)
    agent.ended()


def test_new_epochs(operated: Operated, scratch: Path) -> None:
    """`resync --snapshot` and `state new-epoch` print the new epoch, each higher than the one before."""
    agent = operated(state={"dir": os.fspath(scratch / "state")}).start()
    epochs = [agent.group()["epoch"]]
    for arguments in (["resync", "g", "--snapshot"], ["state", "new-epoch", "g"]):
        ended = over(agent, scratch, *arguments)
        epochs.append(ended.out.removeprefix("new epoch ").strip())
        assert agent.group()["epoch"] == epochs[-1]
    assert epochs == sorted(set(epochs))
    agent.stop()


def test_a_new_epoch_offline(operated: Operated, trees: Trees, scratch: Path) -> None:
    """
    `state new-epoch --offline` is refused while the agent runs; when it is stopped the next start begins the
    epoch that was printed, with everything.
    """
    trees.write("a")
    agent = operated(state={"dir": os.fspath(scratch / "state")}).start()
    first = agent.group()["epoch"]
    mint = ["state", "new-epoch", "g", "--offline", "-c", os.fspath(agent.file)]
    refused = run(*mint)
    assert (refused.code, "is in use by process" in refused.err) == (69, True)
    agent.stop()
    minted = run(*mint)
    assert (minted.code, minted.err) == (0, "")
    epoch = minted.out.removeprefix("new epoch ").strip()
    assert epoch > first
    agent.start()
    assert agent.group()["epoch"] == epoch
    assert over(agent, scratch, "barrier", "g", "--wait-sink", "file").code == 0
    lines = [json.loads(line) for line in (scratch / "file.jsonl").read_bytes().splitlines()]
    snapshot = [line for line in lines if line["id"].startswith(epoch)]
    assert snapshot[0]["data"]["new_epoch"] is True
    assert "a" in {line.get("subject") for line in snapshot}
    agent.stop()
    for arguments, code in ((["state", "new-epoch", "g", "--offline"], 2), ([*mint[:2], "h", *mint[3:]], 2)):
        assert run(*arguments).code == code


def test_replay(operated: Operated, trees: Trees, scratch: Path) -> None:
    """Events that `state.retain` keeps are sent again from the sequence on, and nothing before it."""
    agent = operated(state={"dir": os.fspath(scratch / "state"), "retain": "1h"}).start()
    trees.files("some", 20)
    assert over(agent, scratch, "barrier", "g", "--wait-sink", "file").code == 0
    file = scratch / "file.jsonl"
    ids = [event["id"] for event in events(file)]
    assert over(agent, scratch, "replay", "g", "--from", "10", "--sink", "file").code == 0
    eventually(lambda: len(events(file)) == 2 * len(ids) - 9, what="the events again")
    again = [event["id"] for event in events(file)]
    assert again == ids + ids[9:]
    agent.stop()


def test_parked(operated: Operated, trees: Trees, scratch: Path) -> None:
    """
    A parked message is listed with its path; a retry publishes the present state of the path and takes it off
    the list, a drop forgets it and counts it.
    """
    small = {"name": "small", "type": "memory", "max_message_bytes": 1500}
    agent = operated([small, jsonl(scratch)], state={"dir": os.fspath(scratch / "state")}).start()
    for name in "ab":
        (trees.root / name).symlink_to("x" * 2000)
    eventually(lambda: agent.sink("small")["parked"] == 2, what="messages are parked")
    assert over(agent, scratch, "barrier", "g", "--wait-sink", "small").code == 0
    listed = json.loads(over(agent, scratch, "parked", "list", "g", "--json").out)
    assert {(one["path"], one["type"]) for one in listed} == {("a", "file.created"), ("b", "file.created")}
    assert {(one["group"], one["sink"], one["reason"]) for one in listed} == {("g", "small", "too_large")}
    shown = over(agent, scratch, "parked", "list").out.splitlines()
    assert len(shown) == 3
    first = next(one for one in listed if one["path"] == "a")
    assert over(agent, scratch, "parked", "drop", "g", "--id", first["id"]).out == "1 dropped\n"
    assert agent.metric("events_dropped_total") == 1
    (trees.root / "b").unlink()
    (trees.root / "b").symlink_to("short")
    assert over(agent, scratch, "barrier", "g", "--wait-sink", "small").code == 0
    before = agent.group()["sequence"]
    assert over(agent, scratch, "parked", "retry", "g", "--sink", "small").out == "1 published anew\n"
    assert agent.group()["sequence"] > before
    assert over(agent, scratch, "parked", "list").out == "Nothing is parked.\n"
    agent.stop()


def test_tap(operated: Operated, trees: Trees, tmp_path: Path, scratch: Path) -> None:
    """`tap` prints events as they come and ends after `--limit`; an agent that stops ends it with 1."""
    agent = operated().start()
    with (
        Running("tap", "g", "--limit", "4", "--url", address(agent), directory=tmp_path) as limited,
        Running("tap", "-c", agent.file, directory=tmp_path) as endless,
    ):

        def both() -> bool:
            trees.write("beat")
            return bool(limited.out) and bool(endless.out)

        eventually(both, within=60, what="both listen", poll=0.2)

        def more() -> bool:
            trees.write("beat")
            return limited.process.poll() is not None

        eventually(more, within=60, what="its end", poll=0.2)
        ended = limited.ended()
        assert (ended.code, ended.err) == (0, "")
        assert len(limited.told()) == 4
        trees.write("last")
        endless.wait_for_event("file.written", "last")
        agent.stop()
        assert endless.ended().code == 1
        assert "the agent has stopped" in endless.err


def test_top(operated: Operated, trees: Trees, tmp_path: Path) -> None:
    """`top` shows the figures again and again, with events a second, until it is interrupted, with 0."""
    agent = operated().start()
    with Running("top", "-c", agent.file, "--interval", "0.1", directory=tmp_path) as child:

        def fast() -> object:
            trees.write("beat")
            return re.search(r"g +file +[1-9]\d* +\d+ +\d+\n", child.out)

        child.wait_for(fast, "a rate")
        ended = child.end(signal.SIGINT)
        assert (ended.code, ended.err) == (0, "")
        assert "\x1b" not in ended.out
    agent.stop()
