"""
An application that knows nothing of the agent but asks, for the test, how far it was when it started.

Its first file is called after the answer, ``first-200`` where every directory was watched; its last one is
written while it ends.
"""

from __future__ import annotations

import http.client
import signal
from pathlib import Path

_DATA = Path("/data")


def _startup() -> str:
    connection = http.client.HTTPConnection("127.0.0.1", 10477, timeout=10)
    try:
        connection.request("GET", "/startupz")
        return str(connection.getresponse().status)
    except OSError:
        return "refused"
    finally:
        connection.close()


signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
(_DATA / f"first-{_startup()}").write_text("x")
signal.sigwait({signal.SIGTERM})
(_DATA / "last").write_text("x")
