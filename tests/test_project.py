"""What holds for the source as a whole: who may import whom, how long files grow, what the locks cover."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "inotify_bridge"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = sorted(PACKAGE.rglob("*.py"))
ALL_SOURCES = [
    path
    for part in ("inotify_bridge", "tests", "benchmarks", "compat", "monitoring")
    for path in (ROOT / part).rglob("*.py")
]

# Who may import what of the project; the longest matching name counts. What stands here under no name is part
# of the map (agent, cli and what they are made of) and may see everything.
IMPORT_RULE = {
    "errors": (),
    "units": ("errors",),
    "numerals": (),
    "durable": (),
    "mounted": (),
    "log": (),
    "systemd": (),
    "tap": ("sinks.base",),
    "relays": ("outbox.relay",),
    "capture": ("capture", "mounted", "errors"),
    "events": ("events", "capture", "errors"),
    "lines": ("lines", "capture", "events", "numerals", "errors"),
    "outbox": ("outbox", "durable", "mounted", "capture.index", "capture.change", "capture.port", "errors"),
    "outbox.relay": ("outbox", "sinks.base", "errors"),
    "outbox.relay_ports": ("outbox", "sinks.base"),
    "sinks": ("sinks", "durable", "numerals", "errors", "units"),
    "subscribe": ("subscribe", "events", "errors"),
    "pyinotify": ("pyinotify", "capture.inotify", "capture.constants"),
    "metrics": ("metrics", "metric_series", "capture.constants", "events.event", "sinks.base", "errors"),
    "metric_series": ("metric_series",),
    "config": (
        "config",
        "capture.change",
        "capture.filters",
        "lines",
        "outbox.directory",
        "sinks.base",
        "sinks.registry",
        "log",
        "errors",
        "units",
    ),
    "web": ("web", "tap", "log", "errors", "units"),
}
# The parts that know all others: nothing below them knows them.
MAP = (
    "agent",
    "operator_signals",
    "reload",
    "group",
    "wiring",
    "epochs",
    "threads",
    "signalled",
    "recorder",
    "books",
    "desk",
    "notices",
    "status",
    "findings",
    "cli",
    "doctor",
    "web",
)
DRIVERS = {
    "pika": "sinks.rabbitmq",
    "kafka": "sinks.kafka",
    "confluent_kafka": "sinks.kafka",
    "sqlalchemy": "sinks.sql",
    "psycopg": "sinks.sql",
    "pymysql": "sinks.sql",
}
FORBIDDEN_NAMES = {"utils", "helpers", "common", "manager"}
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 50
MAX_MEDIAN_FUNCTION_LINES = 12


def dotted(path: Path) -> str:
    """``inotify_bridge/capture/tree.py`` as ``capture.tree``, a package as its own name."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere, by its full name; of ``from a import b`` also ``a.b``."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> set[str]:
    """What a file imports of the project, without the package's name; its version is free to all."""
    own = {name.partition(".")[2] for name in imports(path) if name.partition(".")[0] == "inotify_bridge"}
    return own - {"__version__"}


def below(name: str, part: str) -> bool:
    """Whether a module is `part` or stands in it."""
    return name == part or name.startswith(f"{part}.")


@pytest.mark.parametrize("path", SOURCES, ids=dotted)
def test_import_rule(path: Path) -> None:
    """A module imports of the project what the rule allows it, and nothing below the map knows the map."""
    module = dotted(path)
    rules = [part for part in IMPORT_RULE if below(module, part)]
    if rules:
        allowed = IMPORT_RULE[max(rules, key=len)]
        wrong = {name for name in own_imports(path) if not any(below(name, part) for part in allowed)}
        assert not wrong, f"{module} may import {allowed} only"
    if module and not any(below(module, part) for part in (*MAP, "__main__")):
        assert not {name for name in own_imports(path) if any(below(name, part) for part in MAP)}


@pytest.mark.parametrize("path", sorted((PACKAGE / "sinks").glob("*.py")), ids=dotted)
def test_sinks_share_the_contract_alone(path: Path) -> None:
    """A sink imports no other sink: besides the contract and the registry only modules of its own name."""
    own = path.stem.partition("_")[0]
    others = {name.split(".")[1] for name in own_imports(path) if name.startswith("sinks.")}
    others -= {other for other in others if not (PACKAGE / "sinks" / f"{other}.py").exists()}
    assert {other for other in others if other.partition("_")[0] not in {own, "base", "registry"}} == set()


