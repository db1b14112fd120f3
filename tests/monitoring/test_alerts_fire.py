"""Each alert made to fire: real agents in real trouble, scraped by a real Prometheus."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.agent.process import AgentProcess
from tests.brokers.ports import free_port
from tests.cli.program import run
from tests.kernel.namespaces import Mounts, with_watches
from tests.monitoring.following import follow, places, queries
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.rules import ALERTS, RANGE, alerts, quickened
from tests.operator.asking import TOKEN
from tests.state.faults import SmallDisk
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(600)  # each wait has a minute or more, and most tests have several

AGED = 600.0
"""Seconds by which the journal of a stopped agent is made older."""

WATCHES = 20
OVERFLOWS = 6
GROWTH = 1 << 30
FIRE_SECONDS = 90.0

# The groups of each agent at which the runbook's commands are run.
FOLLOWED = {
    "faults": ("dies", "stuck-notifier", "stuck-recorder", "lost", "parks"),
    "reload": ("misspelt",),
    "busy": ("overflows",),
    "behind": ("full", "late"),
    "limits": ("disk", "many"),
    "restarts": ("plain",),
}

Fired: TypeAlias = tuple[str, frozenset[tuple[str, str]]]
"""An alert with its labels."""

# What each condition must lead to: the alert, then the labels beside `instance`.
EXPECTED: dict[str, list[tuple[str, dict[str, str]]]] = {
    "faults": [
        ("GroupDown", {"watch_group": "dies"}),
        ("GroupRestarted", {"watch_group": "dies"}),
        ("NotifierStalled", {"watch_group": "stuck-notifier"}),
        ("RecorderStalled", {"watch_group": "stuck-recorder"}),
        ("RootLost", {"watch_group": "lost"}),
        ("MessagesParked", {"watch_group": "parks", "sink": "refusing"}),
        ("EventsDropped", {"watch_group": "drops", "sink": "refusing"}),
        ("RowsRejected", {"watch_group": "rows", "sink": "table"}),
        ("ConfigReloadFailed", {}),
    ],
    "busy": [
        ("KernelQueueOverflow", {"watch_group": "overflows"}),
        ("KernelQueueOverflowsOften", {"watch_group": "overflows"}),
        ("NotConsistent", {"watch_group": "overflows"}),
        ("LogBytesLost", {"watch_group": "logs"}),
        ("LogEntriesRejected", {"watch_group": "logs"}),
        ("LogLagGrowing", {"watch_group": "grows"}),
    ],
    "behind": [
        ("SinkDisconnected", {"watch_group": "full", "sink": "away"}),
        ("SinkInsecure", {"sink": "loose"}),
        ("OutboxBlocked", {"watch_group": "full", "sink": "away"}),
        ("OutboxFillingUp", {"watch_group": "full"}),
        ("DeliveryLagging", {"watch_group": "late", "sink": "frozen"}),
        ("StateDatabaseSetAside", {"watch_group": "damaged"}),
        ("EpochUnasked", {"watch_group": "removed", "reason": "missing"}),
    ],
    "limits": [
        ("CommitFailing", {"watch_group": "disk"}),
        ("WatchLimitNear", {}),
        ("DirectoriesPolled", {"watch_group": "many", "reason": "limit"}),
    ],
    "restarts": [("AgentRestarting", {}), ("AgentDown", {})],
    "": [("AgentAbsent", {})],
}


class Scene:
    """
    Agents with groups of their own, and the Prometheus that scrapes all of them from its beginning on.

    Args:
        trees: the root of each group is below.
        scratch: for everything else.
    """

    def __init__(self, trees: Path, scratch: Path) -> None:
        self._trees = trees
        self._scratch = scratch
        (scratch / "prometheus").mkdir()
        self.prometheus = Prometheus(scratch / "prometheus", quickened(ALERTS.read_text()))
        self._targets = {name: f"127.0.0.1:{free_port()}" for name in EXPECTED if name}
        self.prometheus.scrape(self._targets)
        self._agents: list[AgentProcess] = []

    def root(self, group: str) -> Path:
        """What a group watches."""
        return self._trees / group

    def directory(self, name: str) -> Path:
        """Of an agent."""
        path = self._scratch / name
        path.mkdir(exist_ok=True)
        return path

    def files(self, group: str, prefix: str, count: int) -> None:
        """Write so many files into the root of a group."""
        for number in range(count):
            (self.root(group) / f"{prefix}-{number}").write_text("x")

    def agent(
        self, name: str, groups: Mapping[str, Mapping[str, Any]], *sinks: Mapping[str, Any], **state: Any
    ) -> AgentProcess:
        """The one that is scraped under this name; not started."""
        directory = self.directory(name)
        for group in groups:
            self.root(group).mkdir(exist_ok=True)
        (directory / "token").write_text(TOKEN)
        file = {"name": "file", "type": "jsonl", "path": os.fspath(directory / "out.jsonl")}
        made = AgentProcess(
            directory,
            {
                "http": {
                    "listen": self._targets[name],
                    "admin_token_file": os.fspath(directory / "token"),
                },
                "watch_groups": [
                    {"name": group, "paths": [os.fspath(self.root(group))], "sinks": ["file"], **more}
                    for group, more in groups.items()
                ],
                "sinks": [file, *sinks],
                "state": {"dir": os.fspath(directory / "state"), **state},
            },
            patch="tests.monitoring.faults:apply",
        )
        self._agents.append(made)
        return made

    def command(self, name: str, *arguments: str) -> str:
        """What a command for an agent prints."""
        where = ("--url", f"http://{self._targets[name]}")
        ended = run(*arguments, *where, "--token-file", os.fspath(self.directory(name) / "token"))
        assert ended.code == 0, ended.err
        return ended.out

    def follow(self, agent: AgentProcess, name: str, moment: str = "", prefix: Sequence[str] = ()) -> None:
        """Run the runbook's commands for an agent, or for a moment of it, and compare what they print."""
        follow(
            [f"{moment or name} {group}" for group in FOLLOWED[moment or name]],
            lambda group: {
                "http://127.0.0.1:10477": f"http://{self._targets[name]}",
                "/etc/inotify-bridge/config.yaml": os.fspath(agent.file),
                "/srv/uploads": os.fspath(self.root(group)),
            },
            prefix,
            INOTIFY_BRIDGE_CONFIG=os.fspath(agent.file),
        )

    def scraped(self, name: str) -> None:
        """Wait until the present life of an agent was scraped: counters that rise from now on have risen."""
        up = f'up{{instance="{name}"}} == 1 and on (instance) inotify_bridge_build_info'
        eventually(lambda: self.prometheus.query(up), within=FIRE_SECONDS, what="a scrape", poll=0.2)

    def fire(self, instance: str, *only: str) -> None:
        """Wait until every alert that is expected of an instance, or only some, has fired with its labels."""
        where = {"instance": instance, "job": "inotify-bridge"} if instance else {}
        wanted = {
            fired(alert, {**where, **labels})
            for alert, labels in EXPECTED[instance]
            if not only or alert in only
        }
        seen: set[Fired] = set()

        def look() -> bool:
            seen.update(self.prometheus.firing())
            return wanted <= seen

        try:
            eventually(look, within=FIRE_SECONDS, poll=0.25)
        except AssertionError:
            pytest.fail(f"never fired: {sorted(wanted - seen, key=str)}; did: {sorted(seen, key=str)}")

    def close(self) -> None:
        """Kill what still runs."""
        for agent in self._agents:
            agent.kill()
        self.prometheus.close()


