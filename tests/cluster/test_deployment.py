"""One agent for a volume claim, with its state on another: what outlives a pod."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent.arrivals import Arrivals
from tests.agent.trees import Trees
from tests.cluster.broker import SECRET, OutsidePlace
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import Figure
from tests.cluster.pods import Pods
from tests.cluster.release import AGENT_CHART, Release, Values
from tests.cluster.volumes import SIZE, claim, make_volume
from tests.containers.conftest import IMAGE
from tests.waiting import eventually

_NEXT_TAG = "next"
_RATE = 400.0


@pytest.fixture
def trees(cluster: Cluster, namespace: str, tmp_path: Path) -> Trees:
    """The volume that is watched, and a directory beside it; the claim's name is ``data``."""
    trees = Trees.made(tmp_path)
    make_volume(cluster, f"{namespace}-data", trees.root)
    (tmp_path / "state").mkdir()
    make_volume(cluster, f"{namespace}-state", tmp_path / "state")
    cluster.apply(claim("data", f"{namespace}-data"), namespace=namespace)
    return trees


@pytest.fixture
def release(cluster: Cluster, namespace: str, tmp_path: Path) -> Release:
    """Not installed yet."""
    return Release(cluster, namespace, AGENT_CHART, tmp_path)


def _values(namespace: str, place: OutsidePlace, **more: object) -> Values:
    return {
        "mode": "deployment",
        "watch": [{"name": "data", "existingClaim": "data"}],
        "config": {
            "watch_groups": [{"name": "g", "paths": ["/watch/data"], "sinks": ["sink"]}],
            "sinks": [place.sink()],
        },
        "secrets": [{"name": SECRET, "secretName": SECRET}],
        "persistence": {
            "type": "claim",
            "claim": {"storageClassName": f"{namespace}-state", "size": SIZE},
        },
        **more,
    }


def _assert_one_epoch(arrivals: Arrivals, starts: int) -> None:
    """So many processes continued one numbering."""
    assert len({one.position[0] for one in arrivals.all}) == 1
    started = [one.event["data"]["new_epoch"] for one in arrivals.fresh if one.kind == "stream.started"]
    assert started == [True] + [False] * (starts - 1)


def test_the_state_outlives_the_pod(
    release: Release, namespace: str, trees: Trees, place: OutsidePlace, pods: Pods, figure: Figure
) -> None:
    """A deleted pod ends with 0 in seconds; the next one goes on, without a hole and without a new epoch."""
    release.install(_values(namespace, place))
    trees.write("before")
    pod = pods.ready()
    with place.consuming(stops=2) as consuming:
        eventually(lambda: "before" in consuming.seen().paths("file.written"), within=60, what="the file")
        ending = pods.delete(pod["metadata"]["name"])["inotify-bridge"]
        trees.write("between", "late/er")
        figure(f"pod deletion: exit code {ending.exit_code} after {ending.seconds:.0f} s")
        assert ending.exit_code == 0
        assert ending.seconds < 15
        after = pods.ready()
        assert after["metadata"]["uid"] != pod["metadata"]["uid"]
        trees.write("after")
        eventually(lambda: "after" in consuming.seen().paths("file.written"), within=60, what="the file")
        release.uninstall()
        arrivals = consuming.finished()
    arrivals.assert_true(trees.root)
    _assert_one_epoch(arrivals, starts=2)
    assert {"between", "late/er"} <= set(arrivals.paths("file.written"))


def test_upgrade_and_rollback_under_load(
    cluster: Cluster,
    release: Release,
    namespace: str,
    trees: Trees,
    place: OutsidePlace,
    figure: Figure,
) -> None:
    """A replica stays true through `helm upgrade` to another image and `helm rollback`, under load."""
    cluster.tag(IMAGE, f"inotify-bridge:{_NEXT_TAG}")
    release.install(_values(namespace, place))
    with place.consuming(stops=3) as consuming:
        with trees.storming("load", "--open", seed=7, rate=_RATE):
            release.upgrade(_values(namespace, place, image={"tag": _NEXT_TAG}))
            release.rollback()
        release.uninstall()
        arrivals = consuming.finished()
    arrivals.assert_true(trees.root, digests=3)
    _assert_one_epoch(arrivals, starts=3)
    figure(
        f"upgrade and rollback under {_RATE:.0f} operations/s: {len(arrivals.fresh)} events, 0 holes, "
        f"0 differences, {arrivals.repeats} repeats"
    )


def test_a_killed_agent_goes_on_under_load(
    cluster: Cluster,
    release: Release,
    namespace: str,
    trees: Trees,
    place: OutsidePlace,
    pods: Pods,
    figure: Figure,
) -> None:
    """Killed while files change and started again, it goes on: no hole, no new epoch, a true replica."""
    release.install(_values(namespace, place))
    (agent,) = pods.ready()["status"]["containerStatuses"]
    with place.consuming() as consuming:
        with trees.storming("load", "--open", seed=8, rate=_RATE):
            eventually(lambda: len(consuming.seen().all) > 1000, within=60, what="a thousand events")
            cluster.kill(agent["containerID"])
            eventually(lambda: _restarts(pods) == 1, within=60, what="the agent runs again", poll=0.2)
        release.uninstall()
        arrivals = consuming.finished()
    arrivals.assert_true(trees.root, digests=2)
    _assert_one_epoch(arrivals, starts=2)
    figure(f"killed under load: {len(arrivals.fresh)} events, 0 holes, {arrivals.repeats} repeats")


def _restarts(pods: Pods) -> int:
    (agent,) = pods.ready()["status"]["containerStatuses"]
    return int(agent["restartCount"])
