"""The agent on every node, for a directory of the node."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.cluster.broker import SECRET, OutsidePlace
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import Figure
from tests.cluster.pods import Pods
from tests.cluster.release import AGENT_CHART, Release, Values
from tests.waiting import eventually

# The kubelet looks after a ConfigMap once in a while; the agent reads it at once.
_CONFIG_SECONDS = 180.0


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    """A directory of the node."""
    directory = tmp_path / "uploads"
    directory.mkdir()
    return directory


@pytest.fixture
def release(cluster: Cluster, namespace: str, tmp_path: Path) -> Release:
    """Not installed yet."""
    return Release(cluster, namespace, AGENT_CHART, tmp_path)


def _values(directory: Path, place: OutsidePlace, **group: object) -> Values:
    return {
        "watch": [{"name": "uploads", "hostPath": str(directory)}],
        "config": {
            "watch_groups": [{"name": "g", "paths": ["/watch/uploads"], "sinks": ["sink"], **group}],
            "sinks": [place.sink()],
        },
        "secrets": [{"name": SECRET, "secretName": SECRET}],
        "persistence": {"type": "hostPath", "hostPath": {"path": str(directory.parent / "state")}},
        "networkPolicy": {"enabled": True},
    }


def test_a_file_of_the_host_arrives_at_the_broker(
    cluster: Cluster, namespace: str, release: Release, uploads: Path, place: OutsidePlace, figure: Figure
) -> None:
    """One `helm install` after nothing, a file that is written on the node is a message of the broker."""
    began = time.monotonic()
    release.install(_values(uploads, place))
    ready = time.monotonic() - began
    with place.consuming() as consuming:
        (uploads / "a.csv").write_text("x")
        eventually(lambda: "a.csv" in consuming.seen().paths("file.written"), within=60, what="the file")
        figure(
            f"DaemonSet: 1 command, ready after {ready:.1f} s, message after {time.monotonic() - began:.1f} s"
        )
        assert consuming.seen().paths("file.written", "kernel") == ["a.csv"]
        command = (
            "exec",
            "--namespace",
            namespace,
            "daemonset/bridge-inotify-bridge",
            "--",
            "inotify-bridge",
        )
        last = cluster.kubectl(*command, "barrier", "g", "--wait-sink", "sink").strip()
        assert consuming.seen().all[-1].event["id"] == last
        release.uninstall()
        arrivals = consuming.finished()
    arrivals.assert_true(uploads)
    assert arrivals.kinds()[-1] == "stream.stopped"


def test_a_changed_configuration_is_reloaded_by_the_running_pod(
    release: Release, uploads: Path, place: OutsidePlace, pods: Pods, figure: Figure
) -> None:
    """`helm upgrade` with another filter is followed without a restart: what left is published as deleted."""
    (uploads / "a.tmp").write_text("x")
    release.install(_values(uploads, place))
    pod = pods.ready()
    with place.consuming() as consuming:
        eventually(lambda: "a.tmp" in consuming.seen().paths("file.written"), within=60, what="the snapshot")
        release.upgrade(_values(uploads, place, exclude=["*.tmp"]))
        began = time.monotonic()
        eventually(
            lambda: "a.tmp" in consuming.seen().paths("file.deleted", "resync"),
            within=_CONFIG_SECONDS,
            what="the reload",
        )
        figure(f"ConfigMap: followed {time.monotonic() - began:.0f} s after helm upgrade")
        now = pods.ready()
        assert now["metadata"]["uid"] == pod["metadata"]["uid"]
        assert [one["restartCount"] for one in now["status"]["containerStatuses"]] == [0]
        (uploads / "b.tmp").write_text("x")
        (uploads / "b.csv").write_text("x")
        release.uninstall()
        arrivals = consuming.finished()
    assert arrivals.paths("file.written", "kernel") == ["b.csv"]
    arrivals.assert_dense()
    assert len({one.position[0] for one in arrivals.all}) == 1