def fired(alert: str, labels: Mapping[str, str]) -> Fired:
    """An alert as `Prometheus.firing` gives it."""
    return alert, frozenset(labels.items())


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One for all tests here; its trees are in memory."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    trees = Path(tempfile.mkdtemp(prefix="inotify-bridge-", dir=memory))
    made = Scene(trees, tmp_path_factory.mktemp("scene"))
    try:
        with made.prometheus:
            yield made
    finally:
        made.close()
        subprocess.run(["rm", "-rf", "--", os.fspath(trees)], check=True)


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    """A private mount namespace."""
    with Mounts() as found:
        yield found


def test_every_alert_is_caused_here() -> None:
    """No alert is left out."""
    assert {alert for found in EXPECTED.values() for alert, _ in found} == {alert.name for alert in alerts()}


def test_every_command_of_the_runbook_is_run_here() -> None:
    """No block of commands is left out."""
    assert set(places()) == {f"{name} {group}" for name, groups in FOLLOWED.items() for group in groups}


def test_no_agent(scene: Scene) -> None:
    """Where none has ever answered."""
    scene.fire("")


def test_faults(scene: Scene, tmp_path: Path) -> None:
    """Threads that hang or die, a root that goes, messages and rows that are refused, a bad reload."""
    database = tmp_path / "rows.db"
    with closing(sqlite3.connect(database)) as client:
        client.execute("CREATE TABLE requests (path TEXT, bytes INTEGER CHECK (bytes < 1000))")
    columns = {"path": "data.fields.path", "bytes": {"path": "data.fields.bytes", "type": "integer"}}
    table = {"type": "sql", "url": f"sqlite:///{database}", "log_table": "requests", "columns": columns}
    agent = scene.agent(
        "faults",
        {
            "dies": {},
            "stuck-notifier": {},
            "stuck-recorder": {},
            "lost": {},
            "parks": {"sinks": ["refusing"]},
            "drops": {"sinks": ["refusing"]},
            "rows": {"sinks": ["table"], "lines": {"pattern": "combined", "files": ["*.log"]}},
        },
        {"name": "refusing", "type": "memory", "broker": "refuses"},
        {"name": "table", **table},
    ).start()
    scene.scraped("faults")
    (scene.root("dies") / "now").touch()
    scene.root("lost").rmdir()
    scene.files("parks", "refused", 3)
    scene.files("drops", "refused", 3)
    request = '203.0.113.7 - - [21/Nov/2026:08:00:00 +0000] "GET /a HTTP/1.1" 200 5000 "-" "curl/8.5.0"\n'
    (scene.root("rows") / "access.log").write_text(request)
    eventually(lambda: agent.metric("parked_events", watch_group="drops") == 3, what="three are parked")
    scene.scraped("faults")
    scene.command("faults", "parked", "drop", "drops")
    scene.fire("faults", *(alert for alert, _ in EXPECTED["faults"] if alert != "ConfigReloadFailed"))
    scene.follow(agent, "faults")
    agent.file.write_text("watch_groups: [")
    agent.signal(signal.SIGHUP)
    scene.fire("faults", "ConfigReloadFailed")
    scene.follow(agent, "faults", "reload")


