"""The image, built and run: what is in it, as whom it runs, what it sees, how it ends. Opt-in."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pika
import pytest

from inotify_bridge import __version__
from tests.brokers import RabbitmqBroker
from tests.brokers.ports import free_port
from tests.containers.conftest import say
from tests.containers.container import STATE, Container, configured
from tests.containers.engine import HARDENED, Engine
from tests.containers.filetree import OURS, digest, entries
from tests.waiting import eventually

WRITE = """
import os, sys
path, text = sys.argv[1:]
with open(path + ".part", "w") as file:
    file.write(text)
os.rename(path + ".part", path)
"""
NONE = "--network=none"
SOCKET = "/run/inotify-bridge/admin.sock"


pytestmark = pytest.mark.timeout(1800)  # the first test of a session builds the image


def stdout_config(**others: Any) -> dict[str, Any]:
    """A group on /watch whose events go to standard output."""
    return {
        "watch_groups": [{"name": "g", "paths": ["/watch"], "sinks": ["print"]}],
        "sinks": [{"name": "print", "type": "stdout"}],
        "log": {"format": "json"},
        **others,
    }


@pytest.fixture
def volume(engine: Engine) -> str:
    """An empty volume that containers may share; the next start of the engine removes it."""
    return engine.docker("volume", "create")


def write(engine: Engine, image: str, mount: str, path: str) -> None:
    """Another container writes a file, under another name at first, and renames it."""
    writer = ("--rm", "--user=0", NONE, f"--volume={mount}", "--entrypoint=python", image, "-c", WRITE)
    engine.docker("run", *writer, path, "hello")


def subjects(container: Container, kind: str) -> list[str]:
    """Of the events of one kind that it has printed."""
    wanted = f"io.inotify-bridge.file.{kind}.v1"
    return [event["subject"] for event in container.events() if event["type"] == wanted]


def test_same_sources_same_files(engine: Engine, image: str) -> None:
    """Two builds that share no cache have the same files: content, mode, owner, and the times of ours."""
    found = []
    for tag in ("inotify-bridge:first", "inotify-bridge:second"):
        engine.build(tag, "--no-cache")
        with engine.exported(tag) as tree:
            found.append(entries(tree))
        engine.docker("rmi", tag)
    assert set(found[0]) ^ set(found[1]) == set()
    ours = [entry for entry in found[0] if entry.path.startswith(OURS)]
    assert len({entry.modified for entry in ours}) == 1
    say(f"{len(found[0])} files, digest {digest(found[0])}, twice")


def test_says_what_it_is(engine: Engine, image: str) -> None:
    """Label, user, port, command and health check are those that documentation and charts rely on."""
    config = engine.inspect(image)["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["inotify-bridge"]
    assert config["Cmd"] == ["run"]
    assert list(config["ExposedPorts"]) == ["10477/tcp"]
    assert config["Healthcheck"]["Test"] == ["CMD", "inotify-bridge", "healthcheck"]
    assert config["Labels"]["org.opencontainers.image.version"] == __version__


def test_nothing_of_it_can_be_written_by_its_user(engine: Engine, image: str) -> None:
    """Of what the build adds, only the state directory is the user's; no file can be written by others."""
    with engine.exported(image) as tree:
        ours = [entry for entry in entries(tree) if entry.path.startswith(OURS)]
    assert [entry.path for entry in ours if entry.owner == 10001] == ["var/lib/inotify-bridge"]
    assert [entry.path for entry in ours if entry.kind != b"2" and entry.mode & 0o022] == []


@pytest.mark.parametrize("sink", ["jsonl", "rabbitmq", "kafka", "sql"])
def test_has_every_sink(engine: Engine, image: str, sink: str) -> None:
    """Every type of sink can be used in the image, those that need a client library too."""
    assert engine.docker("run", "--rm", NONE, "--read-only", image, "sinks", sink)


def test_clients_load(engine: Engine, image: str) -> None:
    """The client libraries of the extras load, with the parts of them that are compiled."""
    modules = "confluent_kafka, kafka, pika, psycopg, re2, sqlalchemy"
    engine.docker("run", "--rm", NONE, "--read-only", "--entrypoint=python", image, "-c", f"import {modules}")


