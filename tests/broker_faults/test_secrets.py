"""A canary stands in every place where a secret can stand: it is seen nowhere else."""

from __future__ import annotations

import base64
import http.client
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from inotify_bridge.config import load
from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.brokers import KafkaBroker, PostgresqlServer, RabbitmqBroker
from tests.conftest import BrokerFactory
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(600)

CANARY = "yellow-bird"  # which stands in no name of a test, and so in no path
RIGHT = f"{CANARY}-right"
WRONG = f"{CANARY}-wrong"
USER = "keeper"


def _in_base64(skip: int) -> str:
    """The canary as it looks in base64, behind so many bytes of something else: SASL PLAIN, HTTP."""
    encoded = base64.b64encode(b"x" * skip + CANARY.encode()).decode()
    return encoded[(0, 2, 3)[skip] : (skip + len(CANARY)) * 8 // 6]


SEEN = re.compile("|".join([CANARY, *map(_in_base64, range(3))]), re.IGNORECASE)


@pytest.fixture
def queue(rabbitmq: RabbitmqBroker) -> Iterator[dict[str, Any]]:
    """A sink of RabbitMQ without its password, which is the right canary."""
    rabbitmq.ctl("add_user", USER, RIGHT)
    rabbitmq.ctl("set_permissions", USER, ".*", ".*", ".*")
    name = f"secrets-{os.getpid()}"
    url = f"amqp://{USER}@{rabbitmq.address}/%2F"
    yield {"type": "rabbitmq", "url": url, "exchange": name, "queue": name}
    rabbitmq.ctl("delete_user", USER)
    rabbitmq.ctl("delete_queue", name)


@pytest.fixture
def stream(own_kafka: BrokerFactory[KafkaBroker]) -> dict[str, Any]:
    """A sink of Kafka without its SASL section, for the user with the right canary."""
    broker = own_kafka(security="SASL_PLAINTEXT", users={USER: RIGHT})
    broker.create_topic("secrets")
    return {
        "type": "kafka",
        "bootstrap_servers": [broker.address],
        "topic": "secrets",
        "connect_timeout": "5s",
    }


@pytest.fixture
def table(own_postgresql: BrokerFactory[PostgresqlServer]) -> dict[str, Any]:
    """A sink of PostgreSQL without its password, which is the right canary."""
    server = own_postgresql(user=USER, password=RIGHT)
    return {"type": "sql", "url": f"postgresql://{USER}@{server.address}/postgres", "table": "events"}


def sasl(mechanism: str = "PLAIN", **secret: str) -> dict[str, Any]:
    return {"sasl": {"mechanism": mechanism, "username": USER, **secret}}


@pytest.mark.rabbitmq
@pytest.mark.kafka
@pytest.mark.postgresql
def test_canary(
    queue: dict[str, Any],
    stream: dict[str, Any],
    table: dict[str, Any],
    trees: Trees,
    launch: Callable[..., AgentProcess],
    tmp_path: Path,
) -> None:
    """No secret is in logs, tracebacks, answers, metrics, command lines, `repr`s or what commands print."""
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text(RIGHT)
    wrong.write_text(WRONG)
    delivering = sinks_with_it(queue, stream, table, right)
    failing = sinks_that_fail(queue, stream, table, wrong)
    sinks = [{"name": name, **options} for name, options in {**delivering, **failing}.items()]
    agent = launch(
        sinks,
        log={"level": "debug"},
        http={"listen": "127.0.0.1:0", "admin_token": f"{CANARY}-token"},
    )
    agent.patch = "tests.broker_faults.breaking:connecting"
    agent.environment["CANARY_SECRET"] = RIGHT
    agent.start()
    trees.files("quiet", 3)
    for name in delivering:
        eventually(partial(agent.delivered, name), within=120, what=f"delivery to {name}", poll=0.1)
    for name in failing:
        failed = partial(agent.metric, "sink_errors_total", sink=name)
        eventually(failed, within=120, what=f"failure of {name}", poll=0.1)
    assert signalled(agent, f"{CANARY}-token") < 300
    assert signalled(agent, f"{CANARY}-guess") in (401, 403)
    assert SEEN.search(agent.file.read_text()), "there was nothing to find"
    seen = shown(agent, ("q-url", "t-url", *failing))
    assert "broken on purpose" in agent.log, "there was no traceback to look at"
    agent.signal(signal.SIGTERM)
    agent.ended()
    seen["log"] = agent.log
    assert {place: SEEN.findall(text) for place, text in seen.items() if SEEN.search(text)} == {}


def sinks_with_it(
    queue: dict[str, Any], stream: dict[str, Any], table: dict[str, Any], right: Path
) -> dict[str, dict[str, Any]]:
    """Sinks that are given the right secret, in every way there is, by name."""
    return {
        "q-file": {**queue, "password_file": str(right)},
        "q-option": {**queue, "password": RIGHT},
        "q-env": {**queue, "password": "${CANARY_SECRET}"},
        "q-url": {**queue, "url": with_password(queue)},
        "s-file": {**stream, **sasl(password_file=str(right))},
        "s-env": {**stream, **sasl("SCRAM-SHA-256", password="${CANARY_SECRET}")},
        "s-librdkafka": {**stream, **sasl(password=RIGHT), "client": "confluent"},
        "t-file": {**table, "table": "t_file", "password_file": str(right)},
        "t-env": {**table, "table": "t_env", "password": "${CANARY_SECRET}"},
        "t-url": {**table, "table": "t_url", "url": with_password(table)},
    }


def sinks_that_fail(
    queue: dict[str, Any], stream: dict[str, Any], table: dict[str, Any], wrong: Path
) -> dict[str, dict[str, Any]]:
    """Sinks that are given a wrong secret, or fail with the right one, by name."""
    return {
        "f-file": {**queue, "password_file": str(wrong)},
        "f-url": {**queue, "url": with_password(queue, WRONG)},
        "f-sasl": {**stream, **sasl("SCRAM-SHA-256", password=WRONG)},
        "f-librdkafka": {**stream, **sasl(password=WRONG), "client": "confluent"},
        "f-table": {**table, "url": with_password(table, WRONG)},
        "f-column": {**table, "url": with_password(table), "table": "pg_catalog.pg_class"},
        "broken": {**queue, "url": with_password(queue)},
    }


def with_password(sink: dict[str, Any], password: str = RIGHT) -> str:
    """The address of a sink, with a password in it."""
    url: str = sink["url"]
    return url.replace(USER, f"{USER}:{password}")


def shown(agent: AgentProcess, probed: Iterable[str]) -> dict[str, str]:
    """What a running agent, and the commands about its configuration, show of it, by the place."""
    seen = {page: agent.get(page)[1] for page in ("/", "/metrics", "/api/v1/status")}
    seen["command line"] = Path(f"/proc/{agent.pid}/cmdline").read_text()
    seen |= {f"test-sink {name}": said(agent, "test-sink", name, "-c") for name in probed}
    seen["doctor"] = said(agent, "doctor", "-c")
    seen["validate"] = said(agent, "validate")
    seen["log of the broken"] = agent.log
    config = load(agent.file, {"CANARY_SECRET": RIGHT})
    seen |= {f"repr {one.name}": f"{one!r} {one} {one.options!r} {one.options}" for one in config.sinks}
    seen["repr"] = f"{config!r} {config} {config.model_dump()}"
    return seen


@pytest.mark.parametrize(
    "options",
    [
        '{type: rabbitmq, url: "amqp://u:yellow-bird@host:port/"}',
        '{type: rabbitmq, url: "amqp://u:yellow-bird@host/a/b"}',
        '{type: rabbitmq, url: "http://u:yellow-bird@host"}',
        '{type: rabbitmq, url: "amqp://u:yellow-bird@host?heartbeat=1"}',
        '{type: sql, table: t, url: "postgresql://u:yellow-bird@host:port/db"}',
        '{type: sql, table: t, url: "postgresql://u@host/db?password=yellow-bird"}',
        '{type: sql, table: t, uri: "postgresql://u:yellow-bird@host/db"}',
        '{type: sql, url: "postgresql://u:yellow-bird@host/db"}',
        '{type: rabbitmq, url: "amqp://u:yellow-bird@host", password: yellow-bird}',
        '{type: rabbitmq, url: ["amqp://u:yellow-bird@host"]}',
        '{type: rabbitmq, url: "amqp://u@host", password: [yellow-bird]}',
        '{type: rabbitmq, url: "amqp://u@host", pasword: yellow-bird}',
        '{type: rabbitmq, uri: "amqp://u:yellow-bird@host"}',
        '{type: rabbitmq, url: "amqp://u@host", password: yellow-bird, password_file: /run/secret}',
        "{type: kafka, bootstrap_servers: [h], sasl: {mechanism: PLAIN, password: [yellow-bird]}}",
        "{type: kafka, bootstrap_servers: [h], sasl: {mechanism: PLAIN, username: u, pasword: yellow-bird}}",
        "{type: kafka, bootstrap_servers: [h], sasl: {mechanism: PLAN, username: u, password: yellow-bird}}",
        '{type: kafka, bootstrap_servers: ["u:yellow-bird@h:9092"]}',
        '{type: rabbitmq, url: "amqp://u@host", password: "yellow-bird}',
    ],
)
def test_canary_in_a_wrong_configuration(tmp_path: Path, options: str) -> None:
    """Errors of a configuration show no secret, also where it stands in a wrong place."""
    file = tmp_path / "config.yaml"
    file.write_text(
        "watch_groups:\n  - {name: g, paths: [/tmp], sinks: [s]}\n"
        f"sinks:\n  - {{name: s, {options[1:]}\n"
        "http: {admin_tokn: yellow-bird}\n"
    )
    done = command("validate", str(file))
    assert done.returncode == 78
    assert str(file) in done.stderr + done.stdout
    assert not SEEN.search(done.stderr + done.stdout), done.stderr + done.stdout


def signalled(agent: AgentProcess, token: str) -> int:
    """The status code of a resync asked for with a token."""
    connection = http.client.HTTPConnection("127.0.0.1", agent._port(), timeout=60)
    try:
        headers = {"Authorization": f"Bearer {token}"}
        connection.request("POST", "/-/resync?group=g", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def said(agent: AgentProcess, *arguments: str) -> str:
    """What a command prints about the agent's configuration, its last argument; whatever its exit code."""
    done = command(*arguments, str(agent.file), CANARY_SECRET=RIGHT)
    return f"{done.args[:-1]} {done.stdout} {done.stderr}"


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "inotify_bridge", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