def test_busy(scene: Scene) -> None:
    """The queue overflows again and again; logs are deleted, do not match, grow faster than is read."""
    lines = {"pattern": r"(?P<level>[A-Z]+) (?P<message>.*)", "files": ["*.log"]}
    long = {"files": ["*.log"], "max_line_bytes": "1KiB"}
    agent = scene.agent("busy", {"overflows": {}, "logs": {"lines": lines}, "grows": {"lines": long}}).start()
    scene.scraped("busy")
    logs, overflows = scene.root("logs"), scene.root("overflows")
    (logs / "gone.log").write_text("INFO half a li")
    (logs / "app.log").write_text("INFO good\n" * 10 + "bad\n" * 20)
    eventually(lambda: agent.metric("log_rejected_total", watch_group="logs") == 20, what="it is read")
    eventually(lambda: agent.metric("log_lag_bytes", watch_group="logs") > 0, what="half a line waits")
    scene.fire("busy", "LogEntriesRejected")
    agent.kill()
    (logs / "gone.log").unlink()
    agent.start()
    for number in range(1, OVERFLOWS + 1):
        with agent.paused():
            _overflow(overflows)
            if number == OVERFLOWS:
                (overflows / "hold").touch()
        eventually(
            lambda number=number: agent.metric("kernel_queue_overflows_total") >= number,  # type: ignore[misc]
            what=f"overflow {number}",
        )
    scene.fire("busy", "KernelQueueOverflow", "KernelQueueOverflowsOften", "NotConsistent", "LogBytesLost")
    scene.follow(agent, "busy")
    sparse = scene.root("grows") / "zeros.log"
    sparse.touch()
    with _growing(sparse):
        scene.fire("busy", "LogLagGrowing")