@pytest.mark.parametrize("path", SOURCES, ids=dotted)
def test_drivers_stay_in_their_sinks(path: Path) -> None:
    """A broker's client library is imported by the modules of its sink only."""
    for name in imports(path):
        home = DRIVERS.get(name.partition(".")[0])
        assert home is None or dotted(path).startswith(home), f"{dotted(path)} imports {name}"


def test_capture_needs_no_third_party_but_patterns() -> None:
    """The capture runs on the standard library and pathspec, and needs no broker library installed."""
    third_party = {
        name.partition(".")[0] for path in (PACKAGE / "capture").glob("*.py") for name in imports(path)
    }
    assert third_party - set(sys.stdlib_module_names) <= {"inotify_bridge", "pathspec"}


@pytest.mark.parametrize("module", ["inotify_bridge", "inotify_bridge.capture", "inotify_bridge.cli"])
def test_drivers_load_late(module: str) -> None:
    """Starting the program loads no broker library: only the sink that is configured does."""
    code = f"import sys, {module}; print(*({set(DRIVERS)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_files_are_short() -> None:
    """No source file reaches the limit of lines."""
    lengths = {str(path.relative_to(ROOT)): len(path.read_bytes().splitlines()) for path in ALL_SOURCES}
    assert {path: lines for path, lines in lengths.items() if lines >= MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    """No function of the package is over the limit, and half of them are far below it."""
    lengths = {
        f"{dotted(path)}.{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}
    assert statistics.median(lengths.values()) <= MAX_MEDIAN_FUNCTION_LINES


def test_names_say_something() -> None:
    """No module or folder is called by a name under which anything could be put."""
    names = [path.relative_to(ROOT).with_suffix("") for path in ALL_SOURCES]
    assert [name for name in names if FORBIDDEN_NAMES & set(name.parts)] == []


def test_every_module_says_what_it_is() -> None:
    """Every module with code in it begins with a docstring."""
    silent = [
        str(path.relative_to(ROOT))
        for path in ALL_SOURCES
        if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_bytes()))
    ]
    assert silent == []


def locked(name: str) -> dict[str, str]:
    """Package to version of a lock file; every package must carry a hash."""
    blocks = re.split(r"\n(?=\S)", (ROOT / name).read_text())
    packages = [block for block in blocks if re.match(r"[\w.-]+==", block)]
    assert all("--hash=sha256:" in block for block in packages)
    return {
        match[1]: match[2]
        for match in (re.match(r"([\w.-]+)==([^\s;]+)", block) for block in packages)
        if match
    }


def wanted(project: dict[str, Any], extra: str) -> Iterator[Requirement]:
    """What an extra asks for, with the extras of the project that it takes in."""
    for requirement in map(Requirement, project["optional-dependencies"][extra]):
        if requirement.name != project["name"]:
            yield requirement
        for other in requirement.extras if requirement.name == project["name"] else ():
            yield from wanted(project, other)


@pytest.mark.parametrize(
    ("lock", "extra"),
    [("requirements.lock", ""), ("requirements-dev.lock", "dev"), ("requirements-image.lock", "all")],
)
def test_locks_cover_the_project(lock: str, extra: str) -> None:
    """Every dependency that pyproject.toml names is locked, in a version it allows."""
    project = PYPROJECT["project"]
    versions = locked(lock)
    for requirement in (
        *map(Requirement, project["dependencies"]),
        *(wanted(project, extra) if extra else ()),
    ):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def test_the_lock_of_the_build_covers_it() -> None:
    """What the image is built with is locked, in a version that pyproject.toml allows."""
    versions = locked("requirements-build.lock")
    for requirement in map(Requirement, PYPROJECT["build-system"]["requires"]):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-image.lock"])
def test_the_suite_runs_what_is_shipped(lock: str) -> None:
    """The suite's lock holds every package of the agent's lock, and of the image's, in the same version."""
    assert locked(lock).items() <= locked("requirements-dev.lock").items()
