"""The agent under a service manager: what it says to it, and when."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inotify_bridge.systemd import ServiceManager as Told
from tests.agent.process import AgentProcess
from tests.agent.trees import Trees
from tests.operator.conftest import Operated, jsonl
from tests.operator.service_manager import Message, ServiceManager
from tests.operator.stalling import STALL
from tests.waiting import eventually

SILENCE = 2.0
"""Seconds in which an agent that lives has told a watchdog of a second many times."""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    """A service manager that hears."""
    with ServiceManager(tmp_path / "notify") as manager:
        yield manager


def begun(agent: AgentProcess, manager: ServiceManager, watchdog: float = 0.0) -> AgentProcess:
    """Start an agent under a service manager."""
    agent.environment["NOTIFY_SOCKET"] = manager.address
    if watchdog:
        agent.environment["WATCHDOG_USEC"] = str(int(watchdog * 1e6))
    return agent.start(ready=False)


def test_ready_when_everything_runs(operated: Operated, trees: Trees, manager: ServiceManager) -> None:
    """READY comes when every group runs: its threads, the lock and the port, whatever the brokers do."""
    trees.write("a")
    away = {"name": "away", "type": "kafka", "bootstrap_servers": ["127.0.0.1:1"], "topic": "t"}
    agent = begun(operated([away], state={"dir": os.fspath(trees.root.parent / "state")}), manager)
    said = manager.until(READY="1")
    assert manager.heard == [said], "it said something before"
    status = agent.status()
    assert [group["name"] for group in status["groups"]] == ["g"]
    assert said["STATUS"].startswith("groups: 1, ")
    agent.kill()


def test_the_status_has_the_figures(operated: Operated, trees: Trees, manager: ServiceManager) -> None:
    """STATUS tells the directories watched, what waits, and what is wrong first, and follows its changes."""
    (trees.root / "below").mkdir()
    agent = begun(operated([jsonl(trees.root.parent / "none")]), manager, watchdog=1.0)
    said = [manager.until(READY="1")]  # it may have all of it already, and what stays is not told again

    def told(*words: str) -> bool:
        if any(all(word in message.get("STATUS", "") for word in words) for message in said):
            return True
        said.append(manager.next(60.0) or {})
        return False

    eventually(lambda: told("directories watched: 2", "to look at: group g: sink file: "), within=60)
    agent.kill()


def test_the_watchdog_stops_with_the_notifier(
    operated: Operated, trees: Trees, manager: ServiceManager
) -> None:
    """WATCHDOG comes again and again while the threads turn, and no more when one stands still."""
    agent = operated()
    agent.patch = "tests.operator.stalling:at_a_name"
    begun(agent, manager, watchdog=1.0)
    manager.until(READY="1")
    for _ in range(3):
        manager.until(WATCHDOG="1")
    trees.write(STALL.decode())
    said: list[Message] = []

    def silent() -> bool:
        said.append(manager.next(SILENCE) or {})
        stands = any("the notifier has not turned" in message.get("STATUS", "") for message in said)
        return stands and not said[-1]

    eventually(silent, within=60, what="nothing more is said")
    last = next(message["STATUS"] for message in reversed(said) if "STATUS" in message)
    assert "the notifier has not turned" in last


def test_abstract_address_without_a_watchdog(operated: Operated) -> None:
    """The socket may have an abstract name; a watchdog that is another process's is not served."""
    with ServiceManager(f"@inotify-bridge-test-{os.getpid()}") as manager:
        agent = operated()
        agent.environment["WATCHDOG_PID"] = "1"
        begun(agent, manager, watchdog=1.0)
        manager.until(READY="1")
        agent.stop()
        manager.until(STOPPING="1")
        assert [message for message in manager.heard if "WATCHDOG" in message] == []


def test_reload(operated: Operated, manager: ServiceManager) -> None:
    """
    RELOADING, with the time, and READY stand around every reload, and the status has why one was refused.
    """
    agent = begun(operated(), manager)
    manager.until(READY="1")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    agent.signal(signal.SIGHUP)
    reloading = manager.until(RELOADING="1")
    ready = manager.until(READY="1")
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert before <= int(reloading["MONOTONIC_USEC"]) <= after
    assert "refused" not in ready["STATUS"]
    assert "configuration reloaded" in agent.log

    agent.file.write_text("watch_gruops: []\n")
    agent.signal(signal.SIGHUP)
    manager.until(RELOADING="1")
    assert "the last reload was refused" in manager.until(READY="1")["STATUS"]
    agent.stop()


def test_stopping(operated: Operated, manager: ServiceManager) -> None:
    """At SIGTERM it says STOPPING, and asks for the time that its drain may take; no status follows."""
    agent = begun(operated(shutdown_timeout="100s"), manager, watchdog=1.0)
    manager.until(READY="1")
    agent.stop()
    stopping = manager.until(STOPPING="1")
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 100_000_000
    assert manager.next(0.0) is None or set(manager.heard[-1]) == {"WATCHDOG"}


def test_children_do_not_inherit_it() -> None:
    """What was named is out of the environment once it is read, so that no child speaks for the agent."""
    environment = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(os.getpid()), "A": "b"}
    found = Told.from_environment(environment)
    assert environment == {"A": "b"}
    assert found.listens
    assert found.watchdog == 0.001
    assert not Told.from_environment(environment).listens


@pytest.mark.parametrize("address", ["vsock:2:1234", "relative"])
def test_an_address_that_is_none(address: str, caplog: pytest.LogCaptureFixture) -> None:
    """An address that cannot be spoken to is logged, and counts as nobody."""
    assert not Told.from_environment({"NOTIFY_SOCKET": address}).listens
    assert address in caplog.text


def test_a_manager_that_has_gone(operated: Operated, tmp_path: Path) -> None:
    """Where nobody is at the address any more the agent goes on, with one line in its log."""
    with ServiceManager(tmp_path / "notify") as gone:
        pass
    agent = begun(operated(), gone, watchdog=1.0)
    eventually(lambda: agent.get("/startupz")[0] == 200, within=60)
    agent.stop()
    assert agent.log.count("cannot be told") == 1


def test_a_reload_that_comes_during_the_start(operated: Operated) -> None:
    """SIGHUP before the configuration is read does not end the start; it reloads when that is over."""
    agent = operated()
    agent.patch = "tests.operator.stalling:hung_up_while_it_loads"
    agent.start()
    eventually(lambda: "configuration reloaded" in agent.log, within=60, what="the reload")
    agent.stop()
