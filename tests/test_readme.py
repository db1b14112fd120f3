"""The README and the documentation: every block of code runs, every table is checked against the program."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, get_args

import click
import jsonschema
import pytest
import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

import inotify_bridge.subscribe
from inotify_bridge.capture.change import TYPE_NAMES, Kind
from inotify_bridge.cli import LazyGroup, group
from inotify_bridge.config.model import Config, WatchGroup
from inotify_bridge.events.event import KINDS
from inotify_bridge.events.schemas import schema
from inotify_bridge.sinks.registry import sink_class, sink_types
from tests.brokers import Broker, KafkaBroker, RabbitmqBroker
from tests.cli.running import Running
from tests.documents import PROGRAM, Block, blocks, commands, environment, matches, run_block, shell

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("compat/*.md")])
LANGUAGES = {"sh", "console", "json", "yaml", "python", ""}
LINES_OF_THE_TOUR = (2, 1, 4, 1)
"""How many of the lines that the tour shows each of its commands gives."""


def of(language: str) -> list[Block]:
    """The README's blocks of one language."""
    return [block for block in blocks(README) if block.language == language]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the README's configurations and an inbox."""
    (tmp_path / "inbox").mkdir()
    for block in of("yaml"):
        (tmp_path / block.text.splitlines()[0].removeprefix("# ")).write_text(block.text)
    return tmp_path


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    """The README has no block that no test here runs or reads."""
    assert {block.language for block in blocks(README)} <= LANGUAGES
    notes = {block.note for block in blocks(README)}
    assert notes <= {"", "goes on", "needs rabbitmq", "needs kafka"}


def test_targets_of_make() -> None:
    """What the README calls with `make` are targets that the Makefile explains."""
    named = re.findall(r"^make (\w+) +# ", "".join(block.text for block in of("sh")), re.MULTILINE)
    assert named == ["run", "test"]
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [name for name in named if f"  make {name} " not in listed] == []


def holds(out: str, lines: list[str]) -> bool:
    """Whether each of the lines is in the output, in any order."""
    return all(any(matches(told, line) for told in out.splitlines()) for line in lines)


def test_the_tour(place: Path) -> None:
    """What `watch` prints of the tour's commands is what the README shows."""
    first, second = (block for block in of("console") if not block.note.startswith("needs"))
    assert first.note == "goes on"
    (watch,) = commands(first)
    shown = ["…" + line.partition("…")[2] for line in watch.printed]  # in whatever year
    program, *arguments = watch.line.split()
    assert program == "inotify-bridge"
    quiet = {"INOTIFY_BRIDGE_LOG_LEVEL": "info"}
    with Running(*arguments, directory=place, program=[str(PROGRAM)], environ=quiet) as child:
        child.wait_for(lambda: "resync completed" in child.err, "its begin")
        for command, count in zip(commands(second), accumulate(LINES_OF_THE_TOUR), strict=True):
            shell(command.line, place)
            # The contents of a new directory are listed while other news come: their order is not the point
            # here. Where they are listed between the open and the close of a file, its close tells of it once
            # more.
            lines = shown[:count]
            child.wait_for(lambda lines=lines: holds(child.out, lines), f"all of {command.line}")  # type: ignore[misc]
        assert lines == shown
        assert child.end(signal.SIGINT).code == 0
        said = child.out.splitlines()
    assert [told for told in said if not any(matches(told, line) for line in shown)] == []


def test_the_event() -> None:
    """The event that the README shows is one by the published schema, and holds what an event holds."""
    (block,) = of("json")
    event = json.loads(block.text)
    jsonschema.validate(event, schema("event"))
    assert inotify_bridge.subscribe.parse(block.text).entry is not None


