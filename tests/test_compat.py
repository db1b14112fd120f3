"""The distributions of compat/: what `import pyinotify` finds, and what pip makes of their metadata."""

from __future__ import annotations

import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.specifiers import SpecifierSet

from tests.cli.running import Running
from tests.interpreters import VERSIONS, Environment

ROOT = Path(__file__).parents[1]
OURS = "import pyinotify, inotify_bridge.pyinotify as ours; print(pyinotify is ours)"
STAND_IN = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "{version}"
dependencies = {dependencies}
"""


class Wheels(NamedTuple):
    """Built from this tree; and the stand-ins `original` and `program`, in a directory as an index."""

    bridge: Path
    compat: Path
    named: Path
    original: Path
    program: Path


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheels:
    """All of them, built without network."""
    pytest.importorskip("hatchling", reason="hatchling is not installed: `make check` installs it")
    place, index = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("index")
    original = stand_in(tmp_path_factory.mktemp("original"), "pyinotify", "0.9.6", [])
    program = stand_in(tmp_path_factory.mktemp("program"), "program", "1", ["pyinotify>=0.9.6"])
    return Wheels(
        bridge=build(ROOT, place),
        compat=build(ROOT / "compat", place),
        named=build(ROOT / "compat" / "as-pyinotify", place),
        original=build(original, index),
        program=build(program, index),
    )


def stand_in(place: Path, name: str, version: str, dependencies: list[str]) -> Path:
    """A project with one module that cannot be imported, as pyinotify 0.9.6 cannot since Python 3.12."""
    text = STAND_IN.format(name=name, version=version, dependencies=dependencies)
    (place / "pyproject.toml").write_text(text)
    (place / f"{name}.py").write_text("import gone_from_the_standard_library\n")
    return place


def build(source: Path, place: Path) -> Path:
    """Build the wheel of a project."""
    before = set(place.iterdir())
    call = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(call, cwd=source, check=True, capture_output=True, timeout=100)
    (made,) = set(place.iterdir()) - before
    return made


@pytest.fixture(scope="module", params=VERSIONS)
def installed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wheels: Wheels
) -> Environment:
    """The bridge and the module, with none of the bridge's dependencies, on each Python that is here."""
    environment = Environment(tmp_path_factory.mktemp("installed") / "venv", request.param)
    environment.unpack(wheels.bridge, wheels.compat)
    return environment


def test_one_module(installed: Environment) -> None:
    """`pyinotify` is the façade's module object: what is assigned to one is seen by the other."""
    assert installed.run(OURS) == "True\n"
    code = "import pyinotify, inotify_bridge.pyinotify as ours; pyinotify.log = 7; print(ours.log)"
    assert installed.run(code) == "7\n"


def test_standard_library_alone(installed: Environment) -> None:
    """The module is imported where nothing but the bridge is installed, and a watch works there."""
    code = (
        "import os, pyinotify\n"
        "manager = pyinotify.WatchManager()\n"
        "print(manager.add_watch('/', pyinotify.IN_CREATE))\n"
        "manager.close()\n"
    )
    assert installed.run(code) == "{'/': 1}\n"


def test_ways_of_importing(installed: Environment) -> None:
    """A star import gives the public names; `from pyinotify import pyinotify` fails as programs expect."""
    names = "print(Notifier.__name__, WatchManager.__name__, IN_CREATE, ALL_EVENTS)"
    assert installed.run(f"from pyinotify import *; {names}") == "Notifier WatchManager 256 4095\n"
    code = (
        "try:\n    from pyinotify import pyinotify\n"
        "except ImportError:\n    import pyinotify\n"
        "print(pyinotify.__version__)"
    )
    assert installed.run(code) == "0.9.6\n"


