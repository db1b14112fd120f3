"""A chart, installed as its users do: helm with a file of values, waiting until everything is ready."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cluster.cluster import Cluster, CommandFailed

CHARTS = Path(__file__).parents[2] / "helm"
AGENT_CHART = CHARTS / "inotify-bridge"
SIDECAR_CHART = CHARTS / "inotify-bridge-sidecar"

_WAIT = "120s"

Values = dict[str, Any]


class Release:
    """
    One release; `values` of it stay what they were where a call does not give others.

    Args:
        cluster: where.
        namespace: is there already.
        chart: its directory.
        scratch: takes the files of values.
        name: of the release.
    """

    def __init__(
        self, cluster: Cluster, namespace: str, chart: Path, scratch: Path, name: str = "bridge"
    ) -> None:
        self.name = name
        self._cluster = cluster
        self._namespace = namespace
        self._chart = chart
        self._scratch = scratch
        self._files = 0

    def install(self, values: Values) -> None:
        """``helm install --wait``."""
        self._helm("install", self.name, str(self._chart), "--values", self._file(values), "--wait")

    def upgrade(self, values: Values) -> None:
        """``helm upgrade --wait``, with these values alone."""
        self._helm("upgrade", self.name, str(self._chart), "--values", self._file(values), "--wait")

    def rollback(self) -> None:
        """``helm rollback --wait``, to the revision before."""
        self._helm("rollback", self.name, "--wait")

    def uninstall(self) -> None:
        """``helm uninstall --wait``: returns when the pods are gone."""
        self._helm("uninstall", self.name, "--wait")

    def _helm(self, *arguments: str) -> None:
        try:
            self._cluster.helm(*arguments, "--namespace", self._namespace, "--timeout", _WAIT)
        except CommandFailed as error:
            events = self._cluster.kubectl("get", "events", "--namespace", self._namespace)
            raise CommandFailed(f"{error}\n{events}") from error

    def _file(self, values: Values) -> str:
        self._files += 1
        path = self._scratch / f"{self.name}-{self._files}.json"  # JSON is YAML
        path.write_text(json.dumps(values))
        return str(path)
