"""A canary that stands in a wrong place of a configuration, or of a command line, is not repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from inotify_bridge.cli.connection import connection
from inotify_bridge.config import inspect
from inotify_bridge.errors import UsageError

GROUP = "watch_groups:\n  - {name: g, paths: [/tmp], sinks: [s]}\n"
SECTIONS = [
    "http: CANARY",
    "http: [CANARY]",
    'http: {listen: "u:CANARY@h:1"}',
    'http: {admin_token: "${CANARY}x"}',
    '"admin_token: CANARY": 1',
    'http: {listen: "u:CANARY"}',
    'http: {listen: "u CANARY"}',
    'events: {host: "u:CANARY"}',
    "state: {dir: !CANARY x}",
]
RABBITMQ = [
    'url: "amqp:/u:CANARY@h"',
    'url: "u:CANARY@h:5672"',
    'url: "${NOPE:-amqp:/u:CANARY@h}"',
    'url: "amqp://u@h:CANARY/"',
    'url: "amqp://u@h/?pass=CANARY"',
    'url: "amqp://u@h/a/CANARY"',
    "url: CANARY",
    "tls: CANARY",
    "password: !CANARY",
    "password: !CANARY x",
    "password: *CANARY",
    "&CANARY password: &CANARY x",
    "!CANARY!x password: x",
    'password: "ab${CANARY x}"',
    'password: "ab${CANARY}"',
    '"password:CANARY"',
    '"password=CANARY": 1',
    'sasl: "PLAIN:u:CANARY"',
]
KAFKA = [
    'sasl: "PLAIN:u:CANARY"',
    "sasl: {mechanism: CANARY}",
    'bootstrap_servers: "u:CANARY@h"',
    'bootstrap_servers: ["u:CANARY@h:9092"]',
    'bootstrap_servers: ["u:CANARY"]',
    'bootstrap_servers: ["h:9092", "SASL_SSL://u:CANARY"]',
    'bootstrap_servers: "u:CANARY"',
    'bootstrap_servers: {u: "h:CANARY"}',
    'bootstrap_servers: [["u:CANARY"]]',
]
SQL = [
    'table: t, url: "postgresql://u:CANARY@h:port/db"',
    'table: t, url: "postgresql://u:CANARY@h/a/b"',
    'table: t, url: "postgresql://u:CANARY@h"',
    'table: t, url: "postgres://u:CANARY@h/db"',
    'table: t, url: "postgresql+psycopg://u:CANARY@h/db"',
    'table: t, url: "postgresql://u@h/db?password=CANARY"',
    'table: t, url: "postgresql:/u:CANARY@h/db"',
    'table: t, url: "u:CANARY@h/db"',
    'table: t, url: "sqlite://u:CANARY@h"',
    'table: t, url: "postgresql://u:CANARY@h/db", password_file: /x',
    'url: "postgresql://u:CANARY@h/db"',
    "table: t, password: [CANARY]",
    "table: t, tls: CANARY",
    "table: t, columns: CANARY",
    "table: t, columns: {a: {path: data.x, pasword: CANARY}}",
]
WRONG = [
    "CANARY",
    "watch_groups: CANARY\nsinks: CANARY\n",
    "watch_groups: [CANARY]\nsinks: [CANARY]\n",
    *(f"{GROUP}sinks:\n  - {{name: s, type: stdout}}\n{section}\n" for section in SECTIONS),
    *(f"{GROUP}sinks:\n  - {{name: s, type: rabbitmq, {option}}}\n" for option in RABBITMQ),
    *(f"{GROUP}sinks:\n  - {{name: s, type: kafka, {option}}}\n" for option in KAFKA),
    *(f"{GROUP}sinks:\n  - {{name: s, type: sql, {option}}}\n" for option in SQL),
]


@pytest.mark.parametrize("text", WRONG)
def test_a_value_in_a_wrong_place_is_not_shown(tmp_path: Path, text: str) -> None:
    """Whatever is wrong with what may be a secret, the problems say where and what, without it."""
    file = tmp_path / "config.yaml"
    file.write_text(text)
    problems = inspect(file, {}).problems
    assert problems
    said = "\n".join(map(str, [*problems, *inspect(file, None).problems]))
    assert "CANARY" not in said, said


def test_the_name_of_a_variable_is_shown(tmp_path: Path) -> None:
    """A secret that is one reference to the environment: the variable that is missing is named."""
    file = tmp_path / "config.yaml"
    file.write_text(f"{GROUP}sinks:\n  - {{name: s, type: rabbitmq, url: '${{BROKER_URL}}'}}\n")
    assert "variable BROKER_URL is not defined" in str(inspect(file, {}).problems[0])


@pytest.mark.parametrize(
    "url", ["http://u:CANARY@127.0.0.1:1", "http://u:CANARY", "http://h/?CANARY", "CANARY"]
)
def test_an_address_is_not_repeated(url: str) -> None:
    """What is no address of an agent is refused without being repeated; one with a user is none."""
    with pytest.raises(UsageError, match="no address") as refused:
        connection(url, 1.0)
    assert "CANARY" not in f"{refused.value} {refused.value.hint}"
