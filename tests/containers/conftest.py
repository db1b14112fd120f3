"""The engine and the image, for who asks for them: INOTIFY_BRIDGE_CONTAINERS=1, `make container-test`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator

import pytest

from inotify_bridge import __version__
from tests.containers.engine import Engine
from tests.containers.images import base_image, provide

IMAGE = f"inotify-bridge:{__version__}"
_OPT_IN = "INOTIFY_BRIDGE_CONTAINERS"


def say(words: str) -> None:
    """Print a figure of the run; `make container-test` captures nothing."""
    sys.stdout.write(f"\n  {words}\n")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine; the tests of one that is not wanted, or cannot be had, are skipped with the reason."""
    if os.environ.get(_OPT_IN) != "1":
        pytest.skip(f"containers are asked for by {_OPT_IN}=1: make container-test")
    if missing := Engine.missing():
        pytest.skip(missing)
    engine = Engine()
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()


@pytest.fixture(scope="session")
def image(engine: Engine) -> str:
    """The project's image, built now."""
    say(provide(engine, base_image()))
    began = time.monotonic()
    engine.build(IMAGE)
    size = engine.inspect(IMAGE)["Size"]
    base = engine.inspect(base_image())["Size"]
    say(f"{IMAGE} built in {time.monotonic() - began:.0f} s: {size / 1e6:.0f} MB, base {base / 1e6:.0f} MB")
    return IMAGE
