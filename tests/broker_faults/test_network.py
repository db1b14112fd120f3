"""Whatever the network between sink and broker does, everything arrives afterwards, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.broker_faults.behind import Behind, Run
from tests.brokers.proxy import Proxy

pytestmark = pytest.mark.timeout(600)


class Fault(NamedTuple):
    """
    What a proxy does.

    Args:
        strike: begins it.
        counter: what the proxy counts when it hits something; empty where only the client sees it.
        least: so often.
        words: stand in what the sink says of it.
        lasts: the relay must have noticed; librdkafka mends by itself what is over at once.
        repeats: messages must come again.
    """

    strike: Callable[[Proxy], None]
    counter: str = ""
    least: int = 1
    words: str = ""
    lasts: bool = False
    repeats: bool = False


def _in_the_middle(count: int) -> Callable[[Proxy], None]:
    return lambda proxy: proxy.cut_after(count)


def _again_and_again(proxy: Proxy) -> None:
    """Also what is said while connecting is cut in the middle."""
    proxy.reset()
    proxy.cut_after(30)


FAULTS = {
    "cut": Fault(Proxy.cut, "cut"),
    "reset": Fault(Proxy.reset, "reset"),
    "half-open": Fault(Proxy.half_open, "bytes into the void", lasts=True),
    "frozen": Fault(Proxy.freeze, "bytes held up", lasts=True),
    "frame": Fault(_in_the_middle(5_000), "cut in the middle"),
    "greeting": Fault(_again_and_again, "cut in the middle"),
    "no-confirms": Fault(Proxy.hold_back, "bytes swallowed", lasts=True, repeats=True),
    "byte-a-second": Fault(Proxy.slow, "bytes held up", 2, lasts=True),
    "refused": Fault(Proxy.refuse, words="refuse", lasts=True),
    "silent": Fault(Proxy.mute, "mute", 2, lasts=True),
}


@pytest.mark.parametrize("name", FAULTS)
def test_everything_arrives(behind: Behind, name: str) -> None:
    """After the fault everything is delivered, without a hole; repeats begin at the lowest unconfirmed."""
    fault, proxy = FAULTS[name], behind.proxy
    run = Run(behind.harness, behind.sink())

    def happened() -> bool:
        hit = not fault.counter or proxy.happened[fault.counter] >= fault.least
        return (
            hit
            and (not fault.words or run.told(fault.words))
            and (not fault.lasts or bool(run.watcher.errors))
        )

    def strike() -> None:
        proxy.happened["connections"] = 0
        fault.strike(proxy)

    arrived = run.over(strike, happened, proxy.heal)
    assert proxy.happened["connections"], "nobody had to connect again: the fault hit nothing"
    if fault.repeats:
        assert len(arrived) > len(set(arrived))
