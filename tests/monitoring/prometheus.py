"""A real Prometheus: Debian's, on loopback, with a directory of its own."""

from __future__ import annotations

import http
import json
import math
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import pytest

from tests.brokers.ports import free_port
from tests.monitoring.rules import PREFIX
from tests.waiting import eventually

START_SECONDS = 60.0


def program(name: str) -> str:
    """Path of ``prometheus`` or ``promtool``; skips where a developer has none, fails in CI."""
    found = shutil.which(name)
    if found is None:
        reason = f"{name} (Debian: prometheus) is not installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class Prometheus:
    """
    Scrapes every two seconds and evaluates every second. For a `with` statement.

    Args:
        directory: for its files; empty.
        rules: text of its rules.
    """

    def __init__(self, directory: Path, rules: str) -> None:
        self._directory = directory
        self._began = time.time()
        self._url = f"http://127.0.0.1:{free_port()}"
        self._targets = directory / "targets.json"
        self.scrape({})
        (directory / "rules.yml").write_text(rules)
        config = {
            # A scrape that is late is none: on a machine at its limit one may take more than a second.
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [
                {"job_name": "inotify-bridge", "file_sd_configs": [{"files": ["targets.json"]}]}
            ],
        }
        (directory / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML

    def scrape(self, targets: Mapping[str, str]) -> None:
        """From now on scrape these: name of the instance to ``HOST:PORT``."""
        listed = [{"targets": [address], "labels": {"instance": name}} for name, address in targets.items()]
        new = self._targets.with_suffix(".new")
        new.write_text(json.dumps(listed))
        new.replace(self._targets)

    def firing(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        """Every alert that fires now: its name without the project's, its labels without the severity."""
        return {
            (
                alert["labels"]["alertname"].removeprefix(PREFIX),
                frozenset(one for one in alert["labels"].items() if one[0] not in ("alertname", "severity")),
            )
            for alert in self._ask("alerts")["alerts"]
            if alert["state"] == "firing"
        }

    @property
    def address(self) -> str:
        """Where it listens, and tells its own metrics: ``HOST:PORT``."""
        return self._url.removeprefix("http://")

    def values(self, expr: str, *, instant: bool = False) -> list[tuple[dict[str, str], list[float]]]:
        """Labels and finite values of every series that has any: since the start, or of this moment."""
        found = (
            [(one["metric"], [one["value"]]) for one in self.query(expr)] if instant else self._history(expr)
        )
        numbers = [(labels, [float(value) for _, value in samples]) for labels, samples in found]
        finite = [(labels, list(filter(math.isfinite, of_series))) for labels, of_series in numbers]
        return [(labels, of_series) for labels, of_series in finite if of_series]

    def _history(self, expr: str) -> list[tuple[dict[str, str], list[tuple[float, str]]]]:
        asked = {"query": expr, "start": self._began, "end": time.time(), "step": 1}
        return [
            (one["metric"], one["values"]) for one in self._ask("query_range?" + urlencode(asked))["result"]
        ]

    def labels(self, series: str, label: str) -> list[str]:
        """The values of a label of these series."""
        found: list[str] = self._ask(f"label/{label}/values?" + urlencode({"match[]": series}))
        return found

    def query(self, expr: str) -> list[Any]:
        """What an expression gives now."""
        result: list[Any] = self._ask("query?" + urlencode({"query": expr}))["result"]
        return result

    def _ask(self, what: str) -> Any:
        try:
            with urllib.request.urlopen(f"{self._url}/api/v1/{what}", timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code != http.HTTPStatus.BAD_REQUEST:
                raise  # it does not answer yet
            with error:
                raise AssertionError(f"{what}: {error.read().decode()}") from error

    def _ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            self._ask("alerts")
        except OSError:
            return False
        return True

    def __enter__(self) -> Self:
        self._log = self._directory / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={self._directory}/prometheus.yml",
                    f"--storage.tsdb.path={self._directory}/data",
                    f"--web.listen-address={self.address}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            eventually(self._ready, within=START_SECONDS, what="Prometheus answers", poll=0.1)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill it: nothing of it is needed any more."""
        self._process.kill()
        self._process.wait()
