"""A real Prometheus, and what it answers."""

from __future__ import annotations

import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.brokers.ports import free_port
from tests.brokers.server import Server
from tests.waiting import eventually


class Prometheus:
    """
    One server on loopback, which scrapes every second.

    Args:
        directory: for its configuration, its data and its log.
        targets: ``host:port`` by the name of their job.
        rules: a file of recording rules, evaluated every second.
    """

    def __init__(self, directory: Path, targets: dict[str, str], rules: Path) -> None:
        self._port = free_port()
        self._began = time.time()
        self._server = Server("Prometheus", directory / "pid", directory / "log")
        jobs = {**targets, "prometheus": f"127.0.0.1:{self._port}"}
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in jobs.items()
            ],
        }
        self._file = directory / "prometheus.json"
        self._file.write_text(json.dumps(config))  # JSON is YAML
        self._data = directory / "data"

    def start(self) -> None:
        """Start it; returns when it answers."""
        self._server.launch(
            [
                "prometheus",
                f"--config.file={self._file}",
                f"--storage.tsdb.path={self._data}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--log.level=warn",
            ]
        )
        eventually(self._ready, within=60, what="Prometheus answers", poll=0.1)

    def close(self) -> None:
        """End it."""
        self._server.end()

    def now(self, query: str) -> list[dict[str, Any]]:
        """The series of an instant query, each with `metric` and `value`."""
        found = self._get("query", query=query)["result"]
        return [one for one in found if math.isfinite(float(one["value"][1]))]

    def values(self, query: str, *, instant: bool) -> list[tuple[dict[str, str], list[float]]]:
        """Labels and finite values of every series that has any, since the start or for this moment."""
        if instant:
            found = [(one["metric"], [one["value"]]) for one in self.now(query)]
        else:
            asked = {"start": self._began, "end": time.time(), "step": 1}
            found = [
                (one["metric"], one["values"])
                for one in self._get("query_range", query=query, **asked)["result"]
            ]
        numbers = [(labels, [float(value) for _, value in samples]) for labels, samples in found]
        finite = [(labels, list(filter(math.isfinite, of_series))) for labels, of_series in numbers]
        return [(labels, of_series) for labels, of_series in finite if of_series]

    def labels(self, series: str, label: str) -> Sequence[str]:
        """What Grafana's ``label_values(series, label)`` gives."""
        found: Sequence[str] = self._get(f"label/{label}/values", **{"match[]": series})
        return found

    def _get(self, what: str, **parameters: str | float) -> Any:
        asked = f"http://127.0.0.1:{self._port}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def _ready(self) -> bool:
        assert self._server.alive, self._server.log_tail()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/-/ready", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
