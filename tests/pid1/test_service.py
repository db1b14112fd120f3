"""The unit under a real systemd: what it lets the agent do, and what becomes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import pytest

from tests.pid1.machine import CONFIG, DROP_INS, UNIT, Machine, lacking
from tests.waiting import eventually

EVENTS = "/var/log/inotify-bridge/events.jsonl"
RIGHT = f"""
watch_groups: [{{name: g, paths: [/srv/uploads, /home/user/in, /tmp], sinks: [file]}}]
sinks: [{{name: file, type: jsonl, path: {EVENTS}}}]
state: {{dir: /var/lib/inotify-bridge}}
http: {{listen: "127.0.0.1:0", admin_socket: /run/inotify-bridge/admin.sock}}
"""

pytestmark = pytest.mark.skipif(
    "INOTIFY_BRIDGE_SYSTEMD" not in os.environ,
    reason="starts a systemd of its own as root: set INOTIFY_BRIDGE_SYSTEMD=1",
)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine for all of them, on which the service is configured, and its tree is there."""
    if why := lacking():
        pytest.fail(why)
    with Machine(tmp_path_factory.mktemp("pid1")) as machine:
        machine.run("mkdir", "-p", "/srv/uploads/volume", "/home/user/in")
        yield machine


@pytest.fixture(autouse=True)
def begun(machine: Machine) -> Iterator[None]:
    """The service runs as the unit says, on the right configuration."""
    machine.write(CONFIG, RIGHT)
    machine.run("systemctl", "reset-failed")
    machine.run("systemctl", "start", UNIT)
    yield
    machine.tried("systemctl", "stop", UNIT)
    for drop_in in ("home", "watchdog"):
        machine.run("rm", "-f", f"{DROP_INS}/{drop_in}.conf")
    machine.run("systemctl", "daemon-reload")


def told(machine: Machine, path: str) -> bool:
    """Whether an event about a path was published."""
    return f'"subject":"{path}"' in machine.tried("cat", EVENTS).stdout


def test_it_works_in_its_sandbox(machine: Machine) -> None:
    """It publishes what happens, also in the real /tmp and in a volume mounted later, without any right."""
    own = machine.run("cat", f"/proc/{machine.shown('MainPID')}/status").split("\n")
    assert {"CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} <= set(own)
    machine.run("touch", "/srv/uploads/file", "/tmp/file")
    machine.run("mount", "-t", "tmpfs", "none", "/srv/uploads/volume")
    machine.run("touch", "/srv/uploads/volume/file")
    for path in ("uploads/file", "tmp/file", "uploads/volume/file"):
        eventually(partial(told, machine, path), within=60, what=path, poll=0.2)
    machine.run("umount", "/srv/uploads/volume")


def test_home_is_closed_until_it_is_opened(machine: Machine) -> None:
    """A root in /home is lost, and the journal has a line of that priority; a drop-in opens it."""
    lost = "root lost (EACCES): /home/user/in"
    eventually(
        lambda: lost in machine.run("journalctl", "-u", UNIT, "-p", "err", "-o", "cat"), what=lost, poll=0.2
    )
    machine.drop_in("home", "ProtectHome=read-only\n")
    machine.run("systemctl", "restart", UNIT)
    machine.run("touch", "/home/user/in/file")
    eventually(lambda: told(machine, "in/file"), within=60, what="an event of /home", poll=0.2)


def test_reload(machine: Machine) -> None:
    """A reload that is refused leaves the service active, and the status has why."""
    machine.write(CONFIG, RIGHT.replace("jsonl,", "jsnl,"))
    machine.run("systemctl", "reload", UNIT)
    eventually(
        lambda: "the last reload was refused" in machine.shown("StatusText"), what="the refusal", poll=0.2
    )
    assert machine.shown("ActiveState") == "active"
    machine.write(CONFIG, RIGHT)
    machine.run("systemctl", "reload", UNIT)
    eventually(
        lambda: "the last reload was refused" not in machine.shown("StatusText"), what="the reload", poll=0.2
    )


def test_ends(machine: Machine) -> None:
    """A stop ends it with 0; a wrong configuration with 78, and systemd does not try again."""
    machine.run("systemctl", "stop", UNIT)
    assert (machine.shown("Result"), machine.shown("ExecMainStatus")) == ("success", "0")
    machine.write(CONFIG, RIGHT.replace("jsonl,", "jsnl,"))
    assert machine.tried("systemctl", "start", UNIT).returncode == 1
    assert (machine.shown("ActiveState"), machine.shown("ExecMainStatus")) == ("failed", "78")


def test_watchdog(machine: Machine) -> None:
    """An agent that says no more that it lives is killed, and started again."""
    machine.drop_in("watchdog", "WatchdogSec=3s\nTimeoutAbortSec=1s\n")
    machine.run("systemctl", "restart", UNIT)
    process, restarts = machine.shown("MainPID"), machine.shown("NRestarts")
    machine.run("kill", "-STOP", process)
    eventually(lambda: machine.shown("NRestarts") != restarts, within=60, what="the restart", poll=0.5)
    eventually(lambda: machine.shown("ActiveState") == "active", within=60, what="its start", poll=0.5)
    assert machine.shown("MainPID") != process
