"""Pods of a namespace: which there are, how they are, how their containers ended."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NamedTuple

from tests.cluster.cluster import Cluster
from tests.waiting import eventually

_POD_SECONDS = 120.0
# Keeps the object of a deleted pod, with the exit codes in it, until it has been read.
_FINALIZER = "inotify-bridge.test/read-it-first"


class Ending(NamedTuple):
    """
    How a container of a deleted pod ended.

    Args:
        exit_code: 137 is SIGKILL, after the grace.
        seconds: from the deletion to its end, in whole seconds as Kubernetes counts.
    """

    exit_code: int
    seconds: float


class Pods:
    """
    The pods of one namespace.

    Args:
        cluster: where.
        namespace: its name.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    def only(self) -> dict[str, Any]:
        """The one pod that is not being deleted; waits for it."""

        def found() -> list[dict[str, Any]]:
            listed = self._cluster.get("pods", "--namespace", self._namespace)["items"]
            living = [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]
            return living if len(living) == 1 else []

        return eventually(found, within=_POD_SECONDS, what=f"one pod in {self._namespace}", poll=0.2)[0]

    def ready(self) -> dict[str, Any]:
        """The one pod, when it is ready."""

        def found() -> dict[str, Any]:
            pod = self.only()
            conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
            return pod if conditions.get("Ready") == "True" else {}

        return eventually(found, within=_POD_SECONDS, what=f"a ready pod in {self._namespace}", poll=0.2)

    def log(self, name: str, container: str = "") -> str:
        """What a container has printed."""
        chosen = ["--container", container] if container else []
        return self._cluster.kubectl("logs", "--namespace", self._namespace, name, *chosen)

    def delete(self, name: str) -> dict[str, Ending]:
        """Delete a pod as ``kubectl delete pod`` does; how each of its containers ended, by name."""
        self._patch(name, [_FINALIZER])
        self._cluster.kubectl("delete", "pod", "--namespace", self._namespace, name, "--wait=false")
        pod = eventually(
            lambda: self._ended(name), within=_POD_SECONDS, what=f"the containers of {name} ended", poll=0.2
        )
        self._patch(name, [])
        return {status["name"]: _ending(pod, status) for status in _statuses(pod)}

    def _ended(self, name: str) -> dict[str, Any]:
        pod: dict[str, Any] = self._cluster.get("pod", "--namespace", self._namespace, name)
        return pod if all("terminated" in status["state"] for status in _statuses(pod)) else {}

    def _patch(self, name: str, finalizers: list[str]) -> None:
        patch = json.dumps({"metadata": {"finalizers": finalizers}})
        self._cluster.kubectl(
            *("patch", "pod", "--namespace", self._namespace, name, "--type=merge", "--patch", patch)
        )


def _statuses(pod: dict[str, Any]) -> list[dict[str, Any]]:
    status = pod["status"]
    return [*status.get("initContainerStatuses", []), *status["containerStatuses"]]


def _ending(pod: dict[str, Any], status: dict[str, Any]) -> Ending:
    ended = status["state"]["terminated"]
    # deletionTimestamp is the time at which the grace is over.
    grace = pod["metadata"]["deletionGracePeriodSeconds"]
    since = _time(ended["finishedAt"]) - _time(pod["metadata"]["deletionTimestamp"])
    return Ending(ended["exitCode"], since + grace)


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
