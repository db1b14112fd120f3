"""The cluster that all tests share, a namespace for each of them, and a broker that pods reach."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import cluster as machine
from tests.cluster import programs
from tests.cluster.broker import OutsideBroker, OutsidePlace, secret
from tests.cluster.cluster import Cluster
from tests.cluster.pods import Pods
from tests.containers.conftest import IMAGE
from tests.containers.engine import Engine
from tests.containers.images import base_image, provide

_SWITCH = "INOTIFY_BRIDGE_CLUSTER"
_ARCHIVE = "INOTIFY_BRIDGE_IMAGE_ARCHIVE"

_figures: list[str] = []

Figure = Callable[[str], None]


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image as ``docker save`` writes it: the one that the environment names, or built now."""
    if not os.environ.get(_SWITCH):
        pytest.skip(f"the cluster is asked for by {_SWITCH}=1: make cluster-test")
    if reason := machine.missing() or programs.missing():
        pytest.fail(reason)
    if given := os.environ.get(_ARCHIVE):
        return Path(given)
    if reason := Engine.missing():
        pytest.fail(f"{reason}; or name an image by {_ARCHIVE}")
    saved, engine = tmp_path_factory.mktemp("image") / "image.tar", Engine()
    began = time.monotonic()
    try:
        engine.start()
        provide(engine, base_image())
        engine.build(IMAGE)
        engine.docker("save", "--output", os.fspath(saved), IMAGE)
    finally:
        engine.stop()
    _figures.append(f"image built after {time.monotonic() - began:.1f} s")
    return saved


@pytest.fixture(scope="session")
def cluster(archive: Path) -> Iterator[Cluster]:
    """A running cluster whose node has the image."""
    began = time.monotonic()
    with Cluster(programs.programs()) as running:
        _figures.append(f"cluster ready after {time.monotonic() - began:.1f} s")
        running.load(archive)
        yield running
        began = time.monotonic()
    _figures.append(f"cluster gone after {time.monotonic() - began:.1f} s")


@pytest.fixture(scope="session")
def outside(cluster: Cluster) -> Iterator[OutsideBroker]:  # the cluster's network is there before it
    """A RabbitMQ on this machine that all tests share."""
    if missing := OutsideBroker.missing():
        pytest.fail(missing)
    with OutsideBroker() as broker:
        _figures.append(f"a real broker: {broker.product} {broker.version}")
        yield broker


@pytest.fixture
def place(outside: OutsideBroker, tmp_path: Path) -> Iterator[OutsidePlace]:
    """A queue of the test's own, as pods reach it."""
    place = OutsidePlace(outside, tmp_path)
    yield place
    place.close()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own, with the broker's Secret; at the end everything in it is deleted."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    cluster.apply(secret(), namespace=name)
    yield name
    cluster.kubectl("delete", "namespace", name)


@pytest.fixture
def pods(cluster: Cluster, namespace: str) -> Pods:
    """The pods of the namespace."""
    return Pods(cluster, namespace)


@pytest.fixture
def figure() -> Figure:
    """Takes a line for the end of the report: what was measured."""
    return _figures.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was measured."""
    for line in _figures:
        terminalreporter.write_line(f"cluster: {line}")
