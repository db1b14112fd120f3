"""The agent in the pod of an application, which writes to a volume that both see."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.agent.arrivals import Arrivals
from tests.cluster.broker import SECRET, OutsidePlace
from tests.cluster.cluster import Cluster, CommandFailed
from tests.cluster.conftest import Figure
from tests.cluster.pods import Pods
from tests.cluster.release import AGENT_CHART, SIDECAR_CHART, Release, Values
from tests.containers.conftest import IMAGE
from tests.waiting import eventually

APPLICATION = Path(__file__).parent / "application"


@pytest.fixture
def application(cluster: Cluster, namespace: str, tmp_path: Path) -> Release:
    """An application's own chart, with the library in it as ``helm dependency update`` puts it there."""
    chart = tmp_path / "application"
    shutil.copytree(APPLICATION, chart)
    shutil.copytree(SIDECAR_CHART, chart / "charts" / SIDECAR_CHART.name)
    return Release(cluster, namespace, chart, tmp_path, "application")


def _config(place: OutsidePlace) -> Values:
    return {
        "watch_groups": [{"name": "g", "paths": ["/watch"], "sinks": ["sink"]}],
        "sinks": [place.sink()],
    }


def _assert_all_of_it(arrivals: Arrivals) -> None:
    """Nothing of the application was early or late for the agent."""
    arrivals.assert_dense()
    assert arrivals.paths("file.written", "kernel") == ["first-200", "last"]
    assert arrivals.kinds()[-1] == "stream.stopped"


def test_the_application_waits_for_the_watches(
    application: Release, place: OutsidePlace, pods: Pods, figure: Figure
) -> None:
    """It starts after `/startupz` passed, its first file and the one that it writes while it ends arrive."""
    sidecar = {"config": _config(place), "secrets": [{"name": SECRET, "secretName": SECRET}]}
    application.install({"image": IMAGE, "inotify-bridge-sidecar": sidecar})
    pods.ready()
    with place.consuming() as consuming:
        eventually(lambda: consuming.seen().paths("file.written"), within=60, what="the first file")
        endings = pods.delete("application")
        arrivals = consuming.finished()
    figure(f"native sidecar: ended {endings['inotify-bridge'].seconds:.0f} s after the deletion of the pod")
    assert {name: ending.exit_code for name, ending in endings.items()} == {
        "application": 0,
        "inotify-bridge": 0,
    }
    _assert_all_of_it(arrivals)


def _restricted_pod(labels: dict[str, str]) -> dict[str, Any]:
    """A pod as the level `restricted` wants it, with nothing of the agent in it."""
    program = (APPLICATION / "application.py").read_text()
    hardened = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "application", "labels": labels},
        "spec": {
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10002,
                "fsGroup": 10002,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "application",
                    "image": IMAGE,
                    "command": ["python", "-c", program],
                    "securityContext": hardened,
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                }
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }


@pytest.fixture
def restricted(cluster: Cluster, namespace: str) -> str:
    """The namespace, at the level `restricted` of PodSecurity."""
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    return namespace


def test_a_label_gives_a_restricted_pod_its_sidecar(
    cluster: Cluster, restricted: str, place: OutsidePlace, pods: Pods, tmp_path: Path
) -> None:
    """A labelled pod of a namespace under PodSecurity `restricted` gets the sidecar, another one does not."""
    injector = Release(cluster, restricted, AGENT_CHART, tmp_path)
    injection = {
        "enabled": True,
        "namespaces": [restricted],
        "config": _config(place),
        "secrets": [{"name": SECRET, "secretName": SECRET}],
    }
    injector.install({"injection": injection})
    with pytest.raises(CommandFailed, match="restricted"):  # it is enforced
        cluster.apply(_unhardened(), namespace=restricted)
    eventually(lambda: _injected(cluster, restricted), within=60, what="the policy is followed", poll=0.5)
    cluster.apply(_restricted_pod({"inotify-bridge/inject": "true"}), namespace=restricted)
    with place.consuming() as consuming:
        eventually(lambda: consuming.seen().paths("file.written"), within=120, what="the first file")
        endings = pods.delete("application")
        arrivals = consuming.finished()
    injector.uninstall()
    assert {name: ending.exit_code for name, ending in endings.items()} == {
        "application": 0,
        "inotify-bridge": 0,
    }
    _assert_all_of_it(arrivals)


def _unhardened() -> dict[str, Any]:
    pod = _restricted_pod({})
    del pod["spec"]["containers"][0]["securityContext"]
    return pod


def _injected(cluster: Cluster, namespace: str) -> bool:
    """Whether a labelled pod would get the sidecar now, and one without the label would not."""
    with_it, without = (
        cluster.would_be(_restricted_pod(labels), namespace)["spec"].get("initContainers", [])
        for labels in ({"inotify-bridge/inject": "true"}, {})
    )
    assert without == []
    return [container["name"] for container in with_it] == ["inotify-bridge"]
