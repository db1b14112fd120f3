"""What the whole suite shares: the real brokers, a machine-wide lock, and the report of what was used."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.brokers import Authority, Broker, KafkaBroker, MariadbServer, PostgresqlServer, RabbitmqBroker

# How long an example takes, or its making, says something about the machine only; each run has the same.
settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

_LOCK_DIRECTORIES = (Path("/run/lock"), Path("/tmp"))
_QUEUE_LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")
_MACHINE = pytest.StashKey[TextIO]()
"""A test's lock of it."""

AnyBroker = TypeVar("AnyBroker", bound=Broker, covariant=True)

_shared: dict[str, Broker] = {}
_used: set[str] = set()


class BrokerFactory(Protocol[AnyBroker]):
    """Starts a broker of the test's own; takes what the broker's class takes."""

    def __call__(self, **arguments: Any) -> AnyBroker:
        """The broker, started."""


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitmqBroker]:
    """The RabbitMQ that all tests share: use a queue and an exchange of your own."""
    yield from _session_broker(RabbitmqBroker)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """The Apache Kafka that all tests share: use a topic of your own."""
    yield from _session_broker(KafkaBroker)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """The PostgreSQL that all tests share: use tables and a source of your own."""
    yield from _session_broker(PostgresqlServer)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariadbServer]:
    """The MariaDB that all tests share: use tables and a source of your own."""
    yield from _session_broker(MariadbServer)


@pytest.fixture
def own_rabbitmq() -> Iterator[BrokerFactory[RabbitmqBroker]]:
    """Starts a RabbitMQ for this test alone: ``own_rabbitmq(certificate=authority.issue())``."""
    yield from _own_brokers(RabbitmqBroker)


@pytest.fixture
def own_kafka() -> Iterator[BrokerFactory[KafkaBroker]]:
    """Starts an Apache Kafka for this test alone: ``own_kafka(security="SASL_PLAINTEXT", users={…})``."""
    yield from _own_brokers(KafkaBroker)


@pytest.fixture
def own_postgresql() -> Iterator[BrokerFactory[PostgresqlServer]]:
    """Starts a PostgreSQL for this test alone: ``own_postgresql(certificate=authority.issue())``."""
    yield from _own_brokers(PostgresqlServer)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A private certificate authority: ``issue()`` for this machine, ``issue("other.test")`` for another."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def re2() -> None:
    """For tests of patterns of one's own: google-re2 is there."""
    try:
        importlib.import_module("re2")
    except ImportError as error:
        _unavailable(f"google-re2 is not installed: {error}")


@pytest.fixture(autouse=True)
def _shared_brokers_run() -> Iterator[None]:
    """A test that failed halfway leaves no broker stopped or frozen to the next one."""
    yield
    for broker in _shared.values():
        broker.thaw()
        broker.start()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """
    Every test holds the lock of ``fs.inotify.max_queued_events``, which has no namespace: whoever changes it
    is alone. It is had before the test's timeout begins, for another test may take longer than that.
    """
    with locked(fcntl.LOCK_EX if "exclusive" in getattr(item, "fixturenames", ()) else fcntl.LOCK_SH) as lock:
        item.stash[_MACHINE] = lock
        return (yield)


@pytest.fixture
def exclusive(request: pytest.FixtureRequest) -> Iterator[Callable[[int], None]]:
    """
    For tests that depend on ``fs.inotify.max_queued_events``: no other test runs meanwhile.

    Gives a function that sets the limit (events; counts for inotify instances made afterwards).
    """
    machine = request.node.stash[_MACHINE]
    if not machine.writable():
        _unavailable(f"{machine.name} is of another user")
    with limited(machine) as set_limit:
        yield set_limit


def pytest_itemcollected(item: pytest.Item) -> None:
    """
    Hypothesis takes the exception of a test's timeout for what the example does, and does the example again,
    then without a timeout: one that never ends has to end the job (pytest-timeout, "thread method").
    """
    if hasattr(getattr(item, "function", None), "hypothesis"):
        timeout = item.get_closest_marker("timeout")
        seconds = timeout.args if timeout is not None else ()
        item.add_marker(pytest.mark.timeout(*seconds, method="thread"))


def pytest_configure() -> None:
    """SIGTERM ends the run as Ctrl-C does: the fixtures still end what they started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A job tells the one that started it which brokers it used."""
    output: dict[str, Any] = getattr(session.config, "workeroutput", {})
    output["used"] = sorted(_used)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A job has ended: its brokers count for the whole."""
    _used.update(getattr(node, "workeroutput", {}).get("used", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which real brokers the tests ran against."""
    used = ", ".join(sorted(_used)) or "none"
    terminalreporter.write_line(f"real brokers used: {used}")


@contextlib.contextmanager
def locked(how: int) -> Iterator[TextIO]:
    """
    Hold the lock file of the machine, in one of the ways of flock(2).

    Whoever comes later waits at the gate: shared locks that follow each other would keep out the one that is
    to be alone.
    """
    with _lock_file("tests") as lock:
        with _lock_file("tests-gate") as gate:
            fcntl.flock(gate, how)
            fcntl.flock(lock, how)
        yield lock


@contextlib.contextmanager
def limited(machine: TextIO) -> Iterator[Callable[[int], None]]:
    """
    A function that sets ``fs.inotify.max_queued_events``. The value found is put back at the end; by the next
    holder of the lock where this one is killed, from the lock file.

    Args:
        machine: see `locked`; held by nobody else.
    """
    machine.seek(0)
    before = machine.read() or _QUEUE_LIMIT.read_text()
    machine.truncate(0)
    machine.write(before)
    machine.flush()
    yield _set_queue_limit
    if _QUEUE_LIMIT.read_text() != before:
        _QUEUE_LIMIT.write_text(before)
    machine.truncate(0)


def _lock_file(name: str) -> TextIO:
    directory = next(place for place in _LOCK_DIRECTORIES if os.access(place, os.W_OK))
    path = directory / f"inotify-bridge-{name}.lock"
    # One that another user left can be locked, not written.
    return path.open("a+" if os.access(path, os.W_OK) or not path.exists() else "r")


def _set_queue_limit(events: int) -> None:
    try:
        _QUEUE_LIMIT.write_text(f"{events}\n")
    except OSError as error:
        _unavailable(f"fs.inotify.max_queued_events cannot be set: {error}")


def _session_broker(kind: type[AnyBroker]) -> Iterator[AnyBroker]:
    with _installed(kind) as broker:
        _shared[kind.product] = broker
        _used.add(f"{broker.product} {broker.version}")
        yield broker
        del _shared[kind.product]


def _own_brokers(kind: type[AnyBroker]) -> Iterator[BrokerFactory[AnyBroker]]:
    started: list[AnyBroker] = []

    def start(**arguments: Any) -> AnyBroker:
        broker = _installed(kind, **arguments)
        started.append(broker)
        broker.start()
        _used.add(f"{broker.product} {broker.version}")
        return broker

    yield start
    for broker in reversed(started):  # one may need another to stop in order
        broker.close()


def _installed(kind: type[AnyBroker], **arguments: Any) -> AnyBroker:
    if missing := kind.missing():
        _unavailable(missing)
    return kind(**arguments)


def _unavailable(reason: str) -> None:
    """Skip where a developer lacks something; fail where the run has to prove everything."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