@pytest.mark.parametrize("block", of("yaml"), ids=lambda block: block.text.splitlines()[0])
def test_configurations(block: Block, place: Path) -> None:
    """Every configuration of the README is valid as it stands, without anything in the environment."""
    name = block.text.splitlines()[0].removeprefix("# ")
    done = subprocess.run(
        [str(PROGRAM), "validate", name],
        cwd=place,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_consumer() -> None:
    """The consumer of the README is the one in the documentation of `inotify_bridge.subscribe`."""
    consumer, _ = of("python")
    text = inotify_bridge.subscribe.__doc__ or ""
    assert [line for line in consumer.text.splitlines() if line.strip() and line not in text] == []


def test_the_consumer_of_a_file(place: Path) -> None:
    """What an agent with the README's recipe wrote is read by the README's call; a lost line is noticed."""
    configuration = place / "journal.yaml"
    configuration.write_text(configuration.read_text() + 'http: {listen: "127.0.0.1:0"}\n')
    (place / "inbox" / "a").write_text("x")
    with Running("run", "-c", configuration, directory=place) as agent:
        agent.wait_for(lambda: "resync completed" in agent.err, "the snapshot")
        (place / "inbox" / "b").mkdir()
        assert agent.end().code == 0
    (place / "consumer.py").write_text("".join(block.text for block in of("python")))
    (said,) = shell(f"{sys.executable} consumer.py", place)
    assert re.fullmatch(r"inotify://.*/uploads has 2 entries", said)
    lines = (place / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (place / "journal.jsonl").write_bytes(b"".join([*lines[:-2], lines[-1]]))
    assert "something is missing: inotify://" in shell(f"{sys.executable} consumer.py", place)[0]


@pytest.mark.rabbitmq
def test_rabbitmq(place: Path, rabbitmq: RabbitmqBroker) -> None:
    """The README's commands for RabbitMQ print what it shows, on a real one."""
    for block in of("console"):
        if block.note == "needs rabbitmq":
            run_block(block, place, RABBITMQ_URL=rabbitmq.url)


@pytest.mark.kafka
def test_kafka(place: Path, kafka: KafkaBroker) -> None:
    """The README's commands for Kafka print what it shows, on a real one."""
    for block in of("console"):
        if block.note == "needs kafka":
            run_block(block, place, KAFKA_SERVER=kafka.address)


@pytest.fixture(
    params=[
        pytest.param("rabbitmq", marks=pytest.mark.rabbitmq),
        pytest.param("kafka", marks=pytest.mark.kafka),
    ]
)
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each of the brokers."""
    found: Broker = request.getfixturevalue(request.param)
    return found


def test_the_consumers_beside_a_running_agent(place: Path, broker: Broker) -> None:
    """The agent with the README's configuration and the example's consumer: its replica is the tree."""
    environ = environment(PYTHONWARNINGS="ignore", PYTHONPATH=str(ROOT))
    if isinstance(broker, RabbitmqBroker):
        name, arguments = "rabbitmq", [broker.url, "uploads"]
        environ["RABBITMQ_URL"] = broker.url
    else:
        name, arguments = "kafka", [broker.address, "inotify-bridge.uploads"]
        environ["KAFKA_SERVER"] = broker.address
    configuration = place / f"{name}.yaml"
    configuration.write_text(configuration.read_text() + 'http: {listen: "127.0.0.1:0"}\n')
    (place / "inbox" / "before").write_text("x")
    with Running("run", "-c", configuration, directory=place, environ=environ) as agent:
        agent.wait_for(lambda: "sink connected" in agent.err, "its connection")
        script = str(ROOT / "examples" / f"consumer_{name}.py")
        with Running(
            *arguments, directory=place, program=[sys.executable, script], environ=environ
        ) as consumer:
            consumer.wait_for(lambda: "stream.resync_completed" in consumer.out, "the snapshot")
            (place / "inbox" / "new").mkdir()
            consumer.wait_for(lambda: "directory.created new (2 entries)" in consumer.out, "the directory")
            (place / "inbox" / "before").rename(place / "inbox" / "new" / "after")
            consumer.wait_for(lambda: "file.moved new/after (2 entries)" in consumer.out, "the move")
            (place / "inbox" / "last").write_text("x")
            consumer.wait_for(lambda: "file.written last (3 entries)" in consumer.out, "the last file")
            assert consumer.end(signal.SIGINT).code == 0
            assert "invalid" not in consumer.out + consumer.err
        assert agent.end().code == 0


# The other documents.


def test_links_lead_somewhere() -> None:
    """Every link of every document to a file of the project leads to one."""
    broken = [
        f"{path.name}: {link}"
        for path in DOCUMENTS
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
        if not (path.parent / link).exists()
    ]
    assert broken == []


def test_commands_that_are_named_exist() -> None:
    """Every `inotify-bridge COMMAND` of a document is a command that there is."""
    from inotify_bridge.cli import COMMANDS

    named = {
        (path.name, word)
        for path in DOCUMENTS
        for word in re.findall(r"[`$] ?inotify-bridge ([a-z][a-z-]*)", path.read_text())
    }
    assert {(name, word) for name, word in named if word not in COMMANDS} == set()


def test_every_command_is_in_the_table() -> None:
    """The README's table has every command that there is, and no other."""
    from inotify_bridge.cli import COMMANDS

    table = re.search(r"^## Commands\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    assert table is not None
    first = re.findall(r"^\| (`[^|]*`) \|", table[1], re.MULTILINE)
    named = {word for cell in first for word in re.findall(r"`([a-z][a-z-]*)", cell)}
    assert named == set(COMMANDS)


def test_what_operators_are_told_to_type() -> None:
    """Every call in the tables of docs/operations.md is one: command, subcommand and options exist."""
    text = (ROOT / "docs" / "operations.md").read_text()
    calls = re.findall(r"^\| `inotify-bridge ([^`]+)` \| (.*) \|$", text, re.MULTILINE)
    assert len(calls) > 8
    for call, told in calls:
        command, words = _resolved(call.split())
        options = {option for parameter in command.params for option in parameter.opts}
        wanted = {word for word in words if word.startswith("--")} | set(re.findall(r"`(--[a-z-]+)", told))
        assert wanted <= options, call


def _resolved(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the first words name, and the words after it."""
    found = LazyGroup().get_command(click.Context(group), words[0])
    assert found is not None
    if isinstance(found, click.Group):
        return found.commands[words[1]], words[2:]
    return found, words[1:]


def test_signals_are_documented() -> None:
    """docs/status.md names every path that the server answers, and every parameter of the signals."""
    text = (ROOT / "docs" / "status.md").read_text()
    source = (ROOT / "inotify_bridge" / "web" / "signals.py").read_text()
    app = (ROOT / "inotify_bridge" / "web" / "app.py").read_text()
    paths = set(re.findall(r'"(/[-a-z0-9/]*)"', source + app))
    assert {path for path in paths if f"`{path}`" not in text} == set()
    parameters = {word for call in re.findall(r"_only\(request, (.*)\)", source) for word in call.split(", ")}
    assert parameters
    assert {word for word in parameters if not re.search(rf"`{word.strip(chr(34))}[=`]", text)} == set()


class Row(NamedTuple):
    """A line of a table of keys: the default as YAML, ``required`` or ``none``."""

    default: str
    meaning: str


def keys(heading: str) -> dict[str, Row]:
    """The table under a heading of docs/configuration.md."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    part = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.DOTALL | re.MULTILINE)
    assert part is not None, heading
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \| (.*?) \|$", part[1], re.MULTILINE)
    return {key: Row(default.strip("`"), meaning) for key, default, meaning in rows}


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key below a model, ``tls.ca_file``, with its field."""
    for name, field in model.model_fields.items():
        key = prefix + str(field.validation_alias or name)
        inner = _section(field.annotation)
        if inner is None:
            yield key, field
        else:
            yield from fields(inner, f"{key}.")


def _section(annotation: Any) -> type[BaseModel] | None:
    """The model of a section, alone or as an alternative to nothing."""
    parts = [annotation, *get_args(annotation)]
    lists = getattr(annotation, "__origin__", None) is tuple
    return next((p for p in parts if isinstance(p, type) and issubclass(p, BaseModel) and not lists), None)


def document_and_model() -> list[tuple[str, type[BaseModel]]]:
    """The headings of docs/configuration.md with the model that each describes."""
    sections = [
        (name, field.annotation) for name, field in Config.model_fields.items() if _section(field.annotation)
    ]
    sinks = [(f"type: {name}", sink_class(name).Options) for name in sink_types()]
    return [("watch_groups", WatchGroup), *sections, *sinks]


@pytest.mark.parametrize(("heading", "model"), document_and_model())
def test_every_key_is_documented(heading: str, model: type[BaseModel]) -> None:
    """docs/configuration.md has every key of every section with its default and a meaning, and no other."""
    rows = keys(heading)
    assert set(rows) == {key for key, _ in fields(model)}
    assert [key for key, row in rows.items() if not row.meaning] == []
    wrong = {
        key: (rows[key].default, field.get_default())
        for key, field in fields(model)
        if not _is_default(rows[key].default, field)
    }
    assert wrong == {}


def _is_default(text: str, field: Any) -> bool:
    if field.is_required() or text == "required":
        return bool(field.is_required()) and text == "required"
    if text == "none" and field.get_default() is None:
        return True
    try:
        value = TypeAdapter(field.rebuild_annotation()).validate_python(yaml.safe_load(text))
    except ValidationError:
        return False
    return bool(value == field.get_default(call_default_factory=True))


def test_top_level_keys_are_documented() -> None:
    """docs/configuration.md has a heading for every section, and the keys that stand alone."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert [name for name in Config.model_fields if f"\n## {name}\n" not in text] == []


def test_every_event_is_documented() -> None:
    """docs/events.md names every kind of event that can be published, and every type of file."""
    text = (ROOT / "docs" / "events.md").read_text()
    named = set(re.findall(r"`((?:file|directory|stream|log)\.[a-z_]+)`", text))
    assert named == KINDS
    assert [name for name in TYPE_NAMES.values() if f"`{name}`" not in text] == []
    assert [kind for kind in get_args(Kind) if kind not in text] == []


def test_the_table_of_operations() -> None:
    """docs/events.md has every row of the table that the suite runs on the real kernel."""
    rows = yaml.safe_load((ROOT / "tests" / "kernel" / "operations.yaml").read_text())
    text = " ".join((ROOT / "docs" / "events.md").read_text().split())
    assert [row["row"] for row in rows if f"| {row['row']} |" not in text] == []


def test_messages_of_the_log_are_explained() -> None:
    """Every message that docs/operations.md explains stands in the source."""
    text = (ROOT / "docs" / "operations.md").read_text()
    explained = re.findall(r"^\| `([^`]+)` \| (?:info|warning|error)", text, re.MULTILINE)
    source = "".join(path.read_text() for path in (ROOT / "inotify_bridge").rglob("*.py"))
    assert len(explained) > 10
    missing = [line for line in explained if not all(part.strip(" :") in source for part in line.split("…"))]
    assert missing == []
