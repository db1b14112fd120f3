"""From the type of a sink to its class."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from inotify_bridge.errors import ConfigError
from inotify_bridge.sinks import registry
from inotify_bridge.sinks.memory import MemorySink

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """Entry points of other packages, as their metadata would give them: to be filled in."""
    found: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda **wanted: EntryPoints(found).select(**wanted))
    return found


def test_built_in_types_match_the_package() -> None:
    """What resolves without metadata is what the package declares as entry points."""
    declared = tomllib.loads(PROJECT.read_text())["project"]["entry-points"][registry.ENTRY_POINT_GROUP]
    assert declared == registry._BUILT_IN


@pytest.mark.parametrize("name", sorted(registry._BUILT_IN))
def test_built_in_types_resolve(name: str) -> None:
    """Every built-in type leads to a class with options of its own."""
    assert registry.sink_class(name).Options.model_json_schema()["type"] == "object"


def test_unknown_type_suggests_the_nearest() -> None:
    """A misspelt type is answered with the nearest known one, another one with all."""
    with pytest.raises(ConfigError, match="did you mean 'rabbitmq'") as caught:
        registry.sink_class("rabitmq")
    assert caught.value.exit_code == 78
    with pytest.raises(ConfigError, match="jsonl, kafka, memory, rabbitmq, sql, stdout"):
        registry.sink_class("zzz")


def test_other_packages_bring_sinks(plugin: list[EntryPoint]) -> None:
    """A type that another package declares resolves and is listed; a built-in one cannot be taken over."""
    target = "inotify_bridge.sinks.memory:MemorySink"
    plugin.append(EntryPoint("pigeon", target, registry.ENTRY_POINT_GROUP))
    plugin.append(EntryPoint("stdout", target, registry.ENTRY_POINT_GROUP))
    assert registry.sink_class("pigeon") is MemorySink
    assert registry.sink_class("stdout") is not MemorySink
    assert "pigeon" in registry.sink_types()
    assert registry.sink_types().count("stdout") == 1


def test_missing_driver_names_the_command() -> None:
    """A driver that is not installed is a fault of the configuration, with the command that cures it."""
    program = (
        "import sys\n"
        "sys.modules['confluent_kafka'] = sys.modules['pika'] = None\n"
        "from inotify_bridge.errors import ConfigError\n"
        "from inotify_bridge.sinks.registry import import_driver\n"
        "for name in ('confluent_kafka', 'pika'):\n"
        "    try:\n"
        "        import_driver(name, 'client: confluent')\n"
        "    except ConfigError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert "client: confluent" in done.stdout
    assert "pip install 'inotify-bridge[confluent]'" in done.stdout
    assert "pip install pika" in done.stdout


def test_missing_module_of_a_sink(plugin: list[EntryPoint]) -> None:
    """A sink whose own import fails says what is missing."""
    plugin.append(EntryPoint("pigeon", "no_such_pigeon.sink:Pigeon", registry.ENTRY_POINT_GROUP))
    with pytest.raises(ConfigError, match="sink type 'pigeon' needs the Python module 'no_such_pigeon'"):
        registry.sink_class("pigeon")


def test_drivers_are_imported_by_their_sink_alone() -> None:
    """Listing the types, and using a sink without a driver, imports no driver library."""
    program = (
        "import sys\n"
        "from inotify_bridge.sinks.registry import sink_class, sink_types\n"
        "sink_types(); sink_class('stdout'); sink_class('jsonl'); sink_class('memory')\n"
        "print(sorted({'pika', 'kafka', 'confluent_kafka'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("type_name", "logger"), [("kafka", "kafka"), ("rabbitmq", "pika")])
def test_drivers_log_nothing_unless_asked(type_name: str, logger: str) -> None:
    """A driver's own log is off, and a level that somebody has set before stays."""
    program = (
        "import logging, sys\n"
        "if sys.argv[2]: logging.getLogger(sys.argv[3]).setLevel(sys.argv[2])\n"
        "from inotify_bridge.sinks.registry import sink_class\n"
        "sink_class(sys.argv[1])\n"
        "print(logging.getLevelName(logging.getLogger(sys.argv[3]).level))\n"
    )
    levels = []
    for level in ("", "INFO"):
        command = [sys.executable, "-c", program, type_name, level, logger]
        levels.append(subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip())
    assert levels == ["CRITICAL", "INFO"]


def test_inspection_finds_a_missing_directory(tmp_path: Path) -> None:
    """What a file sink lacks is told without connecting; good places and other types are quiet."""
    options = registry.sink_class("jsonl").Options
    good = options.model_validate({"path": tmp_path / "events.jsonl"})
    assert registry.inspect("jsonl", good) is None
    assert list(tmp_path.iterdir()) == []
    found = registry.inspect("jsonl", options.model_validate({"path": tmp_path / "typo" / "events.jsonl"}))
    assert found is not None
    assert str(tmp_path / "typo") in found.message
    assert found.hint == "make that directory"
    (tmp_path / "file").touch()
    for wrong in (tmp_path, tmp_path / "file" / "events.jsonl"):
        assert registry.inspect("jsonl", options.model_validate({"path": wrong})) is not None
    assert registry.inspect("stdout", registry.sink_class("stdout").Options()) is None