def admin() -> list[str]:
    """Options that give the agent a place for its admin socket, and commands in the container its address."""
    return [
        "--tmpfs=/run/inotify-bridge:uid=10001,gid=10001,mode=0700",
        f"--env=INOTIFY_BRIDGE_URL=unix:{SOCKET}",
        "--health-interval=1s",
    ]


def test_one_sees_what_another_writes(
    engine: Engine, image: str, volume: str, rabbitmq: RabbitmqBroker, tmp_path: Path
) -> None:
    """
    What one container writes to a shared volume arrives at a real broker by another, which may only read it
    and has neither root, a capability nor a file system of its own to write to; SIGTERM ends it in order.
    """
    queue = f"q{time.monotonic_ns()}"
    config = {
        "watch_groups": [{"name": "g", "paths": ["/watch"], "sinks": ["orders"]}],
        "sinks": [
            {"name": "orders", "type": "rabbitmq", "url": rabbitmq.url, "exchange": queue, "queue": queue}
        ],
        "state": {"dir": STATE},
        "http": {"listen": f"127.0.0.1:{free_port()}", "admin_socket": SOCKET},
        "events": {"host": "test"},
    }
    mounts = [f"--volume={volume}:/watch:ro", f"--volume={STATE}", *configured(tmp_path / "etc", config)]
    with Container(engine, image, ["--network=host", *mounts, *admin()]) as watcher:
        watcher.becomes("healthy")
        process = watcher.process()
        assert process["Uid"].split() == ["10001"] * 4
        assert (int(process["CapEff"], 16), int(process["CapBnd"], 16), process["NoNewPrivs"]) == (0, 0, "1")
        write(engine, image, f"{volume}:/data", "/data/order.csv")
        watcher.exec("barrier", "g", "--wait-sink", "orders")
        began = time.monotonic()
        assert watcher.stop() == 0
        say(f"SIGTERM to its first process: exit code 0 after {time.monotonic() - began:.1f} s")
    kinds = [kind for kind, subject in received(rabbitmq, queue) if subject == "order.csv"]
    assert kinds == ["file.moved"]


