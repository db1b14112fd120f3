"""Ending and starting again, with a state directory."""

from __future__ import annotations

import os
import shutil
import signal
from http import HTTPStatus
from pathlib import Path

import pytest

from tests.agent.conftest import Launch
from tests.agent.places import Place
from tests.agent.process import DRAINING
from tests.agent.trees import Trees
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(400)

TOKEN = "of the restart"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL], ids=lambda end: end.name)
def test_changes_while_it_was_down(
    end: signal.Signals, place: Place, trees: Trees, launch: Launch, scratch: Path
) -> None:
    """
    What changed while the agent was down arrives after its start, found by a resync, in the same epoch and
    numbering; what had arrived does not come again, except what a killed agent could not note as delivered.
    """
    http = {"listen": "127.0.0.1:0", "admin_token": TOKEN}
    agent = launch([place.sink()], state={"dir": os.fspath(scratch / "state")}, http=http).start()
    trees.write("kept", "changed", "removed", "directory/below")
    # Until then something of it may come, and be numbered, at the end of this life.
    code, answer = agent.post("/-/barrier?wait_sink=sink&timeout=50s", TOKEN)
    assert code == HTTPStatus.OK, answer
    sequence = agent.group()["sequence"]
    agent.signal(end)
    assert agent.ended() == (0 if end is signal.SIGTERM else -end)
    sequence += end is signal.SIGTERM  # stream.stopped
    trees.write("new", "changed", "other/new", text="something longer")
    (trees.root / "removed").unlink()
    shutil.rmtree(trees.root / "directory")
    agent.start()
    agent.stop()
    arrivals = place.consumed(stops=2 if end is signal.SIGTERM else 1)
    arrivals.assert_true(trees.root, digests=2)
    (epoch,) = {one.position[0] for one in arrivals.all}
    later = arrivals.after(epoch, sequence)
    assert later.kinds()[0] == "stream.started"
    assert later.kinds()[-1] == "stream.stopped"
    assert {one.event["data"]["origin"] for one in later.fresh if "file" in one.event["data"]} == {"resync"}
    assert sorted(later.paths("file.created")) == ["new", "other/new"]
    assert sorted(later.paths("file.written")) == ["changed", "new", "other/new"]
    assert sorted(later.paths("file.deleted")) == ["directory/below", "removed"]
    assert later.paths("directory.created") == ["other"]
    assert later.paths("directory.deleted") == ["directory"]
    if end is signal.SIGTERM:
        assert arrivals.repeats == 0


def test_killed_under_load(place: Place, trees: Trees, launch: Launch, scratch: Path) -> None:
    """Killed three times in storms: one epoch, dense, nothing missing, and the replay is the disk."""
    agent = launch([place.sink()], state={"dir": os.fspath(scratch / "state")}, **DRAINING).start()
    for life in range(3):
        before = agent.group()["sequence"]
        with trees.storming(f"storm-{life}", rate=500):
            eventually(lambda: agent.group()["sequence"] > before + 300, within=60, what="some events")  # noqa: B023
            agent.kill()
            agent.start(ready=False)
            started = life + 2
            eventually(lambda: agent.log.count("stream.started") == started, within=90, what="it is back")  # noqa: B023
        eventually(lambda: agent.get("/startupz")[0] == 200, within=90, what="/startupz")
    agent.stop()
    arrivals = place.consumed()
    assert len({one.position[0] for one in arrivals.all}) == 1
    assert arrivals.kinds().count("stream.started") == 4
    arrivals.assert_true(trees.root, digests=1)
