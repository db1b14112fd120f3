"""Free ports on loopback."""

from __future__ import annotations

import random
import socket

# Below the range from which Linux takes the local ports of outgoing connections (32768 and up): while a
# broker is down, no client may be given its port, nor connect to itself by trying that port again and again.
_FIRST, _LAST = 20000, 32000
_random = random.SystemRandom()


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nothing listens now."""
    while True:
        port = _random.randint(_FIRST, _LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
