"""Free ports on loopback."""

from __future__ import annotations

import os
import random
import socket

# Below the range from which Linux takes the local ports of outgoing connections (32768 and up): while a
# broker is down, no client may be given its port, nor connect to itself by trying that port again and again.
_FIRST, _LAST = 20000, 32000
# A port may be listened on long after it was given, and be free for a while where a broker is down: each job
# of pytest-xdist has ports of its own, and gives none of them twice.
_JOB = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_JOBS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_random = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens now, and which nobody else is given."""
    while True:
        port = _random.randrange(_FIRST + _JOB, _LAST, _JOBS)
        if port in _given:
            continue
        _given.add(port)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