def test_the_command_line(installed: Environment, tmp_path: Path) -> None:
    """`python -m pyinotify` tells what happens in a directory until Ctrl-C, and ends with 0."""
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    program = [str(installed.python), "-I", "-W", "error", "-m", "pyinotify"]
    with Running("-f", "-e", "IN_CREATE", inbox, directory=tmp_path, program=program) as child:
        child.wait_for(child.watches, "its watch")
        (inbox / "a").touch()
        child.wait_for(lambda: "pathname=" in child.out, "the event")
        ended = child.end(signal.SIGINT)
    assert ended.code == 0
    assert f"maskname=IN_CREATE name=a path={inbox} pathname={inbox}/a" in ended.out


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """An empty one, of the Python that runs the suite."""
    return Environment(tmp_path / "venv", f"{sys.version_info.major}.{sys.version_info.minor}")


def module(environment: Environment) -> str:
    """Whose file `import pyinotify` would find: ``ours``, ``original`` or ``none``."""
    path = environment.packages / "pyinotify.py"
    if not path.exists():
        return "none"
    return "ours" if path.read_bytes() == (ROOT / "compat" / "pyinotify.py").read_bytes() else "original"


def test_the_wheel_named_pyinotify(environment: Environment, wheels: Wheels) -> None:
    """It holds the same module, programs that require pyinotify are content, and upgrades leave it."""
    environment.install(wheels.named, wheels.program)
    assert module(environment) == "ours"
    version = "from importlib.metadata import version; print(version('pyinotify'))"
    assert environment.run(version) == "0.9.6+inotify.bridge\n"
    assert "program" not in environment.pip("check").stdout
    environment.install("--find-links", wheels.original.parent, "--upgrade", "pyinotify>=0.9.6")
    assert module(environment) == "ours"


def test_what_its_version_satisfies() -> None:
    """It satisfies every requirement that 0.9.6 would satisfy, but `===0.9.6`, and no later one."""
    project = tomllib.loads((ROOT / "compat" / "as-pyinotify" / "pyproject.toml").read_text())["project"]
    requirements = (">=0.9.6", "==0.9.6", "~=0.9.6", "<=0.9.6", ">=0.9,<0.9.7", ">0.9.6", "===0.9.6")
    met = [each for each in requirements if SpecifierSet(each).contains(project["version"])]
    assert met == [">=0.9.6", "==0.9.6", "~=0.9.6", "<=0.9.6", ">=0.9,<0.9.7"]


def test_it_takes_the_place_of_the_original(environment: Environment, wheels: Wheels) -> None:
    """Where the original is installed, pip takes it away for the wheel named pyinotify."""
    environment.install(wheels.original)
    assert module(environment) == "original"
    environment.install(wheels.named)
    assert module(environment) == "ours"
    assert len(list(environment.packages.glob("pyinotify-*.dist-info"))) == 1


def test_an_index_that_has_both(environment: Environment, wheels: Wheels) -> None:
    """Of the original and the wheel named pyinotify pip chooses the latter."""
    places = ("--find-links", wheels.named.parent, "--find-links", wheels.original.parent)
    environment.install(*places, "pyinotify>=0.9.6")
    assert module(environment) == "ours"


def test_what_the_module_alone_cannot_do(environment: Environment, wheels: Wheels) -> None:
    """Beside the module alone pip writes the original over it, for a program that requires pyinotify."""
    environment.install(wheels.compat, wheels.program)
    assert module(environment) == "ours"
    assert "program 1 requires pyinotify, which is not installed." in environment.pip("check").stdout
    done = environment.pip("install", "--no-index", "--find-links", wheels.original.parent, "program")
    assert (done.returncode, done.stderr) == (0, "")
    assert module(environment) == "original"


def test_uninstalling_the_original_afterwards(environment: Environment, wheels: Wheels) -> None:
    """Uninstalling the original after the module was installed takes the module away."""
    environment.install(wheels.original)
    environment.install(wheels.compat)
    assert module(environment) == "ours"
    assert environment.pip("uninstall", "-y", "pyinotify").returncode == 0
    assert module(environment) == "none"
