"""docker-compose.yml, up: from a file of this machine to the broker, and figures in Prometheus. Opt-in."""

from __future__ import annotations

import base64
import contextlib
import json
import time
import urllib.error
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.agent.consumer import of_kafka
from tests.containers.composition import Composition, images, rendered
from tests.containers.conftest import say
from tests.containers.engine import Engine
from tests.waiting import eventually

pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.usefixtures("image"),
]
_LOGIN = base64.b64encode(b"inotify-bridge:inotify-bridge").decode()


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """The directory in place of ./data."""
    place = tmp_path / "data"
    place.mkdir()
    return place


def provided(engine: Engine, *names: str) -> None:
    """Have the images of some services."""
    services = rendered("*")["services"]
    for words in images(engine, {name: services[name] for name in names}):
        say(words)


def of_queue(composition: Composition) -> list[dict[str, Any]]:
    """The events that lie in RabbitMQ's queue, by its management interface."""
    asked = {"count": 100, "ackmode": "ack_requeue_true", "encoding": "auto"}
    headers = {"Authorization": f"Basic {_LOGIN}", "Content-Type": "application/json"}
    with contextlib.suppress(urllib.error.HTTPError):  # the queue is not made yet
        body = json.dumps(asked).encode()
        found = composition.get("management", "/api/queues/%2F/uploads/get", data=body, headers=headers)
        return [json.loads(message["payload"]) for message in json.loads(found)]
    return []


def told(events: list[dict[str, Any]], subject: str) -> set[str]:
    """Kinds of the events about a path."""
    return {event["type"].split(".")[-2] for event in events if event.get("subject") == subject}


def query(composition: Composition, expression: str) -> list[Any]:
    """What Prometheus has for an expression."""
    found = json.loads(composition.get("prometheus", f"/api/v1/query?{urlencode({'query': expression})}"))
    return list(found["data"]["result"])


def test_rabbitmq_and_monitoring(engine: Engine, watched: Path) -> None:
    """
    A file that is made in the watched directory becomes a message in RabbitMQ; Prometheus scrapes the agent
    and has the rules; a container made anew goes on in the same epoch; SIGTERM ends the agent with 0.
    """
    provided(engine, "rabbitmq", "prometheus")
    with Composition(engine, watched, "rabbitmq", "monitoring") as composition:
        began = time.monotonic()
        composition.up("bridge-rabbitmq", "rabbitmq", "prometheus")
        (watched / "first.csv").write_text("hello")
        eventually(lambda: told(of_queue(composition), "first.csv") >= {"created", "written"}, within=90)
        say(f"rabbitmq and monitoring: {time.monotonic() - began:.1f} s from `up` to the first message")

        assert "inotify_bridge_sink_acked_events_total" in composition.get("bridge", "/metrics")
        assert "uploads" in composition.bridge("bridge-rabbitmq", "status")
        eventually(lambda: query(composition, "inotify_bridge_events_total"), within=90, what="a scrape")
        groups = json.loads(composition.get("prometheus", "/api/v1/rules"))["data"]["groups"]
        assert {Path(group["file"]).name for group in groups} == {"alerts.yml", "recording.yml"}
        assert [
            rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")
        ] == []

        epoch = composition.epoch("bridge-rabbitmq")
        composition.compose("up", "--detach", "--no-build", "--wait", "--force-recreate", "bridge-rabbitmq")
        assert composition.epoch("bridge-rabbitmq") == epoch

        container = composition.compose("ps", "--quiet", "bridge-rabbitmq")
        composition.compose("stop", "bridge-rabbitmq")
        assert engine.inspect(container)["State"]["ExitCode"] == 0


def test_kafka(engine: Engine, watched: Path) -> None:
    """A file that is made in the watched directory becomes a record of the topic, read from this machine."""
    provided(engine, "kafka")
    with Composition(engine, watched, "kafka") as composition:
        began = time.monotonic()
        composition.up("bridge-kafka", "kafka")
        (watched / "first.csv").write_text("hello")
        read = of_kafka(f"localhost:{composition.ports['kafka']}", "inotify-bridge.uploads")
        for event in map(json.loads, read):
            if event.get("subject") == "first.csv" and event["type"].endswith("file.written.v1"):
                break
        say(f"kafka: {time.monotonic() - began:.1f} s from `up` to the first message")
        container = composition.compose("ps", "--quiet", "bridge-kafka")
        composition.compose("stop", "bridge-kafka")
        assert engine.inspect(container)["State"]["ExitCode"] == 0