def received(rabbitmq: RabbitmqBroker, queue: str) -> list[tuple[str, str]]:
    """Kind and subject of every event of a queue, up to the end of the stream."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url))
    found: list[tuple[str, str]] = []
    for _, _, body in connection.channel().consume(queue, auto_ack=True, inactivity_timeout=30):
        assert body is not None, f"the stream does not end: {found}"
        event = json.loads(body)
        kind = event["type"].removeprefix("io.inotify-bridge.").removesuffix(".v1")
        found.append((kind, event.get("subject", "")))
        if kind == "stream.stopped":
            break
    connection.close()
    return found


@pytest.mark.parametrize("kind", [(), ("--opt=type=tmpfs", "--opt=device=tmpfs")], ids=["disk", "tmpfs"])
def test_sees_volumes_only(engine: Engine, image: str, kind: tuple[str, ...], tmp_path: Path) -> None:
    """
    A volume on disk or on tmpfs is seen; a path that is on none is another file in each container, and not.
    """
    volume = engine.docker("volume", "create", *kind)
    config = stdout_config()
    config["watch_groups"][0]["paths"] = ["/watch", "/var/tmp"]
    with Container(
        engine, image, [NONE, f"--volume={volume}:/watch:ro", *configured(tmp_path / "etc", config)]
    ) as watcher:
        watcher.becomes("healthy")
        write(engine, image, f"{volume}:/data", "/var/tmp/hidden")
        write(engine, image, f"{volume}:/data", "/data/shown")
        eventually(lambda: subjects(watcher, "moved"), what="an event")
        assert subjects(watcher, "moved") == ["watch/shown"]
        assert [name for name in subjects(watcher, "created") if "hidden" in name] == []


def test_needs_no_volume_of_its_own(engine: Engine, image: str, volume: str, tmp_path: Path) -> None:
    """Without a state directory and any place to write to the agent runs: its state is in memory."""
    mounts = [f"--volume={volume}:/watch:ro", *configured(tmp_path / "etc", stdout_config())]
    with Container(engine, image, [NONE, *mounts]) as watcher:
        watcher.becomes("healthy")
        write(engine, image, f"{volume}:/data", "/data/a")
        eventually(lambda: subjects(watcher, "moved") == ["a"], what="the event")
        assert watcher.stop() == 0


def test_a_new_container_goes_on(engine: Engine, image: str, volume: str, tmp_path: Path) -> None:
    """A container that takes over the state volume goes on in the same epoch, where the last one ended."""
    state = engine.docker("volume", "create")
    config = stdout_config(state={"dir": STATE}, events={"host": "test"})
    mounts = [
        f"--volume={volume}:/watch:ro",
        f"--volume={state}:{STATE}",
        *configured(tmp_path / "etc", config),
    ]
    sequences = []
    for _ in range(2):
        with Container(engine, image, [NONE, *mounts]) as watcher:
            watcher.becomes("healthy")
            assert watcher.stop() == 0
            sequences += [event["sequence"] for event in watcher.events()]
    epochs = {sequence.partition("-")[0] for sequence in sequences}
    assert len(epochs) == 1
    assert [int(sequence.partition("-")[2]) for sequence in sequences] == list(range(1, len(sequences) + 1))


def test_one_container_for_a_state_volume(engine: Engine, image: str, volume: str, tmp_path: Path) -> None:
    """A second container on the state volume of one that runs ends with 69, and says why."""
    state = engine.docker("volume", "create")
    config = stdout_config(state={"dir": STATE}, events={"host": "test"})
    mounts = [
        f"--volume={volume}:/watch:ro",
        f"--volume={state}:{STATE}",
        *configured(tmp_path / "etc", config),
    ]
    with Container(engine, image, [NONE, *mounts]) as first:
        first.becomes("healthy")
        with Container(engine, image, [NONE, *mounts]) as second:
            eventually(lambda: second.state["Status"] == "exited", within=60, what="its end")
            assert second.state["ExitCode"] == 69
        assert first.stop() == 0


def test_reloads_what_was_replaced(engine: Engine, image: str, volume: str, tmp_path: Path) -> None:
    """Of a folder that is mounted, a configuration that was replaced by a rename is what SIGHUP reads."""
    http = {"admin_socket": SOCKET}
    mounts = [f"--volume={volume}:/watch:ro", *configured(tmp_path / "etc", stdout_config(http=http))]
    with Container(engine, image, [NONE, *mounts, *admin()]) as watcher:
        watcher.becomes("healthy")
        another = stdout_config(http=http, log={"level": "warning"})
        (tmp_path / "etc" / "new").write_text(json.dumps(another))
        (tmp_path / "etc" / "new").rename(tmp_path / "etc" / "config.yaml")
        watcher.signal("HUP")
        reloaded = eventually(
            lambda: json.loads(watcher.exec("status", "--json"))["config"]["last_reload"], what="a reload"
        )
        assert reloaded["ok"]
        assert watcher.stop() == 0


def test_the_health_check_notices(engine: Engine, image: str, volume: str, tmp_path: Path) -> None:
    """An agent that answers no more is unhealthy, and healthy again when it goes on."""
    mounts = [f"--volume={volume}:/watch:ro", *configured(tmp_path / "etc", stdout_config())]
    quick = ["--health-interval=1s", "--health-timeout=2s", "--health-retries=1"]
    with Container(engine, image, [NONE, *quick, *mounts]) as watcher:
        watcher.becomes("healthy")
        watcher.signal("STOP")
        watcher.becomes("unhealthy")
        watcher.signal("CONT")
        watcher.becomes("healthy")


def test_doctor_knows_containers(engine: Engine, image: str, volume: str, tmp_path: Path) -> None:
    """`doctor` finds nothing that fails in a container, and says what is to be set: a name that stays."""
    config = stdout_config(state={"dir": STATE})
    mounts = [f"--volume={volume}:/watch:ro", f"--volume={STATE}", *configured(tmp_path / "etc", config)]
    run = ("run", "--rm", NONE, *HARDENED, *mounts, image, "doctor", "-c", "/etc/inotify-bridge/config.yaml")
    found = engine.docker(*run)
    assert [line for line in found.splitlines() if line.startswith("failed")] == []
    assert "set events.host" in found
