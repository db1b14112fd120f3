"""Free ports on loopback."""

from __future__ import annotations

import os
import random
import re
import socket

# Below the range from which Linux takes the local ports of outgoing connections (32768 and up): while a
# broker is down, no client may be given its port, nor connect to itself by trying that port again and again.
_FIRST, _LAST = 20000, 32000
# A port is listened on some time after it was chosen, a broker's after many seconds: jobs that run beside
# each other choose in different shares of the range, and none chooses the same port twice.
_SHARES = 4
_random = random.SystemRandom()
_chosen: set[int] = set()


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens now, and that this run gives to nobody else."""
    size = (_LAST - _FIRST) // _SHARES
    first = _FIRST + _job() % _SHARES * size
    if len(_chosen) > size // 2:
        _chosen.clear()
    while True:
        port = _random.randrange(first, first + size)
        if port not in _chosen and _is_free(port):
            _chosen.add(port)
            return port


def _job() -> int:
    """The number of this job of the run; without jobs, the last."""
    found = re.search(r"\d+", os.environ.get("PYTEST_XDIST_WORKER", ""))
    return int(found[0]) if found else _SHARES - 1


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