def test_behind(scene: Scene) -> None:
    """Sinks that have been away or silent for ten minutes; databases that are damaged or gone at a start."""
    away = f"127.0.0.1:{free_port()}"
    agent = scene.agent(
        "behind",
        {
            "full": {"sinks": ["away"]},
            "late": {"sinks": ["frozen"]},
            "damaged": {},
            "removed": {"sinks": ["file", "loose"]},
        },
        {"name": "away", "type": "rabbitmq", "url": f"amqp://guest:guest@{away}"},
        {
            "name": "loose",
            "type": "rabbitmq",
            "url": f"amqps://guest:guest@{away}",
            "tls": {"insecure": True},
        },
        {"name": "frozen", "type": "memory", "broker": "frozen"},
        max_bytes="1MiB",
    ).start()
    scene.files("full", "waits", 1500)
    scene.files("late", "waits", 10)
    eventually(lambda: agent.metric("outbox_blocked", watch_group="full") == 1, what="a full journal")
    eventually(lambda: agent.metric("outbox_events", watch_group="late") > 20, what="a backlog")
    agent.kill()
    state = scene.directory("behind") / "state"
    for group in ("full", "late"):
        with closing(sqlite3.connect(state / f"{group}.db")) as client, client:
            client.execute("UPDATE batches SET committed = committed - ?", (AGED,))
    for path in [*state.glob("removed.db*"), state / "damaged.db-wal"]:
        if not path.name.endswith("note"):
            path.unlink(missing_ok=True)
    (state / "damaged.db").write_bytes(b"no database" * 1000)
    agent.start(ready=False)
    scene.fire("behind")
    scene.follow(agent, "behind")
    assert all(scene.prometheus.query(query) for query in queries())
    agent.file.write_text(agent.file.read_text().replace("1MiB", "64MiB"))
    agent.signal(signal.SIGHUP)
    eventually(lambda: agent.metric("outbox_blocked") == 0, within=FIRE_SECONDS, what="room in the journal")


@pytest.mark.namespaces
def test_limits(scene: Scene, mounts: Mounts) -> None:
    """A state directory on a full disk, and more directories than watches."""
    agent = scene.agent("limits", {"disk": {}, "many": {"poll_interval": "1s"}})
    for number in range(3 * WATCHES):
        (scene.root("many") / f"d{number}").mkdir()
    disk = SmallDisk(mounts, scene.directory("limits") / "state", 24)
    agent.prefix = [*mounts.prefix, *with_watches(WATCHES)]
    agent.start()
    disk.fill()
    scene.files("disk", "unrecorded", 4000)
    scene.fire("limits")
    inside = ["nsenter", f"--target={agent.pid}", "--user", "--preserve-credentials"]
    scene.follow(agent, "limits", prefix=[*mounts.prefix, *inside])


def test_restarts(scene: Scene) -> None:
    """An agent that is killed and started four times, and then not started any more."""
    agent = scene.agent("restarts", {"plain": {}}).start()
    scene.scraped("restarts")
    for number in range(1, 5):
        agent.kill()
        agent.start(ready=False)
        changes = f'changes(process_start_time_seconds{{instance="restarts"}}[{RANGE}]) >= {number}'
        eventually(
            lambda changes=changes: scene.prometheus.query(changes),  # type: ignore[misc]
            within=FIRE_SECONDS,
            what="it is scraped",
            poll=0.2,
        )
    scene.fire("restarts", "AgentRestarting")
    agent.kill()
    scene.fire("restarts", "AgentDown")
    scene.follow(agent, "restarts")


def _overflow(root: Path) -> None:
    """More records than the queue takes, two a call, while nobody reads it."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    names = [root / "a", root / "b"]
    names[0].touch()
    for _ in range(limit // 2 + 10):
        names[0].rename(names[1])
        names.reverse()


@contextlib.contextmanager
def _growing(path: Path) -> Iterator[None]:
    """It grows meanwhile, by gigabytes that take no room."""
    over = threading.Event()

    def grow() -> None:
        size = 0
        while not over.wait(0.1):
            size += GROWTH
            os.truncate(path, size)

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
